"""What was renamed is linked and not transferred: found by its inode, size and time, and believed when its digest is the same."""

import os
import random

import harness
import pytest
import stored
import trees
from proxy import Proxy


@pytest.fixture(params=[100, 2], ids=["new tree", "recycled tree"])
def world(lab, request):
    with harness.World(lab) as world:
        chance = random.Random(1)
        for number in range(200):
            trees.write(world.source / f"folder{number % 5}/{number % 3}/file{number:03}", chance.randbytes(1 + chance.randrange(20_000)))
        trees.write(world.source / "large", chance.randbytes(6 << 20))
        for number in range(3):
            trees.write(world.source / f"log.{number}" if number else world.source / "log", chance.randbytes(400_000 + number))
        os.link(world.source / "folder0/0/file000", world.source / "folder0/other-name")
        for path in world.source.rglob("*"):
            os.utime(path, ns=(0, 10**18 + path.lstat().st_ino), follow_symlinks=False)
        agent = world.agent()
        world.proxy = world.keep(Proxy(agent.address))
        world.client("a", agent.where | {"port": world.proxy.port})
        world.settings["dataset"]["hour"] = request.param
        world.init()
        for _ in range(3):
            world.run()
        yield world


def run(world, new_files=0, traffic=200_000):
    before = {node.inode: (path, node.digest) for path, node in trees.scan(world.newest().under(world.source)).items()}
    snapshot = world.snapshot()
    done = world.run()
    newest = world.newest()
    stored.check_is(newest, world.source, snapshot)
    assert not any("starts over" in line for line in done.lines)
    assert newest.new_files == new_files
    assert world.proxy.bytes["in"] < traffic
    world.check()
    return before, trees.scan(newest.under(world.source))


def test_a_folder_with_all_that_is_in_it(world):
    (world.source / "moved").mkdir()
    for path in sorted(world.source.iterdir()):
        if path.name != "moved":
            path.rename(world.source / "moved" / path.name)
    before, after = run(world)
    assert all(node.inode in before for node in after.values() if node.digest)
    for path in sorted((world.source / "moved").iterdir()):
        path.rename(world.source / path.name)
    (world.source / "moved").rmdir()
    run(world)


def test_one_large_file(world):
    (world.source / "large").rename(world.source / "folder3/renamed")
    run(world)


def test_rotated_logs(world):
    """Names that exist on, with what another one had before."""
    for number in (2, 1, 0):
        (world.source / (f"log.{number}" if number else "log")).rename(world.source / f"log.{number + 1}")
    trees.write(world.source / "log", b"begins anew")
    run(world, new_files=1)


def test_the_same_inode_with_another_content(world):
    for path in sorted(world.source.glob("folder*/*/*")) + [world.source / "large"]:
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        path.rename(path.with_name("x" + path.name))
    run(world, new_files=201, traffic=1 << 30)


def test_what_is_not_stored_any_more_is_fetched(world):
    (world.newest().under(world.source) / "large").unlink()
    (world.source / "large").rename(world.source / "renamed")
    snapshot = world.snapshot()
    world.run()
    stored.check_is(world.newest(), world.source, snapshot)
    assert world.newest().new_files == 1


def test_few_small_ones_are_not_worth_looking(world):
    (world.source / "folder1/1").rename(world.source / "folder1/renamed")
    run(world, new_files=14, traffic=1 << 20)


def test_touched_and_moved(world):
    """Another mtime: not looked for, but the run is right."""
    os.utime(world.source / "large", ns=(0, 5))
    (world.source / "large").rename(world.source / "renamed")
    run(world, new_files=1, traffic=1 << 30)


def test_names_of_one_inode(world):
    for path in sorted(world.source.glob("folder*/**/*")):
        if path.is_file():
            path.rename(world.source / f"{path.name}-moved")
    _, after = run(world)
    assert after[b"file000-moved"].inode == after[b"other-name-moved"].inode
