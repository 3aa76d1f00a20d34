"""Commands before and after a backup: what the agent's policy lets run, and what their end means for the run."""

import os
import re
import time

import pytest

import harness
import stored
import trees


@pytest.fixture
def commands(world):
    """set_up(policy, **client): an agent with that policy; hooks go to world.hooks, marks they leave to world.marks."""
    trees.small(world.source)
    world.hooks, world.marks = world.folder / "hooks.d", world.folder / "marks"
    world.hooks.mkdir()
    world.marks.mkdir()
    world.marks.chmod(0o777)

    def set_up(policy, **client):
        world.running = world.agent(policy={"hooks_folder": str(world.hooks)} | policy)
        world.client("a", world.running.where, **client)
        return world

    world.set_up = set_up
    set_up({})
    return world.init()


def hook(world, name, script, mode=0o755):
    path = trees.write(world.hooks / name, f"#!/bin/sh\n{script}\n", mode)
    os.chown(path, 0, 0)
    return path


def marks(world):
    return sorted(mark.name for mark in world.marks.iterdir())


def test_named_hooks_run_before_and_after(commands):
    """As the agent's user, with an environment of their own; what they print is in the server's log."""
    for name in ("dump", "clean-up"):
        hook(commands, name, f'env >"{commands.marks}/$SYNCROPY_COMMAND"; echo dumping; echo "on stderr" >&2; id -u; printf "no newline"')
    commands.set_up({}, pre_command="dump", post_command="clean-up")
    done = commands.run()
    assert marks(commands) == ["post", "pre"]
    pre, post = ((commands.marks / name).read_text().splitlines() for name in ("pre", "post"))
    assert "SYNCROPY_SERVER=backup.test" in pre and "SYNCROPY_RESULT=success" in post and "LANG=C.UTF-8" in pre
    for kind in ("pre", "post"):
        said = [line.split(f"a: {kind}-command: ", 1)[1] for line in done.lines if f"a: {kind}-command: " in line]
        assert said == ["dumping", "on stderr", str(harness.AGENT), "no newline"]
    commands.check()


def test_any_runs_a_shell_line(commands):
    """As in the classic set-up."""
    commands.set_up({"commands": "any"}, pre_command=f"touch {commands.marks}/one && echo a; echo b | tr b c",
                    post_command=f"touch {commands.marks}/$SYNCROPY_COMMAND")
    done = commands.run()
    assert marks(commands) == ["one", "post"]
    assert [line for line in done.lines if "pre-command" in line] == ["syncropy-server: a: pre-command: a", "syncropy-server: a: pre-command: c"]


def test_what_a_command_prints_cannot_forge_lines(commands):
    commands.set_up({"commands": "any"}, pre_command=r"printf 'red \033[31m\001\r\nsyncropy-server: forged\n'")
    done = commands.run()
    said = [line for line in done.lines if "pre-command" in line]
    assert said == [r"syncropy-server: a: pre-command: red \x1b[31m\x01\r", "syncropy-server: a: pre-command: syncropy-server: forged"]


def test_much_output_is_cut_off(commands):
    commands.set_up({"commands": "any"}, pre_command="yes 'a line of output' | head -c 1000000")
    done = commands.run()
    told = [line.removeprefix("syncropy-server: a: pre-command: ") for line in done.lines if "pre-command" in line]
    # The agent sends 64 KiB of it, and of those come the beginning and the end.
    assert told[:40] == 40 * ["a line of output"] and len(told) == 51
    left_out = int(re.fullmatch(r"\(([\d,]+) lines left out\)", told[40])[1].replace(",", ""))
    assert 60_000 < (left_out + 50) * len("a line of output\n") < 70_000


FAILING = [("exit 3", "exited with status 3"), ("kill -9 $$", "killed by signal 9")]


@pytest.mark.parametrize("script, word", FAILING)
def test_a_failing_pre_command_means_no_backup(commands, script, word):
    commands.run()
    hook(commands, "fails", f"echo 'the database is down'; {script}")
    hook(commands, "after", f'echo "$SYNCROPY_RESULT" >{commands.marks}/after')
    commands.set_up({}, pre_command="fails", post_command="after")
    before = commands.state()
    done = commands.run(status=5)
    errors = [line for line in done.lines if "error" in line]
    assert len(errors) == 1 and word in errors[0] and "'fails'" in errors[0]
    assert any(line.endswith("pre-command: the database is down") for line in done.lines)
    assert commands.state() == before
    assert (commands.marks / "after").read_text() == "failure\n"
    # Once it works, so does the run.
    hook(commands, "fails", "true")
    commands.run()
    commands.check()


@pytest.mark.parametrize("script, word", FAILING)
def test_a_failing_post_command_is_told_and_the_dataset_stays(commands, script, word):
    hook(commands, "fails", script)
    commands.set_up({}, post_command="fails")
    before = commands.snapshot()
    done = commands.run(status=5)
    errors = [line for line in done.lines if "error" in line]
    assert len(errors) == 1 and word in errors[0]
    stored.check_is(commands.newest(), commands.source, before)
    commands.check()


def test_the_post_command_runs_after_a_backup_that_failed(commands):
    hook(commands, "after", f'echo "$SYNCROPY_RESULT" >{commands.marks}/after')
    commands.set_up({}, post_command="after", path=f"{commands.source}/no-such-folder")
    commands.fail(66, "no-such-folder")
    assert (commands.marks / "after").read_text() == "failure\n"
    # Where the backup is partial it is told success: there is a dataset.
    trees.write(commands.source / "secret", "x", 0)
    commands.client("a", commands.agent(caps=False, policy={"hooks_folder": str(commands.hooks)}).where, post_command="after")
    commands.run(status=3)
    assert (commands.marks / "after").read_text() == "success\n"


def test_a_command_that_takes_too_long_is_killed(commands):
    hook(commands, "sleeps", f"sleep 60 & echo $! >{commands.marks}/child; wait")
    commands.set_up({}, pre_command="sleeps", command_timeout=1)
    began = time.monotonic()
    before = commands.state()
    done = commands.run(status=5)
    assert 1 <= time.monotonic() - began < 10
    assert commands.state() == before
    assert "did not end within 1 seconds" in done.err and "command_timeout" in done.err
    # With all that it had started.
    child = int((commands.marks / "child").read_text())
    for _ in range(100):
        if not os.path.exists(f"/proc/{child}") or re.search(r"^State:\sZ", open(f"/proc/{child}/status").read(), re.MULTILINE):
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the command's child still runs")


def test_one_that_ignores_sigterm_is_killed_too(commands):
    hook(commands, "stubborn", "trap '' TERM; while :; do sleep 1; done")
    commands.set_up({}, pre_command="stubborn", command_timeout=1)
    began = time.monotonic()
    done = commands.run(status=5)
    assert "did not end" in done.err and time.monotonic() - began < 12


@pytest.mark.parametrize("policy, finishes", [({}, False), ({"commands_if_cut": "finish"}, True)])
def test_a_server_that_dies_takes_its_command_with_it(commands, policy, finishes):
    """Unless the policy lets it finish: a dump that nobody waits for, a filesystem that nobody thaws."""
    hook(commands, "slow", f"trap 'touch {commands.marks}/asked; exit 1' TERM; touch {commands.marks}/begun; sleep 1.5 & wait; touch {commands.marks}/finished")
    commands.set_up(policy, pre_command="slow")
    run = commands.start("-c", commands.configuration, "-H")
    harness.wait_until(lambda: (commands.marks / "begun").exists(), "it runs")
    run.kill()
    run.wait()
    harness.wait_until(lambda: len(marks(commands)) == 2, "it ends")
    assert set(marks(commands)) == {"begun", "finished" if finishes else "asked"}


def test_a_child_left_behind_does_not_hold_up_the_run(commands):
    commands.set_up({"commands": "any"}, pre_command=f"sleep 30 & echo $! >{commands.marks}/child")
    assert commands.run().seconds < 5
    os.kill(int((commands.marks / "child").read_text()), 9)


def refused(world, *words):
    """The pre-command is refused: no backup, one error."""
    before = world.state()
    done = world.run(status=5)
    errors = [line for line in done.lines if "error" in line]
    assert len(errors) == 1 and "was not run" in errors[0], done
    for word in words:
        assert word in errors[0], done
    assert world.state() == before


def test_none_runs_nothing(commands):
    hook(commands, "dump", f"touch {commands.marks}/ran")
    commands.set_up({"commands": "none"}, pre_command="dump")
    refused(commands, "policy")
    assert marks(commands) == []


def test_named_runs_only_what_root_put_there(commands):
    def attempt(command, *words):
        commands.set_up({}, pre_command=command)
        refused(commands, *words)
        assert marks(commands) == []

    touch = f"touch {commands.marks}/ran"
    for command in (touch, "../hooks.d/dump", "/bin/true", "dump; " + touch, ".hidden", "a b", "$(true)"):
        hook(commands, "dump", touch)
        attempt(command, "plain name")
    attempt("missing", "missing")
    hook(commands, "writable", touch, 0o777)
    attempt("writable", "write")
    os.chown(hook(commands, "theirs", touch), 64002, 64002)
    attempt("theirs", "write")
    hook(commands, "no-program", touch, 0o644)
    attempt("no-program", "execute")
    (commands.hooks / "link").symlink_to(hook(commands, "dump", touch))
    attempt("link", "not a program")
    commands.hooks.chmod(0o777)
    attempt("dump", "folder")
    commands.hooks.chmod(0o755)
    commands.set_up({}, pre_command="dump")
    commands.run()
    assert marks(commands) == ["ran"]


def test_one_that_cannot_be_started(commands):
    path = hook(commands, "broken", "")
    path.write_text("#!/no/such/interpreter\n")
    commands.set_up({}, pre_command="broken", post_command="broken")
    before = commands.state()
    done = commands.run(status=5)
    assert done.err.count("No such file or directory") == 2 and commands.state() == before
