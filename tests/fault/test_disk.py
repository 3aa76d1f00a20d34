"""The disk of the repository is full, or fails: nothing is published that is not whole, and what was there stays."""

import os
import re
import subprocess

import pytest

import harness
import stored
import trees
from harness import SERVER, assert_one_line

MiB = 1 << 20


@pytest.fixture
def tight(lab):
    """A repository on a filesystem of 24 MiB of its own, with one dataset."""
    with harness.World(lab) as world:
        world.mount("tmpfs", world.store, "-o", "size=24m,mode=755", "tmpfs")
        os.chown(world.store, SERVER, SERVER)
        trees.small(world.source)
        world.client("a", world.agent().where)
        world.init().run()
        yield world


def whole(world):
    """What is left is what was there, and can be used."""
    for dataset in world.datasets():
        stored.check_whole(dataset, SERVER)


def fill(world, leave):
    """Leaves so many bytes free, by a file that is not ours."""
    free = os.statvfs(world.store).f_bavail * os.statvfs(world.store).f_frsize
    path = world.store / "filler"
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - leave)
    return path


def test_full_while_files_are_written(tight):
    trees.write(tight.source / "too-large", trees.filler(30 * MiB))
    before = tight.state()
    done = tight.server("-H")
    assert_one_line(done, 74, "too-large", "No space left on device")
    assert tight.state() == before
    whole(tight)
    (tight.source / "too-large").unlink()
    tight.run()
    tight.check()


@pytest.mark.parametrize("leave", [0, 4096, 20_000, 100_000, 300_000])
def test_full_at_some_place(tight, leave):
    """However little is left: files, folders, the manifest, the catalog or nothing at all may not fit."""
    for number in range(30):
        trees.write(tight.source / f"new{number}/file", trees.filler(3_000, number))
    filler = fill(tight, leave)
    before = tight.state()
    done = tight.server("-H")
    if done.status == 74:
        assert_one_line(done, 74, "No space left on device")
        assert tight.state() == before
    else:
        # All but the catalog fitted.
        assert done.status in (0, 4), done
        assert len(tight.state()) == len(before) + 1
    whole(tight)
    filler.unlink()
    expected = tight.snapshot()
    tight.run()
    stored.check_is(tight.newest(), tight.source, expected)
    tight.check()


def test_out_of_inodes(lab):
    with harness.World(lab) as world:
        world.mount("tmpfs", world.store, "-o", "size=64m,nr_inodes=400,mode=755", "tmpfs")
        os.chown(world.store, SERVER, SERVER)
        trees.small(world.source)
        world.client("a", world.agent().where)
        world.init().run()
        for number in range(400):
            trees.write(world.source / f"many/{number}")
        world.fail(74, "No space left on device")
        whole(world)
        subprocess.run(["rm", "-r", world.source / "many"], check=True)
        world.run()
        world.check()


# --- a disk that fails: strace injects what this machine's disk does not do


@pytest.fixture(scope="module")
def failing(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        trees.write(world.source / "streamed", trees.filler(200_000))
        world.client("a", world.agent().where)
        world.init().run()
        yield world


def injected(world, call, what, when):
    """A run with `what` injected into that call; what strace did is counted."""
    log = world.folder / "strace.log"
    log.unlink(missing_ok=True)
    done = world.server("-H", prefix=["strace", "-f", "-qq", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={when}"])
    return done, len(re.findall(r"\(INJECTED\)", log.read_text(errors="replace")))


def visible(world):
    """What failed may have left an unfinished tree, which is nobody's: a disk that fails does not let it be removed either."""
    return {key: value for key, value in world.state().items() if not key.endswith(" .staging")}


def change(world, number):
    trees.write(world.source / "folder1/changing", f"content {number}")
    trees.write(world.source / "streamed", trees.filler(200_000, number))


CALLS = [("syncfs", "EIO"), ("fsync", "EIO"), ("renameat2", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "EDQUOT"), ("mkdirat", "EROFS"), ("linkat", "EIO")]


@pytest.mark.parametrize("call, error", CALLS)
def test_an_error_of_the_disk_anywhere(failing, call, error):
    """The first, the second, the fifth such call fails: no dataset, or a whole one."""
    total = 0
    for number in (1, 2, 5):
        change(failing, f"{call} {error} {number}")
        before, snapshot = visible(failing), failing.snapshot()
        done, count = injected(failing, call, f"error={error}", number)
        total += count
        if not count:
            continue
        errors = [line for line in done.lines if "error" in line]
        if visible(failing) == before:
            assert done.status == 74 and len(errors) == 1, done
        else:
            # After the rename, or in the catalog: the dataset stands, and is whole.
            assert len(errors) <= 1, done
            stored.check_is(failing.newest(), failing.source, snapshot)
    assert total > 0, "strace injected nothing"
    failing.run()
    failing.check()


def test_a_disk_that_takes_no_byte(failing):
    """Every plain write fails, those to standard error too."""
    change(failing, 77)
    before = failing.state()
    done, count = injected(failing, "write", "error=ENOSPC", "1+")
    assert count > 0
    assert done.status != 0 and failing.state() == before
    failing.run()
    failing.check()


def test_publishing_that_fails_after_the_rename(failing):
    """The folders cannot be synced: the dataset may be there, but it is not called good; the next run sets it right."""
    change(failing, 500)
    snapshot = failing.snapshot()
    for position in range(1, 20):
        done, count = injected(failing, "fsync", "error=EIO", position)
        assert done.status in (0, 4, 74), done
        if not count:
            break
    assert position > 3
    failing.run()
    stored.check_is(failing.newest(), failing.source, snapshot)
    failing.check()
