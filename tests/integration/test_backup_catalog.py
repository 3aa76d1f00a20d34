"""`syncropy backup-catalog`, and the backup after each run: whole or not there, and Firebird's own gbak makes the catalog of it again."""

import os
import signal
import subprocess
import time

import pytest

import harness
import trees
from harness import assert_one_line
from rot import flip
from test_catalog import start
from test_rebuild import rows


def lose_and_restore(world, file):
    """As syncropy(1) says, under EXAMPLES."""
    database = world.settings["database"] if "host" in world.settings.get("database", {}) else None
    if database:
        where = f"127.0.0.1/{database['port']}:{database['dbname']}"
        command = ["gbak", "-replace_database", "-user", "SYSDBA", "-password", database["password"], file, where]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    else:
        catalog = world.repository / ".syncropy/catalog.fdb"
        catalog.unlink()
        done = subprocess.run([*harness.AS_SERVER, "gbak", "-create_database", file, str(catalog)], capture_output=True, text=True,
                              env={**os.environ, "FIREBIRD_LOCK": str(world.store)})
    assert done.returncode == 0, done


def test_comes_back_whole(any_world):
    world = start(any_world, hour=2)
    trees.attributes(world.source)
    for tier in ("hour", "day", "hour", "hour"):
        trees.write(world.source / "new", tier)
        world.run(tier)
    before, file = rows(world), world.store / "catalog.fbk"
    done = world.syncropy("backup-catalog", file)
    assert str(file) in done.out and file.stat().st_mode & 0o777 == 0o600
    world.run("week")
    lose_and_restore(world, file)
    assert rows(world) == before
    # What came after the backup is recorded by the next run.
    assert [row["recorded"] for row in world.list()].count(False) == 1
    world.run("month")
    world.check()


def test_after_each_run(any_world):
    world = start(any_world)
    file = world.store / "backup of the catalog"
    database = {"backup": str(file)}
    world.settings.setdefault("database", {}).update(database)
    assert "the catalog is backed up to" in world.run().err
    first = file.read_bytes()
    trees.write(world.source / "new", "new")
    world.run("day")
    assert file.read_bytes() != first and os.listdir(world.store).count(file.name) == 1
    assert sorted(os.listdir(world.store)) == ["backup of the catalog", "backups"]
    before = rows(world)
    lose_and_restore(world, file)
    assert rows(world) == before
    # Without a file on the command line it is the same one.
    file.unlink()
    world.syncropy("backup-catalog")
    assert file.exists()
    assert f"its backup  {file}" in world.syncropy("check-config").out


def test_a_run_does_not_fail_for_it(world):
    start(world)
    file = world.store / "sub/catalog.fbk"
    world.settings["database"] = {"backup": str(file)}
    done = world.run(status=4)
    line, = [line for line in done.lines if "error" in line]
    assert str(file) in line and "not backed up" in line and "make its folder first" in line
    assert world.list()[0]["recorded"] is True
    file.parent.mkdir()
    os.chown(file.parent, harness.SERVER, harness.SERVER)
    world.run()
    kept = file.read_bytes()
    # Nothing is backed up where nothing was recorded; what is there stays.
    catalog = world.repository / ".syncropy/catalog.fdb"
    catalog.rename(catalog.with_suffix(".kept"))
    catalog.mkdir()
    world.run(status=4)
    assert file.read_bytes() == kept and os.listdir(file.parent) == [file.name]
    catalog.rmdir()
    catalog.with_suffix(".kept").rename(catalog)
    # Relative to the configuration, as all files in it.
    world.settings["database"] = {"backup": "here.fbk"}
    world.write_configuration()
    world.folder.chmod(0o777)
    world.run()
    assert (world.folder / "here.fbk").stat().st_size > 10_000


def test_the_last_good_one_stays(world):
    """A database that cannot be read to its end gives no backup."""
    start(world)
    for number in range(3_000):
        trees.write(world.source / f"many/{number // 100}/{number}", b"x")
    world.run()
    file, catalog = world.store / "catalog.fbk", world.repository / ".syncropy/catalog.fdb"
    world.syncropy("backup-catalog", file)
    kept, whole = file.read_bytes(), catalog.read_bytes()
    failed = 0
    for page in range(16_384, len(whole) - 16_384, 16_384):
        if whole[page] != 5 or whole[page + 40:page + 4_000].count(b"many") < 5:  # a page with data of ours
            continue
        catalog.write_bytes(whole[:page] + trees.filler(16_384, page) + whole[page + 16_384:])
        done = world.execute("syncropy", "-c", world.configuration, "backup-catalog", file)
        assert done.status == 65, done
        assert_one_line(done, 65, "rebuild-catalog", program="syncropy")
        failed += 1
        assert file.read_bytes() == kept and sorted(os.listdir(world.store)) == ["backups", "catalog.fbk"]
        if failed == 3:
            break
    assert failed


def test_killed_and_full(lab):
    with harness.World(lab) as world:
        world.mount("tmpfs", world.store, "-o", "size=40m,mode=755", "tmpfs")
        os.chown(world.store, harness.SERVER, harness.SERVER)
        for number in range(3_000):
            trees.write(world.source / f"many/{number // 100}/{number}", b"x")
        start(world).run()
        file = world.store / "catalog.fbk"
        whole = world.syncropy("backup-catalog", file).seconds
        kept, killed = file.read_bytes(), 0
        for number in range(10):
            running = world.start("-c", world.configuration, "backup-catalog", file, program="syncropy")
            time.sleep(whole * number / 10)
            if running.runs():
                running.kill(signal.SIGKILL)
                killed += 1
            running.wait()
            assert len(file.read_bytes()) == len(kept)
        assert killed
        kept = file.read_bytes()
        with open(world.store / "filler", "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, os.statvfs(world.store).f_bavail * os.statvfs(world.store).f_frsize - 8_500_000)
        world.syncropy("list")
        with open(world.store / "filler2", "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, os.statvfs(world.store).f_bavail * os.statvfs(world.store).f_frsize)
        done = world.syncropy("backup-catalog", file, status=74)
        assert_one_line(done, 74, program="syncropy")
        assert file.read_bytes() == kept


def test_bad_input(world):
    start(world)
    assert_one_line(world.syncropy("backup-catalog", status=2), 2, "backup-catalog FILE", "backup: FILE", program="syncropy")
    assert_one_line(world.syncropy("backup-catalog", world.store / "x.fbk", status=66), 66, "catalog.fdb", "a backup run makes it", program="syncropy")
    world.run()
    assert_one_line(world.syncropy("backup-catalog", world.store / "no/such/x.fbk", status=74), 74, "no/such", "folder", program="syncropy")
    assert_one_line(world.syncropy("backup-catalog", "/proc/x.fbk", status=74), 74, "/proc", program="syncropy")
    (world.store / "folder").mkdir()
    assert_one_line(world.syncropy("backup-catalog", world.store / "folder", status=74), 74, "folder", program="syncropy")
    assert os.listdir(world.store / "folder") == [] and sorted(os.listdir(world.store)) == ["backups", "folder"]
    world.settings["database"] = {"host": "127.0.0.1", "port": 1, "password": "x", "dbname": "/x.fdb"}
    assert_one_line(world.syncropy("backup-catalog", world.store / "x.fbk", status=69), 69, "127.0.0.1", program="syncropy")
