"""What a backup is worth: everything comes back, to any place, and nothing else is touched."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import threading
import time

import pytest

import harness
import trees
from harness import assert_one_line
from restoring import ROOT, assert_same, differences, featured, little, place, restore, shape, summary, under  # noqa: F401

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


# --- The ways back

def test_into_a_local_folder(featured, place):
    done = restore(featured, "--local", place, "a")
    assert_same(featured.before, under(place, featured))
    assert "created" in summary(done) and "failed" not in summary(done)


def test_to_the_client_below_a_target(featured, place):
    restore(featured, "--target", place, "a")
    assert_same(featured.before, under(place, featured))


def test_a_target_that_is_not_there_yet_is_made(featured, place):
    restore(featured, "--local", place / "new", "a")
    assert_same(featured.before, under(place / "new", featured))
    restore(featured, "--target", place / "two" / "levels", "a")
    assert_same(featured.before, under(place / "two" / "levels", featured))


def test_to_another_client(featured, place):
    other = featured.restore_worker({"restore_to": [str(place)]})
    featured.client("b", {**featured.settings["clients"]["a"], **other.place})
    try:
        restore(featured, "--to", "b", "--target", place, "a/hour")
    finally:
        del featured.settings["clients"]["b"]
    assert_same(featured.before, under(place, featured))


def test_from_a_folder_alone(featured, place):
    """No configuration, no catalog, no repository around it."""
    alone = featured.folder / "alone"
    shutil.copytree(featured.newest().folder, alone, symlinks=True)
    command = [featured.lab.program("syncropy"), "restore", "--from", alone, "--local", place]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"], "SYNCROPY_CONFIG_FOLDER": "/nonexistent"}, cwd="/")
    assert done.returncode == 0, done
    assert_same(featured.before, under(place, featured))
    shutil.rmtree(alone)


def test_into_the_original_place(little):
    before = little.snapshot()
    shutil.rmtree(little.source / "folder0")
    (little.source / "top").unlink()
    (little.source / "folder1/hard").unlink()
    trees.write(little.source / "folder2/mine", "not in any backup")
    kept = (little.source / "folder3").stat()
    dry = restore(little, "--dry-run", "a", little.source)
    assert f"create   d {little.source}/folder0\n" in dry.out
    done = restore(little, "a", little.source)
    assert "created" in summary(done)
    after = little.snapshot()
    assert after.pop(b"folder2/mine").digest == hashlib.sha256(b"not in any backup").digest()
    assert not differences(shape(before), shape(after))
    assert (little.source / "folder3").stat().st_ino == kept.st_ino


def test_paths_alone(featured, place):
    done = restore(featured, "--local", place, "a", featured.source / "links/first", featured.source / "third-of-first", featured.source / "modes")
    got = trees.scan(under(place, featured))
    assert set(got) == {b"", b"links", b"links/first", b"third-of-first", *(path for path in featured.before if path.startswith(b"modes"))}
    assert got[b"links/first"].inode == got[b"third-of-first"].inode
    assert got[b"modes/setuid"].mode == 0o4755
    # Folders on the way are made as they were, times and all.
    assert got[b"links"].mtime == featured.before[b"links"].mtime
    assert done.status == 0


def test_includes_and_excludes(featured, place):
    restore(featured, "--local", place, "--include", "setuid", "--include", "empty-folder", "a")
    assert {path for path in trees.scan(under(place, featured))} == {b"", b"modes", b"modes/setuid", b"empty-folder"}
    restore(featured, "--local", place / "x", "--exclude", "names", "--exclude", "deep/", "a")
    left = {path: node for path, node in featured.before.items() if path.split(b"/")[0] not in (b"names", b"deep")}
    assert_same(left, under(place / "x", featured))


def test_a_whole_file_of_five_gigabytes_of_nothing(lab):
    with harness.World(lab) as world:
        with open(world.source / "huge", "wb") as file:
            file.truncate(5 << 30)
            file.seek((3 << 30) + 12_345)
            file.write(b"data")
        world.client("a", world.agent().where)
        world.init().run()
        before = world.snapshot()
        target = world.folder / "target"
        restore(world, "--local", target, "a")
        assert_same(before, under(target, world))
        assert (under(target, world) / "huge").stat().st_blocks < 64


# --- What is there already

def test_fails_before_touching_anything(little):
    target = little.folder / "target"
    place = under(target, little)
    restore(little, "--local", target, "a")
    (place / "top").write_text("changed\n")
    (place / "folder0").rename(place / "moved")
    before = trees.scan(target)
    done = little.syncropy("restore", "--local", target, "a", user=ROOT, status=6)
    assert "conflict" in done.err and f"{little.source}/top" in done.err
    assert len([line for line in done.lines if "error" in line]) == 1 and "--existing" in done.err
    assert trees.scan(target) == before


@pytest.mark.parametrize("rule", ["skip", "replace", "newer"])
def test_rules_for_what_exists(little, rule):
    target = little.folder / "target"
    place = under(target, little)
    restore(little, "--local", target, "a")
    was = trees.scan(place)
    old, new = "folder0/sub0/file000", "folder1/sub1/file001"
    for path, content, age in ((old, b"older", -1000), (new, b"newer", 1000)):
        mtime = was[os.fsencode(path)].mtime + age * 10**9
        trees.write(place / path, content, mtime=mtime)
    (place / "folder2/sub2/file002").chmod(0o600)
    restore(little, "--local", target, f"--existing={rule}", "a")
    now = trees.scan(place)
    is_old = now[os.fsencode(old)].digest == was[os.fsencode(old)].digest
    is_new = now[os.fsencode(new)].digest == was[os.fsencode(new)].digest
    assert (is_old, is_new) == {"skip": (False, False), "replace": (True, True), "newer": (True, False)}[rule]
    if rule == "replace":
        assert_same(was, place)
        assert now[b"folder0/sub0/file000"].links == 1


def test_every_type_in_the_place_of_every_other(featured, place):
    """A file where a folder was, a link where a FIFO was, …: replaced, and never followed or written through."""
    restore(featured, "--local", place, "a")
    at = under(place, featured)
    outside = featured.folder / "outside"
    outside.mkdir()
    trees.write(outside / "sentinel", "untouched")
    sentinel = trees.scan(outside)
    (at / "plain").unlink()
    (at / "plain").symlink_to(outside / "sentinel")
    shutil.rmtree(at / "empty-folder")
    (at / "empty-folder").symlink_to(outside)
    (at / "links/relative").unlink()
    (at / "links/relative").mkdir()
    (at / "special/fifo").unlink()
    trees.write(at / "special/fifo", "a file")
    shutil.rmtree(at / "times/folder")
    trees.write(at / "times/folder", "no folder")
    shutil.rmtree(at / "names")
    os.mkfifo(at / "names")
    restore(featured, "--local", place, "--existing=replace", "a")
    assert_same(featured.before, at)
    assert trees.scan(outside) == sentinel
    # A folder with something in it gives way only to --delete.
    (at / "plain").unlink()
    trees.write(at / "plain/kept", "mine")
    done = restore(featured, "--local", place, "--existing=replace", "a", status=3)
    assert "/plain" in done.err and (at / "plain/kept").read_text() == "mine"
    restore(featured, "--local", place, "--existing=replace", "--delete", "a", featured.source)
    assert_same(featured.before, at)
    shutil.rmtree(outside)


def test_delete_makes_an_exact_copy(little):
    target = little.folder / "target"
    place = under(target, little)
    restore(little, "--local", target, "a")
    before = trees.scan(place)
    trees.write(place / "folder0/extra", "x")
    trees.write(place / "extra/deep/down", "x")
    trees.write(place / "keep.me", "protected")
    beside = trees.write(target / "beside", "not in a folder that is restored")
    dry = restore(little, "--local", target, "--dry-run", "--delete", "--exclude", "*.me", "a", little.source)
    assert f"{little.source}/extra\n" in dry.out and "keep.me" not in dry.out and (place / "extra").exists()
    restore(little, "--local", target, "--delete", "--exclude", "*.me", "a", little.source)
    assert beside.exists() and (place / "keep.me").exists()
    (place / "keep.me").unlink()
    os.utime(place, ns=(before[b""].mtime, before[b""].mtime))
    assert_same(before, place)


def test_delete_spares_what_was_never_backed_up(lab):
    """Beside the paths, what the configuration excludes, below what could not be read, and on other filesystems, nothing goes."""
    with harness.World(lab) as world:
        trees.write(world.source / "data/file", "x")
        trees.write(world.source / "data/thumbs.cache", "left out")
        (world.source / "data/mountpoint").mkdir()
        trees.write(world.source / "data/secret/inside", "x")
        (world.source / "data/secret").chmod(0)
        world.client("a", world.agent(caps=False).where, path=str(world.source / "data"), exclude=["*.cache"])
        world.init().run(status=3)
        target = world.folder / "target"
        restore(world, "--local", target, "a")
        at = under(target, world)
        (at / "data/secret").chmod(0o700)
        (at / "data/mountpoint").mkdir(exist_ok=True)
        world.mount("tmpfs", at / "data/mountpoint", "tmpfs")
        spared = [target / "beside", at / "beside/data", at / "data/mountpoint/other disk", at / "data/new.cache", at / "data/secret/theirs"]
        gone = [at / "data/extra", at / "data/more/extra"]
        for path in (*spared, *gone):
            trees.write(path, "x")
        restore(world, "--local", target, "--delete", "a")
        assert [path for path in spared if not path.exists()] == []
        assert [path for path in gone if path.exists()] == []


def test_dry_run_touches_nothing(featured, place):
    done = restore(featured, "--local", place / "new", "--dry-run", "a")
    assert not (place / "new").exists()
    created = [line for line in done.out.splitlines() if line.startswith("create ")]
    assert len(created) >= len(featured.before)
    restore(featured, "--local", place, "a")
    (under(place, featured) / "plain").write_text("other")
    (under(place, featured) / "empty").chmod(0o600)
    before = trees.scan(place)
    done = restore(featured, "--local", place, "--dry-run", "--existing=replace", "a")
    assert trees.scan(place) == before
    assert [line for line in done.out.splitlines() if not line.startswith("same ")] == [
        f"adjust   - {featured.source}/empty", f"replace  - {featured.source}/plain"]


def test_a_hard_link_of_others_is_not_written_through(little):
    """A file whose inode has a name elsewhere is replaced, not modified."""
    target = little.folder / "target"
    restore(little, "--local", target, "a")
    victim = trees.write(little.folder / "victim", b"", 0o600)
    name = next(path for path, node in trees.scan(little.source).items() if node.kind == stat.S_IFREG and node.size == 0)
    at = pathlib.Path(os.fsdecode(os.fsencode(under(target, little)) + b"/" + name))
    at.unlink()
    os.link(victim, at)
    before = victim.stat()
    restore(little, "--local", target, "--existing=replace", "a")
    assert (victim.stat().st_mode, victim.stat().st_mtime_ns, victim.stat().st_nlink) == (before.st_mode, before.st_mtime_ns, 1)
    assert_same(little.snapshot(), under(target, little))


# --- Whose it is

def test_owners_are_mapped(featured, place):
    owners = featured.source / "owners"
    restore(featured, "--local", place, "--map-owner", "nobody:4711", "--map-owner", "123456:daemon", "--map-group", "nogroup:4712", "a", owners)
    got = trees.scan(under(place, featured) / "owners")
    assert (got[b"nobody"].uid, got[b"nobody"].gid) == (4711, 4712)
    assert (got[b"number"].uid, got[b"number"].gid) == (1, 654_321)


def test_owners_go_by_name_unless_told_otherwise(featured, place):
    """The name counts where it exists: here the dataset says that number 65534 was called daemon."""
    folder = featured.folder / "renamed"
    other = harness.World(featured.lab)
    try:
        passwd = other.folder / "passwd"
        passwd.write_text("root:x:0:0::/:/bin/sh\ndaemon:x:65534:65534::/:/bin/sh\n")
        trees.write(other.source / "file", "x")
        os.chown(other.source / "file", 65534, 0)
        listener = other.listener()
        policy = {"idle_exit": 0, "plain": "loopback"}
        inside = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"', passwd]
        agent = other.keep(harness.Agent(other, policy, False, inside, listener))
        other.client("a", agent.where)
        other.init().run()
        restore(other, "--local", folder, "a")
        assert (under(folder, other) / "file").stat().st_uid == 1
        restore(other, "--local", folder, "--existing=replace", "--numeric", "a")
        assert (under(folder, other) / "file").stat().st_uid == 65534
    finally:
        other.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_an_ordinary_user_gets_what_that_user_may_set(featured, place):
    """The content and the modes, without owners and set-id bits; what is missing is counted, with a first example."""
    alone = featured.folder / "alone"
    shutil.copytree(featured.newest().folder, alone, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", alone], check=True)
    os.chown(place, 65534, 65534)
    featured.folder.chmod(0o755)
    done = featured.execute("syncropy", "restore", "--from", alone, "--local", place, user=NOBODY)
    assert done.status == 3, done
    for what in ("owner", "capabilities"):
        assert any("not given back" in line and what in line and "Operation not permitted" in line for line in done.lines), done
    os.chown(place, 0, 0)
    got, was = trees.scan(under(place, featured)), featured.before
    assert {path for path, node in got.items() if node.kind == stat.S_IFREG} == {path for path, node in was.items() if node.kind == stat.S_IFREG}
    for path, node in got.items():
        if node.kind == stat.S_IFREG:
            assert node.digest == was[path].digest and node.mtime == was[path].mtime
        assert node.uid == 65534
        assert node.mode & 0o777 == was[path].mode & 0o777 or node.kind == stat.S_IFLNK, path
    assert not got[b"modes/setuid"].mode & 0o4000
    assert got[b"attributes/xattrs"].xattrs["user.comment"] == b"what people write"
    shutil.rmtree(alone)


# --- Stopped and started again

def test_killed_and_run_again(lab):
    with harness.World(lab) as world:
        trees.small(world.source, files=6_000)
        world.client("a", world.agent().where)
        world.init().run()
        before = world.snapshot()
        stopped = 0
        for number in range(6):
            target = world.folder / f"target{number}"
            run = world.start("-c", world.configuration, "restore", "--local", target, "a", program="syncropy", user=ROOT)
            harness.wait_until(lambda: (under(target, world) / "folder0").exists() or not run.runs(), "it restores")
            time.sleep(0.02 * number)
            run.kill(signal.SIGKILL)
            stopped += run.wait() != 0
            for path, node in trees.scan(target).items():  # what is there under its name is whole
                name = path.removeprefix(os.fsencode(str(world.source))[1:] + b"/")
                if node.kind == stat.S_IFREG and b".syncropy-restore." not in path:
                    assert node.digest == before[name].digest and node.mode == before[name].mode and node.mtime == before[name].mtime
            restore(world, "--local", target, "a")
            assert_same(before, under(target, world))
            shutil.rmtree(target)
        assert stopped >= 3, "hardly a restore was still running when it was killed"


@contextlib.contextmanager
def locked(folder):
    """As another restore holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


def test_two_at_once_in_one_place(little):
    target = little.folder / "target"
    target.mkdir()
    with locked(target):
        done = little.execute("syncropy", "-c", little.configuration, "restore", "--local", target, "a", user=ROOT)
    assert_one_line(done, 75, "another restore", program="syncropy")
    assert not list(target.iterdir())


# --- What it says

def test_json_lines(little):
    target = little.folder / "target"
    done = restore(little, "--local", target, "--json", "a")
    lines = [json.loads(line) for line in done.out.splitlines()]
    last = lines.pop()
    assert last["summary"] is True and last["created"] + last["adjusted"] == len(lines) and last["failed"] == 0
    assert {line["path"] for line in lines if line["result"] != "created"} == {"/"}  # the target itself was there
    assert any(line["path"] == f"{little.source}/top" and line["type"] == "-" for line in lines)


@pytest.mark.parametrize("arguments, status, words", [
    ((), 2, ["dataset"]), (("nobody",), 66, []), (("a/year",), 2, ["hour, day, week, month"]), (("a", "/no/such/path"), 66, ["nearest folder"]),
    (("a@2001-01-01",), 66, ["a/hour/"]), (("--local", "/x", "--to", "a", "a"), 2, ["--local"]), (("--target", "relative", "a"), 2, ["absolute"]),
    (("--to", "z", "a"), 2, ["no client"]), (("--map-owner", "one", "a"), 2, ["OLD:NEW"]), (("--delete", "--include", "x", "a"), 2, ["--include"]),
    (("--from", "/etc", "--local", "/tmp/nowhere"), 66, ["tree"]), (("--local", "/no/such/folder/at/all", "a"), 66, ["/no/such/folder/at"]),
    (("--local", "/dev/null", "a"), 66, ["/dev/null"]), (("--include", "/", "--local", "/tmp/nowhere", "a"), 78, ["pattern"])])
def test_wrong_command_lines(little, arguments, status, words):
    done = little.execute("syncropy", "-c", little.configuration, "restore", *arguments, user=ROOT)
    assert_one_line(done, status, *words, program="syncropy")


def test_a_wrong_rule_is_named(little):
    done = little.execute("syncropy", "-c", little.configuration, "restore", "--existing=maybe", "a", user=ROOT)
    assert done.status == 2 and "maybe" in done.err
