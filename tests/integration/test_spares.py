"""The tree that expired last becomes the next one, by what changed since: it must be what a new tree would have been, whatever changed."""

import os
import random
import shutil
import subprocess

import pytest
import stored
import trees


def start(world, files=60, **keep):
    trees.small(world.source, files=files)
    trees.attributes(world.source)
    world.client("a", world.agent().where)
    world.settings["dataset"].update({"hour": 2, **keep})
    return world.init()


def until_there_is_a_spare(world):
    for _ in range(3):
        world.run()
    return spare(world)


def spare(world):
    found, = (world.repository / "a/.spare").iterdir()
    return found


def folders(tree):
    return {path: node.inode for path, node in trees.scan(tree).items() if node.kind == 0o040000}


def files(tree):
    return {path: node.inode for path, node in trees.scan(tree).items() if node.kind == 0o100000}


def test_nothing_changed_makes_nothing(world):
    start(world)
    tree = until_there_is_a_spare(world) / "tree"
    before = folders(tree), files(tree)
    done = world.run()
    newest = world.newest()
    assert (folders(newest.tree), files(newest.tree)) == before
    assert newest.new_bytes == 0 and newest.new_files == 0
    assert not any("starts over" in line for line in done.lines)
    assert sorted(os.listdir(newest.folder)) == ["manifest", "tree"]
    world.check()


def mutate(source, chance, number):
    """One of everything that can happen to a tree, somewhere."""
    every = [path for path in sorted(source.rglob("*")) if os.path.lexists(path)]
    inside = [path for path in every if path.is_dir() and not path.is_symlink()] + [source]
    plain = [path for path in every if path.is_file() and not path.is_symlink()]
    folder, name = chance.choice(inside), f"new{number}-{chance.randrange(1000)}"

    def gone(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    kind = chance.randrange(14)
    if kind == 0:
        trees.write(folder / name, chance.randbytes(chance.randrange(5_000)))
    elif kind == 1 and plain:
        gone(chance.choice(plain))
    elif kind == 2 and len(inside) > 3:
        gone(chance.choice(inside[:-1]))
    elif kind == 3 and plain:
        with open(chance.choice(plain), "ab") as file:
            file.write(chance.randbytes(100))
    elif kind == 4 and plain:
        os.chown(chance.choice(plain), chance.randrange(3_000), 7)
    elif kind == 5 and plain:
        os.utime(chance.choice(plain), ns=(0, chance.randrange(10**18)))
    elif kind == 6 and every:
        path = chance.choice(every)
        new = source / name
        if not str(new).startswith(f"{path}/"):
            path.rename(new)
    elif kind == 7 and every:  # another kind of thing under the same name
        path = chance.choice(every)
        gone(path)
        what = chance.randrange(4)
        if what == 0:
            path.mkdir()
            trees.write(path / "inside", b"x" * number)
        elif what == 1:
            path.symlink_to(f"somewhere{number}")
        elif what == 2:
            os.mkfifo(path)
        else:
            trees.write(path, b"a file now")
    elif kind == 8 and plain:
        os.link(chance.choice(plain), folder / name)
    elif kind == 9 and len(plain) > 1:  # from one inode to another, content and time the same
        one = chance.choice(plain)
        copy = one.with_name(name)
        shutil.copy2(one, copy)
        copy.rename(one)
    elif kind == 10 and len(plain) > 1:
        one, other = chance.sample(plain, 2)
        one.unlink()
        os.link(other, one)
    elif kind == 11:
        os.utime(folder, ns=(0, chance.randrange(10**18)))
    elif kind == 12:
        (folder / name).mkdir()
        for count in range(chance.randrange(40)):
            trees.write(folder / name / f"{count}", chance.randbytes(count))
    elif kind == 13 and plain:
        subprocess.run(["setfattr", "-n", "user.changed", "-v", str(number), chance.choice(plain)], check=True)


@pytest.mark.parametrize("seed", range(4))
def test_a_recycled_tree_is_what_a_new_one_would_be(world, seed):
    start(world, hour=1 + seed % 3, day=1)
    chance = random.Random(seed)
    was, recycled = {}, 0
    for number in range(1, 16):
        for _ in range(chance.randrange(8)):
            mutate(world.source, chance, number)
        was[number] = world.snapshot()
        spares = list((world.repository / "a/.spare").glob("*"))
        tree = (spares[0] / "tree").stat().st_ino if spares else None
        before = world.newest() if number > 1 else None
        inodes, old_entries = (files(before.tree), before.entries()) if before else ({}, {})
        done = world.run(chance.choice(("hour", "hour", "hour", "day")))
        newest = world.newest()
        assert not any("starts over" in line for line in done.lines), done
        stored.check_is(newest, world.source, was[number])
        recycled += newest.tree.stat().st_ino == tree
        # What did not change is stored once.
        now, entries = files(newest.tree), newest.entries()
        for path, entry in old_entries.items():
            if path in entries and entry.digest and entries[path].stat == entry.stat:
                assert now[path] == inodes[path], path
    assert recycled >= 5
    for dataset in world.datasets():
        stored.check_is(dataset, world.source, was[dataset.sequence])
    world.check()


def test_a_tree_that_differs_too_much_is_not_recycled(world):
    start(world)
    tree = until_there_is_a_spare(world) / "tree"
    inode = tree.stat().st_ino
    for path in sorted(world.source.rglob("*")):
        if path.is_file() and not path.is_symlink():
            path.write_bytes(b"all new")
    world.run()       # brings the spare forward by nothing, and then replaces everything in it
    assert world.newest().tree.stat().st_ino == inode
    inode = (spare(world) / "tree").stat().st_ino
    snapshot = world.snapshot()
    world.run()       # the spare is from before all that
    assert world.newest().tree.stat().st_ino != inode
    stored.check_is(world.newest(), world.source, snapshot)
    world.check()


def test_all_owners_changed_stores_nothing(world):
    start(world)
    inode = (until_there_is_a_spare(world) / "tree").stat().st_ino
    before = files(world.newest().under(world.source))
    subprocess.run(["chown", "-hR", "1234:1234", world.source], check=True)
    snapshot = world.snapshot()
    world.run()
    newest = world.newest()
    assert newest.tree.stat().st_ino == inode and newest.new_files == 0 and newest.new_bytes == 0
    assert files(newest.under(world.source)) == before
    stored.check_is(newest, world.source, snapshot)
    # The tree that is the spare now is from before that, and what it stores is the same.
    inode = (spare(world) / "tree").stat().st_ino
    world.run()
    assert world.newest().tree.stat().st_ino == inode and files(world.newest().under(world.source)) == before
    stored.check_is(world.newest(), world.source, snapshot)
    world.check()


def test_a_folder_that_is_gone_goes_by_one_rename(world):
    """Whatever is in it: the run that takes it out of the spare does not wait for that."""
    start(world)
    tree = until_there_is_a_spare(world) / "tree"
    inode = tree.stat().st_ino
    folder = next(path for path in sorted(world.source.iterdir()) if path.is_dir() and not path.is_symlink() and any(path.iterdir()))
    inside = files(tree / str(folder)[1:])
    assert inside
    shutil.rmtree(folder)
    world.run()
    newest = world.newest()
    assert newest.tree.stat().st_ino == inode and sorted(os.listdir(newest.folder)) == ["manifest", "tree"]
    stored.check_is(newest, world.source, world.snapshot())
    found, = [path for path in (world.repository / "a/.trash").glob("*/*") if path.is_dir() and files(path) == inside]
    done = world.syncropy("empty-trash")
    assert done.status == 0 and not found.exists(), done
    world.check()


def remove_a_file(tree):
    next(path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()).unlink()


def add_a_file(tree):
    (next(path for path in sorted(tree.rglob("*")) if path.is_dir()) / "surplus").write_text("surplus")


def remove_a_folder(tree):
    shutil.rmtree([path for path in sorted(tree.rglob("*")) if path.is_dir()][-1])


def swap_a_folder_for_a_link(tree):
    folder = [path for path in sorted(tree.rglob("*")) if path.is_dir()][-1]
    folder.rename(tree / "aside")
    folder.symlink_to(tree / "aside")


def empty_it(tree):
    for path in tree.iterdir():
        shutil.rmtree(path)


@pytest.mark.parametrize("harm", [remove_a_file, add_a_file, remove_a_folder, swap_a_folder_for_a_link, empty_it])
@pytest.mark.parametrize("changed", [False, True])
def test_a_spare_that_somebody_was_at_is_found_out(world, harm, changed):
    start(world)
    folder = until_there_is_a_spare(world)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    harm(folder / "tree")
    (world.source.parent / f"beside-{world.source.name}").mkdir()  # the folders above it change too
    if changed:
        for path in sorted(world.source.rglob("*"))[::3]:
            os.utime(path, ns=(0, 10**18), follow_symlinks=False)
    snapshot = world.snapshot()
    done = world.run()
    assert any("starts over with a new tree" in line for line in done.lines), done
    stored.check_is(world.newest(), world.source, snapshot)
    world.check()
    assert not any("starts over" in line for line in world.run().lines)
    world.check()


@pytest.mark.parametrize("harm", ["index gone", "index damaged", "segment gone", "tree gone", "manifest gone", "not a folder"])
def test_a_spare_that_cannot_be_read_is_none(world, harm):
    start(world)
    folder = until_there_is_a_spare(world)
    manifest = folder / "manifest"
    if harm == "index gone":
        (manifest / "index").unlink()
    elif harm == "index damaged":
        data = bytearray((manifest / "index").read_bytes())
        data[40] ^= 1
        (manifest / "index").chmod(0o600)
        (manifest / "index").write_bytes(data)
    elif harm == "segment gone":
        trees.write(world.source / "changed", b"so that the manifests differ")
        next(manifest.glob("*.zst")).unlink()
    elif harm == "tree gone":
        shutil.rmtree(folder / "tree")
    elif harm == "manifest gone":
        shutil.rmtree(manifest)
    else:
        shutil.rmtree(folder)
        folder.write_text("what is this?")
    snapshot = world.snapshot()
    world.run()
    stored.check_is(world.newest(), world.source, snapshot)
    world.check()
    world.run()
    world.check()


def test_the_trash_of_a_killed_run_is_emptied_by_the_next_ones(world):
    start(world)
    until_there_is_a_spare(world)
    trash = world.repository / "a/.trash"
    for number in range(3):
        shutil.copytree(world.source, trash / f"9{number}" / "tree", symlinks=True)
    subprocess.run(["chown", "-hR", f"--reference={world.repository}", trash], check=True)
    for _ in range(20):
        world.run()
        if not any(path.name.startswith("9") for path in trash.iterdir()):
            return
    assert False, "the trash stays"
