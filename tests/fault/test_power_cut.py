"""The machine stops: what the disk has not got is gone. Published datasets are whole, and the catalog says what they say."""

import fcntl
import os
import random
import struct
import subprocess
import time

import harness
import pytest
import stored
import trees
from harness import SERVER

EXT4_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN; 2: without flushing the log
CUTS = 12


class Disk:
    """An ext4 in a file, mounted at the store, that loses power when told."""

    def __init__(self, world):
        self.world, self.image = world, world.folder / "disk"
        with open(self.image, "wb") as file:
            file.truncate(256 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=True)
        self.mount()
        os.chown(world.store, SERVER, SERVER)

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.world.store], check=True, capture_output=True)

    def cut(self):
        folder = os.open(self.world.store, os.O_RDONLY)
        fcntl.ioctl(folder, EXT4_SHUTDOWN, struct.pack("I", 2))
        os.close(folder)

    def unmount(self):
        for _ in range(100):
            if subprocess.run(["umount", self.world.store], capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError("the cut disk cannot be unmounted")

    def recover(self):
        self.unmount()
        assert subprocess.run(["e2fsck", "-p", "-f", self.image], capture_output=True).returncode < 4
        self.mount()


@pytest.fixture
def disk(lab):
    with harness.World(lab) as world:
        try:
            world.disk = Disk(world)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"NOT RUN: no loop device can be mounted here: {error.stderr}")
        for number in range(300):
            trees.write(world.source / f"folder{number % 10}/{number}", random.Random(number).randbytes(2_000))
        world.client("a", world.agent().where)
        world.settings["dataset"]["hour"] = 3
        world.environment = {**world.environment, "SYNCROPY_BOOT_ID": f"{1:032x}"}
        world.init()
        world.run()
        try:
            yield world
        finally:
            world.disk.unmount()


def test_power_is_cut_at_any_moment(disk):
    world, chance = disk, random.Random(12)
    length, cut_in_mid_run, made_anew = None, 0, 0
    for cut in range(CUTS):
        for _ in range(400):
            trees.write(world.source / f"folder{chance.randrange(12)}/{chance.randrange(600)}", chance.randbytes(chance.randrange(30_000)))
        length = length or world.run().seconds
        before = {dataset.sequence: dataset for dataset in world.datasets()}
        run = world.start("-c", world.configuration, "-H")
        time.sleep(chance.random() * 1.2 * length)
        cut_in_mid_run += run.runs()
        world.disk.cut()
        run.wait(30)
        world.disk.recover()
        world.environment["SYNCROPY_BOOT_ID"] = f"{cut + 2:032x}"
        after = {dataset.sequence: dataset for dataset in world.datasets()}
        for dataset in after.values():
            stored.check_whole(dataset, SERVER)
        assert max(before) in after, "the newest dataset is gone"
        snapshot = world.snapshot()
        done = world.run()
        made_anew += any("made anew from the manifests" in line for line in done.lines)
        stored.check_is(world.newest(), world.source, snapshot)
        world.check()
    assert cut_in_mid_run >= 3 and made_anew >= 1, f"{CUTS} cuts: {cut_in_mid_run} in mid-run, {made_anew} while the catalog was written"


def test_a_catalog_that_was_being_written_is_not_believed(world):
    """It is made anew by the next run; until then list says so, and rebuild-catalog does it too."""
    trees.small(world.source)
    world.client("a", world.agent().where)
    world.init()
    for _ in range(3):
        world.run()
    mark = world.repository / ".syncropy/catalog.fdb.unsynced"
    assert mark.read_bytes() == b""
    mark.write_text("0123456789abcdef" * 2 + "\n")
    assert [row["recorded"] for row in world.list()] != [True, True, True]
    assert "not believed" in world.syncropy("sql", "SELECT COUNT(*) FROM datasets", status=66).err
    done = world.run()
    assert any("made anew from the manifests" in line for line in done.lines)
    world.check()
    mark.write_text("0123456789abcdef" * 2 + "\n")
    world.syncropy("rebuild-catalog")
    assert mark.read_bytes() == b""
    world.check()
    assert not any("made anew" in line for line in world.run().lines)
