"""Four tiers, what they share, and what retention leaves of them."""

import fcntl
import os
import random
import socket
import time

import harness
import stored
import trees
from harness import assert_one_line


def start(world, **keep):
    trees.small(world.source)
    world.client("a", world.agent().where)
    world.settings["dataset"].update(keep)
    return world.init()


def file_inodes(dataset, source):
    return {path: node.inode for path, node in trees.scan(dataset.under(source)).items() if node.digest}


def names(world, tier, client="a"):
    return [dataset.name for dataset in world.datasets(client) if dataset.tier == tier]


def test_all_tiers_share_with_the_newest_dataset(world):
    start(world)
    world.run("hour")
    first = file_inodes(world.newest(), world.source)
    for tier in ("day", "week", "month", "hour"):
        world.run(tier)
        assert file_inodes(world.newest(), world.source) == first and world.newest().new_bytes == 0
    # With the newest of whichever tier: a change that the day saw is shared by the next hour.
    trees.write(world.source / "new", "seen by the day first")
    world.run("day")
    seen = (world.newest().under(world.source) / "new").stat().st_ino
    world.run("hour")
    assert (world.newest().under(world.source) / "new").stat().st_ino == seen
    assert [dataset.tier for dataset in world.datasets()] == ["hour", "day", "week", "month", "hour", "day", "hour"]
    assert os.readlink(world.repository / "a/latest") == f"hour/{world.newest().name}"
    world.check()


def test_30_hourly_runs_leave_the_newest_24(world):
    """Each still what the source was at that time; the other tiers are not touched."""
    start(world, hour=24)
    chance = random.Random(30)
    world.run("month")
    was = {1: world.snapshot()}
    for number in range(2, 32):
        for _ in range(3):
            victim = world.source / f"folder{chance.randrange(4)}/sub{chance.randrange(3)}/{chance.randrange(20)}"
            if victim.exists() and chance.random() < 0.5:
                victim.unlink()
            else:
                trees.write(victim, chance.randbytes(chance.randrange(3_000)))
        was[number] = world.snapshot()
        world.run("hour")
    datasets = world.datasets()
    assert [dataset.sequence for dataset in datasets] == [1, *range(8, 32)]
    assert [dataset.tier for dataset in datasets] == ["month"] + 24 * ["hour"]
    for dataset in datasets:
        stored.check_is(dataset, world.source, was[dataset.sequence])
    world.check()
    # The tree that expired last rests as spare; nothing else of the expired ones is left.
    spare, = (world.repository / "a/.spare").iterdir()
    assert stored.read_dataset_anywhere(spare).sequence == 7


def test_a_tier_counts_for_itself(world):
    start(world, hour=2, day=1)
    for tier in ("hour", "day", "hour", "hour", "day", "hour", "week"):
        world.run(tier)
    assert [(dataset.tier, dataset.sequence) for dataset in world.datasets()] == [("hour", 4), ("day", 5), ("hour", 6), ("week", 7)]
    world.check()


def test_lowering_the_count_takes_what_is_too_much(world):
    start(world, hour=6)
    for _ in range(5):
        world.run()
    world.settings["dataset"]["hour"] = 2
    world.run()
    assert [dataset.sequence for dataset in world.datasets()] == [5, 6]
    world.check()


def test_partial_never_pushes_out_complete(lab):
    """The agent loses its capability: from then on a file cannot be read."""
    with harness.World(lab) as world:
        trees.small(world.source)
        secret = trees.write(world.source / "secret", "mode 000", 0)
        world.client("a", world.agent().where)
        world.settings["dataset"]["hour"] = 3
        world.init()
        for _ in range(3):
            world.run()
        world.client("a", world.agent(caps=False).where)
        trees.write(secret, "changed", 0)
        for _ in range(5):
            done = world.run(status=3)
            assert sum(1 for line in done.lines if str(secret) in line) == 1
        assert ([(dataset.sequence, dataset.complete) for dataset in world.datasets()]
                == [(1, True), (2, True), (3, True), (6, False), (7, False), (8, False)])
        # A run that replaces the newest does not give a complete one for a partial one either.
        world.run("day", status=3)
        world.client("a", world.agent().where)
        world.run("day", "-r")
        assert [dataset.complete for dataset in world.datasets() if dataset.tier == "day"] == [True]
        world.client("a", world.agent(caps=False).where)
        trees.write(secret, "changed again", 0)
        world.run("day", "-r", status=3)
        assert [dataset.complete for dataset in world.datasets() if dataset.tier == "day"] == [True, False]
        # Complete ones push out both.
        world.client("a", world.agent().where)
        for _ in range(3):
            world.run()
        assert ([(dataset.sequence, dataset.complete) for dataset in world.datasets() if dataset.tier == "hour"]
                == [(12, True), (13, True), (14, True)])
        world.check()


def test_reload_replaces_the_newest(world):
    start(world)
    world.run("hour")
    world.run("day")
    world.run("hour")
    trees.write(world.source / "new", "new")
    world.run("hour", "--reload-dataset")
    assert [(dataset.tier, dataset.sequence) for dataset in world.datasets()] == [("hour", 1), ("day", 2), ("hour", 4)]
    assert (world.newest().under(world.source) / "new").exists()
    # Where a run fails, the one that was to be replaced stays.
    world.client("a", {"host": "127.0.0.1", "port": 1, "ssl": False})
    world.fail(69, arguments=["-r"])
    world.client("a", world.agent().where)
    world.run("week", "-r")
    assert [(dataset.tier, dataset.sequence) for dataset in world.datasets()] == [("hour", 1), ("day", 2), ("hour", 4), ("week", 5)]
    world.check()


def test_get_last_dataset(world):
    start(world)
    world.client("b", world.settings["clients"]["a"])
    assert world.server("-H", "--get-last-dataset").out == "a -\nb -\n"
    world.run("hour")
    world.run("hour", "--client", "a")
    world.run("day", "--client", "b")
    done = world.server("-H", "--get-last-dataset")
    newest = [dataset for dataset in world.datasets("b") if dataset.tier == "hour"][-1]
    assert (done.status, done.err) == (0, "")
    assert done.out == f"a {world.newest('a').name} 2\nb {newest.name} 1\n"
    assert world.server("-D", "--get-last-dataset").out == f"a -\nb {world.newest('b').name} 2\n"
    assert world.server("-W", "--get-last-dataset").out == "a -\nb -\n"


def test_delete_by_name_sequence_and_full_name(world):
    start(world)
    for tier in ("hour", "hour", "day", "hour", "hour"):
        world.run(tier)
    hours = names(world, "hour")
    for id, left in ((hours[1], [1, 3, 4, 5]), ("4", [1, 3, 5]), (f"a/hour/{hours[0]}", [3, 5])):
        done = world.server("-H", "--del-dataset", id)
        assert done.status == 0, done
        assert [dataset.sequence for dataset in world.datasets()] == left
        world.check()
    # What is not there, or is of another tier, is said.
    for id in ("2", hours[1], "nonsense", f"a/hour/{hours[1]}"):
        before = world.state()
        assert_one_line(world.server("-H", "--del-dataset", id), 66, id)
        assert world.state() == before
    assert_one_line(world.server("-H", "--del-dataset", "a/nonsense/x"), 2, "nonsense")
    assert_one_line(world.server("-H", "--del-dataset", f"b/hour/{hours[0]}"), 66, "b")


def test_deleting_touches_no_other_client(world):
    start(world)
    world.client("b", world.settings["clients"]["a"])
    world.run("hour")
    world.run("hour")
    shared = world.datasets("a")[0].name  # both runs of one second or not: the number fits both in any case
    for ids in (("1",), ("1", "--client", "a", "--client", "b")):
        done = world.server("-H", "--del-dataset", *ids)
        assert_one_line(done, 2, f"a/hour/{shared}", f"b/hour/{world.datasets('b')[0].name}")
    for id in ("a/hour", "a/hour/", "a/", "a"):
        assert world.server("-H", "--del-dataset", id).status in (2, 66), id
    assert_one_line(world.server("-H", "--client", "b", "--del-dataset", f"a/hour/{shared}"), 2, "--client")
    assert_one_line(world.server("-H", "--client", "c", "--del-dataset", "1"), 2, "'c'")
    assert world.server("-H", "--del-dataset", "").status != 0
    assert [len(world.datasets(client)) for client in "ab"] == [2, 2]
    assert world.server("-H", "--client", "b", "--del-dataset", "1").status == 0
    assert [[dataset.sequence for dataset in world.datasets(client)] for client in "ab"] == [[1, 2], [2]]
    assert world.server("-H", "--client", "b", "--get-last-dataset").out == f"b {world.newest('b').name} 2\n"
    for client in "ab":
        world.check(client)


def test_a_damaged_dataset_can_be_deleted(world):
    start(world)
    world.run()
    world.run()
    damaged = world.datasets()[0]
    index = damaged.folder / "manifest/index"
    index.chmod(0o600)
    index.write_bytes(index.read_bytes()[:-1])
    assert_one_line(world.server("-H", "--del-dataset", damaged.name + "x"), 66)
    assert world.server("-H", "--del-dataset", f"a/hour/{damaged.name}").status == 0
    assert not damaged.folder.exists()
    assert [dataset.sequence for dataset in world.datasets()] == [2]
    world.check()


def test_deleting_the_newest_and_backing_up_again(any_world):
    """Unchanged files must still be shown, by manifest and catalog; so must what changed back."""
    world = start(any_world)
    world.run()
    trees.write(world.source / "top", "second content")
    world.run()
    world.run("day")
    for _ in range(2):
        assert world.server("-D", "--del-dataset", str(world.newest().sequence)).status == 0
        world.check()
        before = world.snapshot()
        world.run("day")
        stored.check_is(world.newest(), world.source, before)
        world.check()
    assert world.server("-D", "--del-dataset", world.newest().name).status == 0
    assert world.server("-H", "--del-dataset", world.newest().name).status == 0
    assert [dataset.sequence for dataset in world.datasets()] == [1]
    assert os.readlink(world.repository / "a/latest") == f"hour/{world.newest().name}"
    trees.write(world.source / "top", "third content")
    before = world.snapshot()
    world.run("month")
    stored.check_is(world.newest(), world.source, before)
    world.check()


def test_a_sequence_is_never_given_again(world):
    start(world)
    for sequence in (1, 2, 3, 4):
        world.run()
        assert world.newest().sequence == sequence
        if sequence > 1:
            assert world.server("-H", "--del-dataset", str(sequence)).status == 0
    # Nor that of one that is damaged, and whole again later.
    world.run()
    index = world.newest().folder / "manifest/index"
    content = index.read_bytes()
    index.chmod(0o600)
    index.write_bytes(b"")
    world.run()
    index.write_bytes(content)
    world.run()
    assert [dataset.sequence for dataset in world.datasets()] == [1, 5, 6, 7]
    world.check()


def test_a_name_is_never_given_again(world):
    """Not even to runs of one second of which some are expired or deleted meanwhile."""
    start(world, hour=1)
    seen = []
    for round in range(8):
        world.run()
        assert world.newest().name not in seen
        seen.append(world.newest().name)
        if round % 4 == 3:
            assert world.server("-H", "--del-dataset", world.newest().name).status == 0


def test_a_reader_keeps_its_dataset(world):
    start(world, hour=1)
    world.run()
    read = world.newest()
    folder = os.open(read.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)
    world.run()
    done = world.run()
    assert read.folder.exists() and any("is being read" in line for line in done.lines)
    assert [dataset.sequence for dataset in world.datasets()] == [1, 3]
    done = world.server("-H", "--del-dataset", read.name)
    assert_one_line(done, 75, read.name, "is being read")
    world.check()
    os.close(folder)
    world.run()
    assert [dataset.sequence for dataset in world.datasets()] == [4]
    world.check()


def test_who_stands_in_an_expired_tree_can_finish(world):
    """With plain tools, without a lock: the tree rests as spare until the next one expires."""
    start(world, hour=1)
    world.run()
    before = world.snapshot()
    standing = os.open(world.newest().under(world.source), os.O_RDONLY)
    world.run()
    assert trees.scan(f"/proc/self/fd/{standing}/.").keys() == before.keys()
    os.close(standing)


def test_one_run_at_a_time_works_on_a_client(world):
    start(world)
    world.run()
    folder = os.open(world.repository / "a", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    done = world.fail(75, "'a'", "another run", arguments=["--lock-wait", "0"])
    assert done.seconds < 2
    assert_one_line(world.server("-H", "--del-dataset", "1", "--lock-wait", "0"), 75, "'a'")
    # It waits as long as it is told.
    waiting = harness.in_background(lambda: world.run("hour", "--lock-wait", "30"))
    time.sleep(0.5)
    os.close(folder)
    assert waiting().seconds >= 0.5
    world.check()
    # `syncropy` looks while a run holds the lock.
    folder = os.open(world.repository / "a", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    assert len(world.list()) == 2
    os.close(folder)


def heard(manager):
    """How often systemd was asked for more time."""
    count = 0
    manager.setblocking(False)
    try:
        while message := manager.recv(4_096):
            count += message.startswith(b"EXTEND_TIMEOUT_USEC=900000000")
    except BlockingIOError:
        return count


def test_systemd_is_asked_for_time_while_a_run_waits(world):
    trees.small(world.source)
    world.client("a", world.agent(policy={"commands": "any"}).where, pre_command="sleep 3.5")
    world.init()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0syncropy-test-{os.getpid()}")
        environment = {"NOTIFY_SOCKET": f"@syncropy-test-{os.getpid()}"}
        world.run(environment=environment)
        assert heard(manager) >= 3  # in the pre-command
        folder = os.open(world.repository / "a", os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        done = world.server("-H", "--lock-wait", "4", environment=environment)
        assert done.status == 75 and heard(manager) >= 3
        waits, failed = done.lines
        assert "this one waits for it, for 4 s at most" in waits and "'a'" in failed and "another run" in failed
        os.close(folder)


def test_a_run_that_fails_expires_nothing(world):
    start(world, hour=2)
    for _ in range(3):
        world.run()
    world.settings["dataset"]["hour"] = 1
    world.client("a", {"host": "127.0.0.1", "port": 1, "ssl": False})
    world.fail(69)
    assert len(world.datasets()) == 2
