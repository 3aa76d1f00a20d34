"""What the tests of restores share: what a copy has in common with its source, worlds with a restore worker."""

import dataclasses
import pathlib
import shutil
import stat

import pytest

import harness
import trees

ROOT = ()


def shape(found):
    """What lstat, getfattr (with ACLs and capabilities), a digest and the hard links say; not what only this copy can have."""
    leaders = {}
    for path in sorted(found):
        leaders.setdefault(found[path].inode, path)
    seen = {}
    for path, node in found.items():
        is_sparse = node.kind == stat.S_IFREG and node.blocks * 512 < node.size
        size = node.size if node.kind in (stat.S_IFREG, stat.S_IFLNK) else 0
        seen[path] = dataclasses.replace(node, inode=leaders[node.inode], size=size, links=0 if node.kind == stat.S_IFDIR else node.links, blocks=is_sparse)
    return seen


def differences(left, right):
    return sorted(path for path in left.keys() | right.keys() if left.get(path) != right.get(path))


def assert_same(before, folder):
    """`folder` holds exactly what `before` (a scan) says."""
    left, right = shape(before), shape(trees.scan(folder))
    paths = differences(left, right)
    assert not paths, "\n".join(f"{path}:\n  was {left.get(path)}\n  is  {right.get(path)}" for path in paths[:10])


def under(folder, world):
    return pathlib.Path(str(folder) + str(world.source))


def restore(world, *arguments, user=ROOT, status=0):
    return world.syncropy("restore", *arguments, user=user, status=status)


def summary(done):
    line, = (line for line in done.lines if line.startswith(("restored ", "compared ")))
    return line


@pytest.fixture(scope="module")
def featured(lab):
    """Everything there is, backed up once, with a restore worker."""
    with harness.World(lab) as world:
        trees.features(world.source)
        world.worker = world.restore_worker()
        world.client("a", world.agent().where, **world.worker.place)
        world.before = world.snapshot()
        world.init().run()
        yield world


@pytest.fixture
def place(featured):
    folder = featured.folder / f"place{featured.counted()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def little(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        world.worker = world.restore_worker()
        world.client("a", world.agent().where, **world.worker.place)
        world.init().run()
        yield world
