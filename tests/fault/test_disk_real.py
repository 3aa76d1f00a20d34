"""No injection: a disk that is full, a disk that fails under its filesystem, a database server that is stopped or killed while a run goes on."""

import contextlib
import os
import signal
import subprocess

import pytest

import harness
import share
import starving
import stored
import trees
from harness import SERVER
from proxy import Proxy

MiB = 1 << 20


def image_on(world, memory, size):
    """An ext4 in a sparse file that lies in `memory`: where that is full, the disk fails.."""
    image = memory / "disk"
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", image], check=True)
    return image


@pytest.fixture
def thin(lab):
    """A repository on an ext4 of 64 MiB that has less than that beneath it."""
    with harness.World(lab) as world:
        memory = world.folder / "memory"
        memory.mkdir()
        world.mount("tmpfs", memory, "-o", "size=40m", "tmpfs")
        world.image = image_on(world, memory, 96 * MiB)
        world.memory = memory
        mounted = subprocess.run(["mount", "-o", "loop", world.image, world.store], capture_output=True)
        if mounted.returncode != 0:
            pytest.skip(f"NOT RUN: no loop device can be mounted here: {mounted.stderr}")
        os.chown(world.store, SERVER, SERVER)
        trees.small(world.source, files=10)
        world.client("a", world.agent().where, stall_timeout=20)
        world.init().run()
        subprocess.run(["sync", "-f", world.store], check=True)
        try:
            yield world
        finally:
            subprocess.run(["umount", "--lazy", world.store], check=False)


def test_a_disk_that_fails(thin):
    """Its blocks beyond what the memory takes cannot be written: syncfs(2) says so, and nothing is published. The disk is replaced; the next run succeeds."""
    world, tried, failed = thin, 0, 0
    for number in range(6):
        trees.write(world.source / f"more{number}", trees.filler(8 * MiB, number))
        before, snapshot = world.datasets(), world.snapshot()
        done = world.server("-H")
        tried += 1
        errors = [line for line in starving.errors_of(done) if "crashed (" not in line]
        # The embedded engine, whose files are on that disk, may not survive it: after the run has said what it had to say.
        starving.expect(done.status in (0, 4, 73, 74) or done.status == starving.DEFECT and "crashed (N8Firebird" in done.err, "not a fitting status", done)
        if done.status not in (0, 4):
            failed += 1
            assert len(errors) == 1, done
            if failed == 2:
                break
        else:
            stored.check_is(world.newest(), world.source, snapshot)
    assert failed, "the disk did not fail"
    # More memory beneath it, and what fsck says: as good as a copy of it on a new disk.
    subprocess.run(["umount", world.store], check=True)
    harness.wait_until(lambda: not subprocess.run(["losetup", "-j", world.image], capture_output=True).stdout, "the loop device is let go")
    subprocess.run(["mount", "-o", "remount,size=160m", world.memory], check=True)
    assert subprocess.run(["e2fsck", "-y", "-f", world.image], capture_output=True).returncode < 4
    subprocess.run(["mount", "-o", "loop", world.image, world.store], check=True)
    after = {dataset.sequence for dataset in world.datasets()}
    assert after >= {dataset.sequence for dataset in before}, "a published dataset is gone"
    for dataset in world.datasets():
        stored.check_whole(dataset, SERVER)
    snapshot = world.snapshot()
    world.run()
    stored.check_is(world.newest(), world.source, snapshot)
    world.check()
    share.tell("a disk that fails", runs=tried, failed=failed)


def test_a_full_ext4(lab):
    """At many fillings of one filesystem that repository and embedded catalog share, from nothing left to all that is wanted."""
    with harness.World(lab) as world:
        image = world.folder / "small"
        if not harness.fresh_filesystem(world.store, image, 40 * MiB):
            pytest.skip("NOT RUN: no loop device can be mounted here")
        world.mounts.append(world.store)
        os.chown(world.store, SERVER, SERVER)
        trees.small(world.source, files=10)
        world.settings["dataset"]["hour"] = 2
        world.client("a", world.agent().where)
        world.init().run()
        statuses = []
        positions = share.positions("filling", 120, 8)
        for position in positions:
            leave = (position - 1) * 96 * 1024
            for number in range(20):
                trees.write(world.source / f"new{number}/file", trees.filler(15_000, 1_000 * position + number))
            filler = world.store / "filler"
            free = os.statvfs(world.store).f_bavail * os.statvfs(world.store).f_frsize
            with open(filler, "wb") as file:
                for fewer in range(64):  # what keeps account of it takes room too
                    with contextlib.suppress(OSError):
                        os.posix_fallocate(file.fileno(), 0, max(1, free - leave - fewer * 4096))
                        break
            before, snapshot = {key: value for key, value in world.state().items() if not key.endswith(" .staging")}, world.snapshot()
            done = world.server("-H")
            after = {key: value for key, value in world.state().items() if not key.endswith(" .staging")}
            statuses.append(done.status)
            try:
                assert done.status in (0, 4, 74), done
                assert len(starving.errors_of(done)) == (0 if done.status == 0 else 1), done
                if done.status == 74 and after == before:
                    assert "No space left on device" in done.err, done
                else:
                    stored.check_is(world.newest(), world.source, snapshot)
                for dataset in world.datasets():
                    stored.check_whole(dataset, SERVER)
            except AssertionError as error:
                raise AssertionError(f"with {leave} bytes left, seed {share.SEED}: {error}") from error
            filler.unlink()
            world.run()
        world.check()
        share.tell("a full ext4", runs=len(positions), failed=sum(status != 0 for status in statuses))


# --- the database server


@pytest.fixture(scope="module")
def served(lab, firebird):
    """A run whose catalog is on a server behind a proxy, which can be cut off."""
    proxy = Proxy(("127.0.0.1", firebird.port))
    starved = starving.Starved(lab, database=firebird.database(proxy.port), large=False)
    starved.proxy = proxy
    yield starved
    starved.close()
    proxy.close()


def test_the_database_server_goes_away(served):
    """Cut after so many bytes of one direction, at any point of its conversation with a run: the dataset is published in any case, and recorded by the next."""
    world, proxy = served.world, served.proxy
    served.change()
    world.run()
    proxy.wait()
    totals, counts = dict(proxy.bytes), {"cut": 0, "not_recorded": 0}
    chance = share.chance("database")
    tried = share.count(200, 4)
    for number in range(tried):
        direction = ("in", "out")[number % 2]
        place = chance.randrange(totals[direction])
        served.change()
        proxy.cuts = 0
        proxy.cut = lambda way, passed, piece: len(piece) if way != direction else max(0, min(len(piece), place - passed))
        before, snapshot = world.state(), world.snapshot()
        datasets = world.datasets()
        done = world.server("-H")
        proxy.cut = None
        counts["cut"] += proxy.cuts > 0
        counts["not_recorded"] += done.status == 4
        try:
            starving.judge(world, done, datasets, before, world.state(), snapshot, set())
            served.succeeds_next(done)
        except starving.Wrong as wrong:
            raise AssertionError(f"cut at byte {place} of {totals[direction]} {direction}, seed {share.SEED}: {wrong}") from wrong
    world.check()
    share.tell("database server cut off", runs=tried, **counts)


def test_a_database_server_that_hangs(served, firebird):
    """It is stopped as a run begins to record: the dataset is published whatever the database does, SIGTERM ends the run at once, the next one records it."""
    world = served.world
    served.change()
    before = {dataset.sequence for dataset in world.datasets()}
    snapshot = world.snapshot()
    held = {"now": False}

    def hold(way, passed, piece):
        if way == "in" and passed > 0 and not held["now"]:
            held["now"] = True
            os.kill(firebird.pid, signal.SIGSTOP)
        return len(piece)

    served.proxy.cut = hold
    run = world.start("-c", world.configuration, "-H")
    try:
        harness.wait_until(lambda: held["now"], "it talks to the database")
        run.kill(signal.SIGTERM)
        assert run.wait(10) == -signal.SIGTERM, run.text()
    finally:
        os.kill(firebird.pid, signal.SIGCONT)
        served.proxy.cut = None
        run.kill()
        run.wait()
    for dataset in world.datasets():
        stored.check_whole(dataset, SERVER)
        if dataset.sequence not in before:
            stored.check_is(dataset, world.source, snapshot)
    world.run()
    world.check()
