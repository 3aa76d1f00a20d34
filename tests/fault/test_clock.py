"""The clock of the server jumps: back, ahead, over 2038, over the end of summer time, before a run and in the middle of it. Names that stand are unique,
sequences in order; nothing expires but what the sequence says; what people are shown stays sane. (Agents look at the clock for what is racy.)"""

import datetime
import json

import pytest

import harness
import oracle
import preloading
import share
import stored
import trees

YEAR = 365 * 86_400
KEPT = 3


def seconds_until(when):
    """From now, to be CLOCK_SHIFT."""
    return int(datetime.datetime.fromisoformat(when).timestamp() - datetime.datetime.now().timestamp())


JUMPS = {
    "ten years back": lambda: f"{-10 * YEAR}",
    "ten years ahead": lambda: f"{10 * YEAR}",
    "before the epoch of Syncropy": lambda: f"{seconds_until('1970-01-01T00:00:10+00:00')}",
    "ten seconds before the end of 32 bits": lambda: f"{seconds_until('2038-01-19T03:13:57+00:00')}",
    "beyond the end of 32 bits": lambda: f"{seconds_until('2038-01-19T03:14:09+00:00')}",
    "in the hour that comes twice": lambda: f"{seconds_until('2026-10-25T00:30:00+00:00')}",
    "an hour later, the same by the wall": lambda: f"{seconds_until('2026-10-25T01:30:00+00:00')}",
    "in the hour that there is not": lambda: f"{seconds_until('2026-03-29T01:00:00+00:00')}",
    "back in mid-run": lambda: f"0 {-10 * YEAR}@{share.chance('back').randrange(2, 20)}",
    "ahead in mid-run": lambda: f"0 {10 * YEAR}@{share.chance('ahead').randrange(2, 20)}",
    "over the end of 32 bits in mid-run": lambda: f"{seconds_until('2038-01-19T03:14:00+00:00')} {seconds_until('2038-01-19T03:14:10+00:00')}@{share.chance('32').randrange(2, 20)}",
    "to and fro in mid-run": lambda: f"0 {YEAR}@3 {-YEAR}@6 {2 * YEAR}@9 0@12",
}


def shifted(lab, shift):
    return {"LD_PRELOAD": str(preloading.library(lab, "clock")), "CLOCK_SHIFT": shift, "TZ": "Europe/Berlin"}


@pytest.fixture(scope="module")
def jumping(lab):
    with harness.World(lab) as world:
        trees.small(world.source, files=6)
        world.agent_at = lambda environment=None: started(world, environment)
        world.settings["dataset"] = {"hour": KEPT, "day": KEPT}
        world.client("a", world.plain_agent().where)
        world.init().run()
        world.number = world.jumps = 0
        world.given = {(dataset.tier, dataset.name) for dataset in world.datasets()}
        yield world
        share.tell("clock", runs=world.number, jumps=world.jumps)


def started(world, environment):
    """A plain agent with another clock."""
    world.environment.update(environment or {})
    try:
        return world.plain_agent().where
    finally:
        for name in environment or {}:
            del world.environment[name]


def run(world, tier, environment):
    """One run, and everything a user could complain of."""
    world.number += 1
    trees.write(world.source / "folder0/changing", f"content {world.number}")
    before, snapshot = world.datasets(), world.snapshot()
    done = world.run(tier, environment=environment)
    after = world.datasets()
    new, = [dataset for dataset in after if dataset.sequence > before[-1].sequence]
    assert new.sequence == before[-1].sequence + 1, "sequences have a gap"
    assert (tier, new.name) not in world.given, "a name was given again"
    world.given.add((tier, new.name))
    stored.check_is(new, world.source, snapshot)
    for name in FLAGS:
        wanted = [dataset.sequence for dataset in [*before, new] if dataset.tier == name][-KEPT:]
        assert [dataset.sequence for dataset in after if dataset.tier == name] == wanted, f"what expired is not the oldest: {done}"
    assert (world.repository / "a/latest").resolve() == new.folder.resolve()
    return done


FLAGS = harness.FLAGS


@pytest.mark.parametrize("name", JUMPS, ids=lambda name: name.replace(" ", "-"))
def test_runs(jumping, lab, name):
    world, environment = jumping, shifted(lab, JUMPS[name]())
    shift = int(environment["CLOCK_SHIFT"].split()[0])
    world.jumps += 1
    for tier in ("hour", "day", "hour", "hour"):
        run(world, tier, environment)
    newest = world.newest()
    if shift and "@" not in environment["CLOCK_SHIFT"]:
        said = datetime.datetime.strptime(newest.name.split(".")[0], "%Y-%m-%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
        assert abs(said - datetime.datetime.now().timestamp() - shift) < 60, "the name is not what the clock said"
    rows = [json.loads(line) for line in world.execute("syncropy", "-c", world.configuration, "list", "--json", environment=environment).out.splitlines()]
    assert [row["sequence"] for row in rows] == [dataset.sequence for dataset in world.datasets()] and all(row["recorded"] is True for row in rows)
    for arguments in (("list",), ("ls", "a"), ("ls", f"a/{newest.tier}/{newest.name}"), ("verify", "a")):
        assert world.execute("syncropy", "-c", world.configuration, *arguments, environment=environment).status == 0, arguments
    # The clock is right again.
    run(world, "hour", None)
    if share.ALL:
        world.check()


def test_what_stands_after_all_jumps(jumping):
    assert jumping.jumps
    jumping.check()
    assert len({(dataset.tier, dataset.name) for dataset in jumping.datasets()}) == 2 * KEPT


def test_a_change_within_a_second_of_a_jump_is_not_missed(jumping, lab):
    """Of an agent whose clock is off: what it takes for old may be as young as can be."""
    world, before = jumping, dict(jumping.settings["clients"]["a"])
    try:
        for shift in (10 * YEAR, -10 * YEAR):
            world.jumps += 1
            world.settings["clients"]["a"].update(world.agent_at(shifted(lab, str(shift))))
            for number in range(3):
                run(world, "hour", None)
    finally:
        world.settings["clients"]["a"].update(before)


def test_back_to_the_second_of_one_that_has_expired(lab):
    """Its name is in somebody's notes, and means it for ever."""
    with harness.World(lab) as world:
        trees.small(world.source, files=3)
        world.settings["dataset"] = {"hour": 1}
        world.client("a", world.plain_agent().where)
        world.init()
        judge, given, second = oracle.Oracle(world.repository, keep={"hour": 1}), [], 1_795_374_300
        for number, now in enumerate((second, second + 100, second + 200, second, second, second - YEAR, second + 100, second + 200, second + 300, second), 1):
            world.run("hour", environment={"LD_PRELOAD": str(preloading.library(lab, "clock")), "CLOCK_STANDS": str(now)})
            newest = world.newest()
            stamp = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%dT%H%M%SZ")
            assert newest.sequence == number and newest.name == (f"{stamp}.{number}" if now <= second + 200 and number > 3 or number > 9 else stamp)
            assert newest.name not in given, "the name of one that has expired was given again"
            given.append(newest.name)
            judge.at_rest()
            if number == 6:
                world.execute("syncropy", "-c", world.configuration, "empty-trash")
                assert world.server("-H", "--del-dataset", newest.name).status == 0
                judge.deleted("a", number)
            else:
                shown, = [json.loads(line) for line in world.execute("syncropy", "-c", world.configuration, "list", "--json").out.splitlines()]
                assert shown["sequence"] == number
                for wanted in (f"a/hour/{newest.name}", f"a@{newest.name}", "a"):
                    assert world.execute("syncropy", "-c", world.configuration, "ls", wanted).status == 0, wanted
        # A catalog that is made again knows the names too.
        assert world.execute("syncropy", "-c", world.configuration, "rebuild-catalog").status == 0
        judge.at_rest()


@pytest.mark.parametrize("years", [-10, 20])
def test_certificates(lab, years):
    """Not valid yet, or no more: refused in one line that tells the time this machine believes it is."""
    with harness.World(lab) as world:
        trees.small(world.source, files=3)
        world.client("a", world.agent().where)
        world.init().run()
        world.fail(77, "clock" if years < 0 else "expired", environment=shifted(lab, str(years * YEAR)))
        world.run()
        world.check()
