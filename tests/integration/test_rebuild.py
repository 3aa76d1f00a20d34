"""`syncropy rebuild-catalog`: from the manifests alone the catalog becomes what it was, and nothing that happens meanwhile is lost."""

import os
import random
import signal
import subprocess
import time

import pytest

import harness
import trees
from harness import assert_one_line
from rot import flip
from test_catalog import change, start

VIEWS = ("datasets", "files", "file_history", "acls", "xattrs")


def rows(world):
    """Every row of every view. Not RACY: it says how a version was read first, by a dataset that may have expired since."""
    found = {}
    for view in VIEWS:
        columns = world.syncropy("sql", f"SELECT FIRST 0 * FROM {view}").out.split()
        kept = ", ".join(column for column in columns if column != "RACY")
        found[view] = sorted(world.syncropy("sql", f"SELECT {kept} FROM {view}").out.splitlines()[1:])
        # Widths depend on the rows in the order they come: what a row says does not.
        found[view] = sorted(" ".join(line.split()) for line in found[view])
    return found


def rebuild(world, status=0, **options):
    return world.syncropy("rebuild-catalog", status=status, **options)


def test_identical_to_what_it_was(any_world):
    world, chance = start(any_world, hour=3, day=2), random.Random(11)
    trees.attributes(world.source)
    world.client("b", world.agent().where)
    gone = world.source / "folder2"
    for number, tier in enumerate(("hour", "day", "hour", "hour", "day", "hour", "week", "hour", "day", "hour")):
        change(world, chance)
        # A filesystem that is not mounted now and then: what lies in it comes back as it was.
        if number in (2, 5):
            gone.rename(world.folder / "aside")
        world.run(tier)
        if number in (2, 5):
            (world.folder / "aside").rename(gone)
    world.server("-H", "--del-dataset", world.datasets()[-1].name, "--client", "a")
    world.run("day")
    before = rows(world)
    assert len(before["files"]) > 500 and before["acls"] and before["xattrs"] and len(before["file_history"]) > len(before["files"]) / 8
    done = rebuild(world)
    assert f"{len(world.datasets('a')) + len(world.datasets('b'))} datasets of 2 clients" in done.out
    after = rows(world)
    for view in VIEWS:
        assert after[view] == before[view], f"{view}: {sorted(set(after[view]) ^ set(before[view]))[:6]}"
    # And it is one that runs go on with.
    change(world, chance)
    world.run()
    world.check("a")
    world.check("b")


@pytest.mark.parametrize("loss", ["gone", "garbage", "empty", "flipped", "a folder"])
def test_whatever_has_become_of_the_old_one(world, loss):
    start(world).run()
    trees.write(world.source / "new", "new")
    world.run("day")
    before, catalog = rows(world), world.repository / ".syncropy/catalog.fdb"
    if loss in ("gone", "a folder"):
        catalog.unlink()
    elif loss == "flipped":
        for bit in range(0, 8 * catalog.stat().st_size, 50_001):
            flip(catalog, bit)
    else:
        catalog.write_bytes(b"" if loss == "empty" else b"no database" * 10_000)
    if loss == "a folder":
        catalog.mkdir()
        assert_one_line(rebuild(world, status=73), 73, catalog, program="syncropy")
        catalog.rmdir()
    rebuild(world)
    assert rows(world) == before
    assert sorted(os.listdir(catalog.parent)) == ["catalog.fdb", "catalog.fdb.unsynced", "firebird", "format", "rebuild.lock"]


def test_while_backups_run(any_world):
    """Runs and rebuilds take turns; what is published while a rebuild goes on is recorded when both are done."""
    world = start(any_world, hour=3)
    world.run()
    for _ in range(2):
        runs = harness.in_background(lambda: [world.run() for _ in range(6)])
        rebuild(world)
        runs()
    rebuild(world)
    world.check()
    change(world, random.Random(1))
    world.run()
    world.check()


def test_a_client_whose_run_goes_on_is_waited_for(world):
    start(world).run()
    before = rows(world)
    with subprocess.Popen(["flock", world.repository / "a", "sh", "-c", "echo locked; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        running = world.start("-c", world.configuration, "rebuild-catalog", program="syncropy")
        time.sleep(0.5)
        assert running.runs() and rows(world) == before, "the old one is not used until the new one is whole"
        holder.stdin.close()
    assert running.wait() == 0
    assert rows(world) == before


def test_killed_at_any_moment(any_world):
    """Embedded, the catalog is the old one or the new one, both of which are whole; networked, the next run records what is missing."""
    world = start(any_world)
    for number in range(400):
        trees.write(world.source / f"more/{number}", b"x")
    world.run()
    world.run("day")
    embedded = "database" not in world.settings
    before = rows(world)
    whole = rebuild(world).seconds
    killed, chance = 0, random.Random(3)
    while killed < 6:
        running = world.start("-c", world.configuration, "rebuild-catalog", program="syncropy")
        time.sleep(chance.uniform(0, whole))
        if running.runs():
            running.kill(signal.SIGKILL)
            killed += 1
        running.wait()
        if embedded:
            assert rows(world) == before
    world.run("week")
    world.check()
    rebuild(world)
    world.check()


def test_disk_full(lab):
    """However little is left: the old catalog stays until the new one is whole, and nothing of that lies about."""
    with harness.World(lab) as world:
        world.mount("tmpfs", world.store, "-o", "size=40m,mode=755", "tmpfs")
        os.chown(world.store, harness.SERVER, harness.SERVER)
        for number in range(2_000):
            trees.write(world.source / f"more/{number // 100}/{number}", b"")
        start(world).run()
        before, ended = rows(world), set()
        for leave in (0, 1, 5, 9, 11, 16):
            free = os.statvfs(world.store).f_bavail * os.statvfs(world.store).f_frsize
            with open(world.store / "filler", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, free - leave * (1 << 20))
            done = world.execute("syncropy", "-c", world.configuration, "rebuild-catalog")
            (world.store / "filler").unlink()
            if done.status != 0:
                assert_one_line(done, 74, program="syncropy")
            ended.add(done.status)
            assert rows(world) == before
            assert not list((world.repository / ".syncropy").glob("*.rebuilding"))
        assert ended == {0, 74}


def test_damaged_datasets(world):
    start(world).run()
    trees.write(world.source / "new", "new")
    world.run("day")
    world.run("week")
    hour, day, week = world.datasets()
    flip(day.folder / "manifest/index", 200)
    done = rebuild(world, status=65)
    assert len(done.lines) == 1 and day.name in done.err and "2 datasets of 1 clients" in done.out
    assert {row["name"]: row["recorded"] for row in world.list()} == {hour.name: True, week.name: True}
    flip(day.folder / "manifest/index", 200)
    rebuild(world)
    assert [row["recorded"] for row in world.list()] == [True] * 3
    world.check()


def test_bad_input(world):
    world.client("a", {"host": "127.0.0.1", "ssl": False})
    assert_one_line(rebuild(world, status=73), 73, "repository", program="syncropy")
    world.init()
    assert rebuild(world).out.startswith("the catalog holds 0 datasets of 0 clients")
    with subprocess.Popen(["flock", world.repository / ".syncropy/rebuild.lock", "sh", "-c", "echo locked; cat"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        assert_one_line(rebuild(world, status=75), 75, "another process", program="syncropy")
        holder.stdin.close()
    world.settings["database"] = {"host": "127.0.0.1", "port": 1, "password": "x", "dbname": "/x.fdb"}
    assert_one_line(rebuild(world, status=69), 69, "127.0.0.1", program="syncropy")
