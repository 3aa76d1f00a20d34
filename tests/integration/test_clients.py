"""Several clients of one configuration side by side, and what the exit status says of them."""

import re
import time

import stored
import trees

NAMES = [f"client{number}" for number in range(7)]


def test_seven_clients_side_by_side(world):
    before = {}
    for number, name in enumerate(NAMES):
        source = trees.small(world.source / name, seed=number * 1_000)
        before[name] = trees.scan(source)
        world.client(name, world.agent().where, path=str(source))
    world.init()
    for _ in range(2):
        done = world.run()
        assert len(done.lines) == len(NAMES)
    for name in NAMES:
        assert len(world.datasets(name)) == 2
        stored.check_is(world.newest(name), world.source / name, before[name])
        world.check(name)
    assert [row["client"] for row in world.list()] == [name for name in NAMES for _ in range(2)]


def test_they_run_at_the_same_time(world):
    """Five whose commands take a second take less than five."""
    agent = world.agent(policy={"commands": "any"})
    trees.write(world.source / "file", "x")
    for name in NAMES[:5]:
        world.client(name, agent.where, pre_command="sleep 1")
    world.init()
    began = time.monotonic()
    world.run()
    assert time.monotonic() - began < 4
    world.settings["general"]["parallel"] = 1
    began = time.monotonic()
    world.run("hour", "--client", NAMES[0], "--client", NAMES[1], "--client", NAMES[2])
    assert time.monotonic() - began > 3
    assert [len(world.datasets(name)) for name in NAMES[:5]] == [2, 2, 2, 1, 1]


def test_one_that_fails_does_not_stop_the_others(world):
    agent = world.agent()
    trees.small(world.source)
    world.client("good1", agent.where)
    world.client("away", {"host": "127.0.0.1", "port": 1, "ssl": False})
    world.client("good2", agent.where)
    world.init()
    before = world.snapshot()
    done = world.run(status=69)
    errors = [line for line in done.lines if "error" in line]
    assert len(errors) == 1 and "away: " in errors[0] and "port 1" in errors[0]
    for name in ("good1", "good2"):
        stored.check_is(world.newest(name), world.source, before)
        world.check(name)
    assert world.datasets("away") == []
    # Another reason besides: the status no longer tells which.
    world.client("nothing", agent.where, path=f"{world.source}/no/such/folder")
    done = world.run(status=1)
    errors = [line for line in done.lines if re.match("syncropy-server: error: (away|nothing): ", line)]
    assert len(errors) == 2 and len(world.datasets("good2")) == 2
    # The same reason twice is that reason.
    del world.settings["clients"]["nothing"]
    world.client("away2", {"host": "127.0.0.1", "port": 1, "ssl": False})
    world.run(status=69)
    # Good and partial together: partial.
    world.settings["clients"] = {}
    trees.write(world.source / "secret", "x", 0)
    world.client("good1", agent.where)
    world.client("good2", world.agent(caps=False).where)
    world.run(status=3)
    assert world.newest("good1").complete and not world.newest("good2").complete


def test_only_the_named_client(world):
    agent = world.agent()
    trees.write(world.source / "file", "x")
    for name in ("a", "b"):
        world.client(name, agent.where)
    world.init().run("hour", "--client", "b")
    assert world.datasets("a") == [] and len(world.datasets("b")) == 1
    world.fail(2, "'c'", arguments=["--client", "c"])


def test_two_runs_of_different_clients_at_once(any_world):
    """Two processes, two tiers, one catalog."""
    world = any_world
    agent = world.agent()
    for name in ("a", "b"):
        trees.small(world.source / name, seed=ord(name))
        world.client(name, agent.where, path=str(world.source / name))
    world.init()
    for _ in range(3):
        first = world.start("-c", world.configuration, "-H", "--client", "a")
        second = world.start("-c", world.configuration, "-D", "--client", "b")
        assert (first.wait(), second.wait()) == (0, 0), first.text() + second.text()
    for name in ("a", "b"):
        assert len(world.datasets(name)) == 3
        world.check(name)


def test_the_same_client_twice_at_once_waits(world):
    agent = world.agent()
    trees.small(world.source)
    world.client("a", agent.where)
    world.init()
    runs = [world.start("-c", world.configuration, tier) for tier in ("-H", "-D", "-W")]
    assert [run.wait() for run in runs] == [0, 0, 0], [run.text() for run in runs]
    assert sorted(dataset.tier for dataset in world.datasets()) == ["day", "hour", "week"]
    world.check()


def test_instance_names_config_and_tier(world):
    trees.write(world.source / "file", "x")
    world.client("a", world.agent().where)
    world.init()
    (world.folder / "prod.yaml").write_text(world.configuration.read_text())
    for suffix, tier in (("hourly", "hour"), ("daily", "day"), ("weekly", "week"), ("monthly", "month")):
        done = world.execute("syncropy-server", "--instance", f"prod-{suffix}")
        assert done.status == 0 and world.newest().tier == tier, done
    assert world.execute("syncropy", "-c", "prod", "list").status == 0
