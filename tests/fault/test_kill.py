"""Killed at any moment: what is listed is whole, nothing half is visible, and the next run succeeds and leaves all in order."""

import random
import re
import signal
import time

import pytest

import harness
import stored
import trees
from harness import SERVER

SEED = random.SystemRandom().randrange(1_000_000)


@pytest.fixture
def chance(record_property):
    record_property("seed", SEED)
    print(f"the moments come from seed {SEED}")
    return random.Random(SEED)


def sources(world):
    trees.small(world.source, files=150)
    trees.write(world.source / "large", trees.filler(8 << 20))


def change(world, chance):
    for _ in range(10):
        trees.write(world.source / f"folder{chance.randrange(4)}/sub{chance.randrange(3)}/new{chance.randrange(50)}", chance.randbytes(chance.randrange(100_000)))
    with open(world.source / "large", "r+b") as file:
        file.seek(chance.randrange(8 << 20))
        file.write(chance.randbytes(100))


def survives(world, before):
    """After a kill: everything that was visible still is and is the same; what is new besides is whole."""
    state = world.state()
    for key, value in before.items():
        if not key.endswith((" latest", " .staging")):
            assert state.get(key) == value, f"{key} is gone or changed"
    new = [dataset for dataset in world.datasets() if f"a/{dataset.tier}/{dataset.name}" not in before]
    for dataset in new:
        stored.check_whole(dataset, SERVER)
    # Looking is possible at any time.
    assert [row["sequence"] for row in world.list()] == [dataset.sequence for dataset in world.datasets()]


def run_again(world):
    snapshot = world.snapshot()
    world.run()
    stored.check_is(world.newest(), world.source, snapshot)
    staging = world.repository / "a/.staging"
    assert not staging.exists() or not list(staging.iterdir())
    world.check_catalog()


@pytest.mark.parametrize("database", ["embedded", "networked"])
def test_server_killed_at_20_moments(lab, chance, request, database):
    section = request.getfixturevalue("firebird").database() if database == "networked" else None
    with harness.World(lab, section) as world:
        sources(world)
        world.client("a", world.agent().where)
        world.settings["dataset"]["hour"] = 100
        world.init().run()
        change(world, chance)
        length = world.run().seconds
        hits = 0
        moments = 20 if database == "embedded" else 8
        for number in range(80):  # as many, and on until enough of them met a run: how long one takes drifts with the machine
            if number >= moments and hits >= 5:
                break
            change(world, chance)
            before = world.state()
            run = world.start("-c", world.configuration, "-H")
            time.sleep(length * 1.1 * chance.random())
            alive = run.runs()
            run.kill()
            run.wait()
            hits += alive
            survives(world, before)
            if number % 4 == 3:
                run_again(world)
        assert hits >= 5, "too few of the kills met a run"
        run_again(world)
        world.check()


def test_server_killed_while_it_expires(lab, chance):
    """With few datasets kept: what retention takes away goes whole, or stays whole."""
    with harness.World(lab) as world:
        sources(world)
        world.client("a", world.agent().where)
        world.settings["dataset"]["hour"] = 2
        world.init()
        for _ in range(3):
            change(world, chance)
            length = world.run().seconds
        for _ in range(8):
            change(world, chance)
            run = world.start("-c", world.configuration, "-H")
            time.sleep(length * (0.5 + 0.6 * chance.random()))
            run.kill()
            run.wait()
            for dataset in world.datasets():
                stored.check_whole(dataset, SERVER)
            assert len(world.datasets()) >= 2
        run_again(world)
        assert len(world.datasets()) == 2
        world.check()


def test_agent_killed_at_10_moments(lab, chance):
    with harness.World(lab) as world:
        sources(world)
        listener = world.listener()
        agent = world.agent(listener=listener)
        world.client("a", agent.where)
        world.init().run()
        change(world, chance)
        length = world.run().seconds
        failed = 0
        for number in range(80):  # 10 kills, and on until enough of them met a run: how long one takes drifts with the machine
            if number >= 10 and failed >= 2:
                break
            change(world, chance)
            before = world.state()
            run = world.start("-c", world.configuration, "-H")
            time.sleep(length * chance.random())
            agent.kill()
            agent.wait()
            agent = world.agent(listener=listener)  # the listening socket outlives it, as systemd's does
            if run.wait() != 0:
                assert run.process.returncode in (69, 76), run.text()
                line, = run.text().splitlines()
                assert line.startswith("syncropy-server: error: a: ") and "127.0.0.1" in line
                assert world.state() == before
                failed += 1
            if number % 3 == 2:
                run_again(world)
        assert failed >= 2, "too few of the kills met a run"
        run_again(world)
        world.check()


STEPS = ["mkdirat", "symlinkat", "linkat", "syncfs", "renameat2", "fsync", "renameat", "unlinkat"]


@pytest.mark.parametrize("call", STEPS)
def test_server_killed_at_a_step(lab, chance, call):
    """strace ends the server right at the first, second, third … of the calls that make and publish a dataset."""
    with harness.World(lab) as world:
        trees.small(world.source)
        world.client("a", world.agent().where)
        world.settings["dataset"]["hour"] = 2
        world.init()
        for _ in range(3):
            world.run()
        injections = 0
        for when in (1, 2, 3, 4, 6):
            change_little(world, chance)
            log = world.folder / "strace.log"
            log.unlink(missing_ok=True)
            done = world.server("-H", prefix=["strace", "-f", "-qq", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={when}"])
            killed = re.search(r"killed by SIGKILL", log.read_text(errors="replace"))
            if not killed:
                assert done.status == 0, done
                continue
            injections += 1
            for dataset in world.datasets():
                stored.check_whole(dataset, SERVER)
            assert len(world.datasets()) >= 2
        assert injections, f"no run was killed at {call}"
        run_again(world)
        world.check()


def change_little(world, chance):
    trees.write(world.source / f"folder0/new{chance.randrange(1000)}", chance.randbytes(100))
    (world.source / "folder0/link").unlink(missing_ok=True)
    (world.source / "folder0/link").symlink_to(f"target{chance.randrange(1000)}")


def test_a_second_run_does_not_wait_for_one_that_was_killed(world):
    """A lock ends with the process that holds it."""
    trees.small(world.source)
    world.client("a", world.agent(policy={"commands": "any"}).where, pre_command="sleep 4")
    world.init()
    run = world.start("-c", world.configuration, "-H")
    harness.wait_until(lambda: (world.repository / "a").exists(), "it has begun")
    time.sleep(0.5)
    run.kill(signal.SIGKILL)
    run.wait()
    del world.settings["clients"]["a"]["pre_command"]
    assert world.run("hour", "--lock-wait", "0").seconds < 3
