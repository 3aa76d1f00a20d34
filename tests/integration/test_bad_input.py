"""What a person gets wrong ends in one clear line, a status of its own, and changes nothing; once it is put right the run succeeds."""

import json
import os
import subprocess

import pytest

import harness
import stored
import trees
from harness import SERVER, assert_one_line

CONFIG = """\
general:
  repository: {repository}
dataset:
  hour: 24
clients:
  a:
    host: {host}
    port: {port}
    sslca: {sslca}
    sslcert: {sslcert}
    sslkey: {sslkey}
    path: {source}
"""

CLASSIC = """\
[general]
repository = {repository}
[dataset]
hour = 24
[a]
host = {host}
port = {port}
ssl = yes
sslca = {sslca}
sslcert = {sslcert}
sslkey = {sslkey}
path = {source}
"""


@pytest.fixture(scope="module")
def good(lab):
    """A set-up that works, with one dataset; each test breaks one thing and puts it right again."""
    with harness.World(lab) as world:
        trees.small(world.source)
        world.client("a", world.agent().where)
        world.init().run()
        yield world


@pytest.fixture
def config(good):
    """break_it(text): writes a configuration by hand. Afterwards the good one is there again, and a run succeeds with it."""
    settings = good.settings
    good.settings = None
    values = settings["clients"]["a"] | {"repository": good.repository, "source": good.source}

    def break_it(template, old=None, new=None):
        text = template.format(**values)
        if old is not None:
            assert text.count(old.format(**values)) == 1
            text = text.replace(old.format(**values), new.format(**values))
        good.write_configuration(text)
        last = new.format(**values).splitlines()[-1] if new else None
        return next((number for number, line in enumerate(text.splitlines(), 1) if line == last), None)

    good.break_it = break_it
    yield good
    good.settings = settings
    good.write_configuration()


def test_both_forms_work(config):
    for template in (CONFIG, CLASSIC):
        config.break_it(template)
        config.run()
        assert config.syncropy("check-config", config.configuration).out.startswith(f"{config.configuration} is in order")
    config.check()


WRONG = {
    # name: template, what is replaced, by what, the words
    "unknown key": (CONFIG, "  hour: 24", "  hours: 24", ["hours", "hour"]),
    "unknown key of a client": (CONFIG, "    path: {source}", "    paths: {source}", ["paths", "path"]),
    "unknown section": (CONFIG, "dataset:", "datasets:", ["datasets", "dataset"]),
    "wrong type": (CONFIG, "  hour: 24", "  hour: many", ["hour", "many"]),
    "a list for a number": (CONFIG, "  hour: 24", "  hour: [1, 2]", ["hour"]),
    "a map for a text": (CONFIG, "    path: {source}", "    path: {{a: b}}", ["path"]),
    "a number out of range": (CONFIG, "  hour: 24", "  hour: 0", ["hour", "0"]),
    "a negative number": (CONFIG, "  hour: 24", "  hour: -1", ["hour", "-1"]),
    "a huge number": (CONFIG, "  hour: 24", "  hour: 99999999999999999999", ["hour"]),
    "a port that is none": (CONFIG, "    port: {port}", "    port: 65536", ["port", "65536"]),
    "a truth that is none": (CONFIG, "    path: {source}", "    path: {source}\n    acl: perhaps", ["acl", "perhaps"]),
    "a relative path": (CONFIG, "    path: {source}", "    path: not/absolute", ["path", "not/absolute"]),
    "no path": (CONFIG, "    path: {source}\n", "", ["path"]),
    "no repository": (CONFIG, "  repository: {repository}", "  log_level: info", ["repository"]),
    "no clients": (CONFIG, "clients:", "dataset2:", ["dataset2"]),
    "a key twice": (CONFIG, "  hour: 24", "  hour: 24\n  hour: 25", ["hour"]),
    "a client's name with a slash": (CONFIG, "  a:", "  a/b:", ["a/b"]),
    "a client's name with a dot before": (CONFIG, "  a:", "  ..:", [".."]),
    "a tab": (CONFIG, "  hour: 24", "\thour: 24", []),
    "no YAML": (CONFIG, "  hour: 24", "  hour: [24", []),
    "log level": (CONFIG, "  repository: {repository}", "  repository: {repository}\n  log_level: loud", ["log_level", "loud"]),
    "an escape in a key": (CONFIG, "  hour: 24", '  "ho\\eur": 24', [r"ho\x1bur"]),
    "key without certificate": (CONFIG, "    sslcert: {sslcert}\n", "", ["sslcert"]),
    "ini: unknown key": (CLASSIC, "hour = 24", "hours = 24", ["hours"]),
    "ini: unknown key of a client": (CLASSIC, "ssl = yes", "tls = yes", ["tls"]),
    "ini: wrong type": (CLASSIC, "hour = 24", "hour = many", ["hour", "many"]),
    "ini: no sense": (CLASSIC, "hour = 24", "hour", ["hour"]),
    "ini: a section without end": (CLASSIC, "[dataset]", "[dataset", []),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_configuration_that_is_wrong(config, name):
    template, old, new, words = WRONG[name]
    number = config.break_it(template, old, new)
    before = config.state()
    done = config.server("-H")
    line = assert_one_line(done, 78, *words)
    # FILE:LINE, as editors take it.
    assert line.startswith(f"syncropy-server: error: {config.configuration}:"), line
    said = int(line.removeprefix(f"syncropy-server: error: {config.configuration}:").split(":")[0])
    if number is not None and name not in ("a key twice", "no YAML", "a tab", "no repository"):
        assert said == number, line
    assert config.state() == before
    # The operator's command says the same.
    check = config.syncropy("check-config", config.configuration, status=78)
    assert check.err.removeprefix("syncropy: ") == done.err.removeprefix("syncropy-server: ")


def test_a_configuration_that_cannot_be_read(config):
    config.break_it(CONFIG)
    config.configuration.chmod(0)
    before = config.state()
    done = config.server("-H")
    assert_one_line(done, done.status, str(config.configuration), "Permission denied")
    assert done.status in (66, 78) and config.state() == before


def test_configurations_that_are_no_text(config):
    for content, status in ((b"", 78), (b"\xff\xfe\x00\x01" * 10, 78), (b"x" * (2 << 20), 78), (b"\0", 78)):
        config.configuration.write_bytes(content)
        assert_one_line(config.server("-H"), status, str(config.configuration))


def test_a_log_file_that_cannot_be_written(good):
    good.settings["general"]["log_file"] = "/no/such/folder/log"
    good.fail(78, "/no/such/folder/log", "log_file")
    good.settings["general"]["log_file"] = str(good.store / "log")
    good.run()
    assert " info a: hour/" in (good.store / "log").read_text()
    del good.settings["general"]["log_file"]


WRONG_POLICIES = [({"reed": ["/"]}, 78, ["reed", "read"]), ({"commands": "all"}, 78, ["commands", "all"]),
                  ({"idle_exit": "soon"}, 78, ["idle_exit", "soon"]),
                  ({"read": ["relative"]}, 78, ["relative"]), ({"plain": "yes"}, 78, ["plain"]), ({"connections": 0}, 78, ["connections"]),
                  ({"servers": []}, 78, ["servers"]), ({"sslcert": None}, 78, ["sslcert"])]


@pytest.mark.parametrize("policy, status, words", WRONG_POLICIES)
def test_a_policy_that_is_wrong(world, policy, status, words):
    agent = world.agent(policy=policy)
    assert agent.wait() == status
    line, = agent.text().splitlines()
    assert line.startswith(f"syncropy-agent: error: {agent.policy}:") and line.count(": ") >= 3
    for word in words:
        assert word in line


def test_no_policy(world):
    done = world.execute("syncropy-agent", user=harness.AS_AGENT, environment={"SYNCROPY_CONFIG_FOLDER": "/no/such"})
    assert_one_line(done, 66, "/no/such/agent.yaml", "-p PORT", program="syncropy-agent")
    done = world.execute("syncropy-agent", "--policy", "/no/such/policy", user=harness.AS_AGENT)
    assert_one_line(done, 66, "/no/such/policy", program="syncropy-agent")


# --- the agent and the client's paths


def put_right(world):
    """What was wrong is right again: the run succeeds."""
    before = world.snapshot()
    world.run()
    stored.check_is(world.newest(), world.source, before)


def test_agent_not_listening(good):
    client = dict(good.settings["clients"]["a"])
    sock = good.listener()
    port = sock.getsockname()[1]
    sock.close()
    good.settings["clients"]["a"]["port"] = port
    done = good.fail(69, "127.0.0.1", str(port), "Connection refused")
    assert "a: " in done.err and done.seconds < 5
    good.settings["clients"]["a"]["host"] = "no-such-host.invalid"
    good.fail(69, "no-such-host.invalid")
    good.settings["clients"]["a"].update(host=str(good.folder / "no.socket"), ssl=False)
    good.fail(69, str(good.folder / "no.socket"))
    good.settings["clients"]["a"] = client
    put_right(good)


def test_path_that_is_not_there(good):
    client = good.settings["clients"]["a"]
    good.settings["clients"]["a"] = client | {"path": str(good.source / "no/such")}
    good.fail(66, f"{good.source}/no", "does not exist")
    good.settings["clients"]["a"] = client | {"path": f"{good.source}, {good.source}2"}
    good.fail(66, f"{good.source}2", "does not exist")
    good.settings["clients"]["a"] = client | {"path": str(good.source / "top/inside")}
    good.fail(66, f"{good.source}/top", "not a folder")
    good.settings["clients"]["a"] = client | {"path": str(good.source / "folder0/link/inside")}
    good.fail(66, "symbolic link")
    good.settings["clients"]["a"] = client | {"path": "/" + "n" * 255 + "/x"}
    good.fail(66)
    good.settings["clients"]["a"] = client
    put_right(good)


def test_path_that_the_policy_forbids(good):
    client = good.settings["clients"]["a"]
    forbidden = good.agent(policy={"read": [str(good.source / "folder0"), "/usr/share"], "deny": [str(good.source / "folder0/sub0")]})
    for path in ("/", "/etc", str(good.source), str(good.source) + "/folder1", str(good.source) + "/folder0/sub0"):
        good.settings["clients"]["a"] = client | forbidden.where | {"path": path}
        good.fail(77, path, "policy")
        good.settings["clients"]["a"]["path"] = f"/usr/share, {path}" if path != "/" else path
        good.fail(77, path, "policy")
    # What is denied within what is allowed is left out, and nothing is said.
    good.settings["clients"]["a"] = client | forbidden.where | {"path": str(good.source / "folder0")}
    good.run()
    below = {os.fsdecode(path).removeprefix(str(good.source)[1:]) for path in good.newest().entries()}
    assert "/folder0/sub1" in below and not any("sub0" in path or "folder1" in path for path in below) and "/top" not in below
    assert good.newest().complete
    good.settings["clients"]["a"] = client
    put_right(good)


def test_files_that_cannot_be_read(lab):
    """An agent without the capability: partial, each named once, everything else taken."""
    with harness.World(lab) as world:
        trees.small(world.source)
        secrets = [trees.write(world.source / f"folder1/secret {number}\n", "x" * 100_000 * number, 0) for number in range(3)]
        (world.source / "closed").mkdir()
        trees.write(world.source / "closed/inside", "x")
        (world.source / "closed").chmod(0o700)
        os.chown(world.source / "closed", SERVER, SERVER)
        world.client("a", world.agent(caps=False).where)
        world.init()
        done = world.run(status=3)
        assert done.err.count(str(secrets[0])[:-3]) == 3
        assert done.err.count(str(world.source / "closed")) == 1
        assert sum(1 for line in done.lines if "warning: a: cannot" in line) == 4
        assert any("is partial: 4 files could not be read" in line for line in done.lines)
        dataset = world.newest()
        assert not dataset.complete and dataset.problems == 4
        stored.check_whole(dataset, SERVER)
        assert world.sql("SELECT COUNT(*) FROM files WHERE unread = 1") == ["4"]
        assert "(could not be read)" in world.syncropy("ls", "a", world.source / "closed").out
        assert world.sql("SELECT complete FROM datasets") == ["no"]
        world.run(status=3)
        # With the capability everything is there, and what was read before is not read again.
        world.client("a", world.agent().where)
        before = world.snapshot()
        world.run()
        stored.check_is(world.newest(), world.source, before)
        assert world.newest().new_files == 4
        world.check()


def test_limits_of_a_client(good):
    client = good.settings["clients"]["a"]
    for key, value in (("max_entries", 20), ("max_bytes", "10K")):
        good.settings["clients"]["a"] = client | {key: value}
        good.fail(76, key)
    # What lies deeper is named, and the rest is taken.
    good.settings["clients"]["a"] = client | {"max_depth": len(good.source.parts)}
    done = good.run("day", status=3)
    assert sum(1 for line in done.lines if "cannot" in line and f"{good.source}/folder" in line) == 4
    good.settings["clients"]["a"] = client
    put_right(good)


# --- the repository


def test_repository_that_is_missing(good):
    away = good.repository.with_name("away")
    good.repository.rename(away)
    done = good.server("-H")
    assert_one_line(done, 73, str(good.repository), "syncropy init")
    assert not good.repository.exists()
    good.repository.mkdir()  # an empty mount point
    os.chown(good.repository, SERVER, SERVER)
    assert_one_line(good.server("-H"), 73, str(good.repository), "not a Syncropy repository")
    assert list(good.repository.iterdir()) == []
    trees.write(good.repository / "something/else", "not ours")
    assert_one_line(good.server("-H"), 73, str(good.repository))
    assert_one_line(good.syncropy("init", status=73), 73, "not empty", program="syncropy")
    subprocess.run(["rm", "-r", good.repository], check=True)
    good.repository.write_text("a file")
    assert_one_line(good.server("-H"), 73, str(good.repository))
    good.repository.unlink()
    away.rename(good.repository)
    assert_one_line(good.syncropy("init", status=73), 73, "already", program="syncropy")
    put_right(good)


def test_repository_of_another_format(good):
    format_file = good.repository / ".syncropy/format"
    content = format_file.read_text()
    format_file.chmod(0o600)
    for text in ("syncropy repository 2\nid 0\n", "", "something else\n", "\x1b[31m\n"):
        format_file.write_text(text)
        good.fail(73, str(good.repository), "format")
    format_file.write_text(content)
    put_right(good)


def test_repository_that_may_not_be_written(good):
    """Of another user, closed, or on a filesystem that is mounted read-only."""
    os.chown(good.repository, 0, 0)
    good.repository.chmod(0o755)
    good.fail(73, str(good.repository))
    good.repository.chmod(0o700)
    good.fail(73, str(good.repository))
    os.chown(good.repository, SERVER, SERVER)
    os.chown(good.repository / "a", 0, 0)
    assert_one_line(good.server("-H"), 73, "client a")
    os.chown(good.repository / "a", SERVER, SERVER)
    subprocess.run(["mount", "--bind", good.repository, good.repository], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", good.repository], check=True)
    try:
        done = good.server("-H")
        assert_one_line(done, done.status, str(good.repository))
        assert done.status in (73, 74) and "Read-only" in done.err
        assert len(good.list()) == len(good.datasets())  # looking is possible
    finally:
        subprocess.run(["umount", good.repository], check=True)
    put_right(good)


def test_a_damaged_dataset_is_left_alone_and_told(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        world.client("a", world.agent().where)
        world.init()
        for _ in range(3):
            world.run()
        damaged = world.datasets()[1]
        index = damaged.folder / "manifest/index"
        content = index.read_bytes()
        index.chmod(0o600)
        index.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        done = world.run()
        assert any("warning" in line and damaged.name in line and "left alone" in line for line in done.lines), done
        assert damaged.folder.exists()
        assert sum(1 for line in world.syncropy("list").err.splitlines() if damaged.name in line and "damaged" in line) == 1
        index.write_bytes(content)
        world.run()
        world.check()


def with_a_damaged_newest(lab):
    """A world of three datasets, what the newest is, and one of its segments, which no other has."""
    world = harness.World(lab)
    trees.small(world.source)
    world.client("a", world.agent(policy={"commands": "any"}).where, pre_command="echo before", post_command="echo after")
    world.init()
    for number in range(3):
        trees.write(world.source / f"new{number}", "new")
        world.run()
    newest = world.newest()
    segment, = (path for path in (newest.folder / "manifest").glob("*.zst") if path.stat().st_nlink == 1)
    return world, newest, segment


def recorded(world):
    return [row["recorded"] for row in world.list()]


def test_the_newest_manifest_damaged(lab):
    """The run goes on from the dataset before it, and so do those after it: nothing is stored wrongly, and nothing fetched again."""
    world, newest, segment = with_a_damaged_newest(lab)
    with world:
        content = segment.read_bytes()
        segment.chmod(0o600)
        segment.write_bytes(content[:40] + bytes([content[40] ^ 0xFF]) + content[41:])
        trees.write(world.source / "newer", "new")
        before = world.snapshot()
        done = world.run()
        assert any("warning" in line and newest.name in line and "nothing is taken over" in line for line in done.lines), done
        assert sum("before" in line for line in done.lines) == sum("after" in line for line in done.lines) == 1, done
        stored.check_is(world.newest(), world.source, before)
        assert world.newest().new_files == 2  # its own, and what only the damaged one has
        assert recorded(world) == [True, True, False, True]
        trees.write(world.source / "later", "later")
        for tier in ("day", "hour"):
            done = world.run(tier)
            assert not any("datasets that an earlier run" in line for line in done.lines), done
            assert any(newest.name in line and "not in the catalog" in line for line in done.lines), done
        assert recorded(world) == [True, True, False, True, True, True]
        assert world.newest().new_files == 0
        # From another copy it is whole again, and recorded.
        segment.write_bytes(content)
        world.run()
        world.check()


def test_the_newest_manifest_damaged_and_all_that_share_it(lab):
    world, newest, segment = with_a_damaged_newest(lab)
    with world:
        # Not at once where an entry grew older than what is racy between two runs, or /tmp changed, which is an entry too.
        harness.wait_until(lambda: world.run() and all(path.stat().st_nlink > 1 for path in (world.newest().folder / "manifest").glob("*.zst")), "it is shared")
        damaged = len(world.datasets())
        for dataset in world.datasets():
            for path in (dataset.folder / "manifest").glob("*.zst"):
                path.chmod(0o600)
                os.truncate(path, 30)
        trees.write(world.source / "newer", "new")
        before = world.snapshot()
        world.run()
        stored.check_is(world.newest(), world.source, before)
        assert recorded(world) == [False] * damaged + [True]
        assert world.newest().new_files == world.newest().files - 1  # a second name of one
        world.run()
        assert world.newest().new_files == 0
        for dataset in world.datasets()[:damaged]:
            assert world.server("-H", "--del-dataset", f"a/hour/{dataset.name}").status == 0
        world.check()


def test_a_damaged_manifest_does_not_keep_others_out_of_the_catalog(lab):
    """Neither where it is the first nor in the middle, for a catalog that is made anew."""
    world, newest, segment = with_a_damaged_newest(lab)
    with world:
        world.run()
        for number in (0, 2):
            for path in (world.datasets()[number].folder / "manifest").glob("*.zst"):
                path.unlink()
        (world.repository / ".syncropy/catalog.fdb").unlink()
        world.run()
        assert recorded(world) == [False, True, False, True, True]


def test_datasets_that_are_not_there(good):
    for what, status in (("b", 66), ("a/hour/2001-01-01T000000Z", 66), ("a@2001-01-01", 66), ("a/week", 66),
                         ("a/nonsense", 2), ("a@nonsense", 2), ("../a", 2), ("", 2)):
        assert_one_line(good.syncropy("ls", what, status=status), status, program="syncropy")
    assert_one_line(good.syncropy("ls", "a", "/no/such", status=66), 66, "/no/such", program="syncropy")
    assert_one_line(good.syncropy("ls", "a", "/a/../b", status=2), 2, program="syncropy")
    assert_one_line(good.syncropy("list", "nobody", status=66), 66, "nobody", program="syncropy")
    assert_one_line(good.syncropy("list", "a/nonsense", status=2), 2, "nonsense", program="syncropy")


def test_every_form_of_naming_a_dataset(good):
    name = good.newest().name
    stamp = f"{name[:13]}:{name[13:15]}:{name[15:17]}"
    for what in ("a", "a/hour", f"a/hour/{name}", f"a@{stamp}", f"a@{stamp[:16]}", f"a@{stamp[:10]}"):
        assert f"{good.source}/top" in good.syncropy("ls", what, f"{good.source}/top").out


def test_json_of_list(good):
    rows = good.list("a/hour")
    assert [row["sequence"] for row in rows] == [dataset.sequence for dataset in good.datasets() if dataset.tier == "hour"]
    assert set(rows[0]) == {"client", "tier", "name", "sequence", "started", "finished", "complete", "entries", "files", "bytes", "new_files",
                            "new_bytes", "problems", "damaged", "recorded"}
    assert json.dumps(rows[-1]["new_files"]) == str(good.newest().new_files)


@pytest.mark.parametrize("words, says", [
    (["syncropy", "lst"], "no verb 'lst'"), (["syncropy"], "no verb is named"), (["syncropy", "ca", "show"], "no verb 'show'"),
    (["syncropy", "list", "--jsn"], "--jsn: 'syncropy list --help'"), (["syncropy", "ls"], "DATASET is required"),
    (["syncropy-server", "--hourly-please"], "--hourly-please: 'syncropy-server --help'"), (["syncropy-agent", "--bogus"], "--bogus: 'syncropy-agent --help'"),
    (["syncropy-agent", "enroll"], "SERVER is required: 'syncropy-agent enroll --help'"), (["syncropy", "ls\x1b[2J"], "no verb 'ls\\x1b[2J'")])
def test_what_nobody_can_have_meant(lab, words, says):
    done = subprocess.run([lab.program(words[0]), *words[1:]], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done
    assert "error: " in done.stderr and says in done.stderr
