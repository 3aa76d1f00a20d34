"""Restores of what is damaged, into what is full or poor, before those who would do harm."""

import os
import pathlib
import shutil
import stat
import subprocess
import threading

import harness
import trees
from harness import assert_one_line
from restoring import ROOT, assert_same, featured, little, place, restore, under  # noqa: F401


# --- Damage

def stored_file(world, path):
    return pathlib.Path(str(world.newest().tree) + str(world.source)) / path


def test_missing_and_corrupt_content_is_named_and_the_rest_restored(little):
    before = little.snapshot()
    victims = [path for path, node in before.items() if node.kind == stat.S_IFREG and node.size >= 1_000 and node.links == 1][:2]
    missing, corrupt = (os.fsdecode(path) for path in victims)
    stored_file(little, missing).unlink()
    file = stored_file(little, corrupt)
    kept = file.stat()
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)
    file.chmod(0o400)
    os.utime(file, ns=(kept.st_mtime_ns, kept.st_mtime_ns))
    target = little.folder / "target"
    done = restore(little, "--local", target, "a", status=65)
    lines = [line for line in done.lines if line.startswith("failed")]
    assert len(lines) == 2 and any(missing in line and "gone" in line for line in lines) and any(corrupt in line and "not what was backed up" in line for line in lines)
    for path in victims:
        del before[path]
    assert_same(before, under(target, little))


def test_a_manifest_that_was_tampered_with(little):
    segment = next((little.newest().folder / "manifest").glob("*.zst"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(content)
    target = little.folder / "target"
    done = little.execute("syncropy", "-c", little.configuration, "restore", "--local", target, "a", user=ROOT)
    assert_one_line(done, 65, "manifest", program="syncropy")


def test_a_full_disk(little):
    trees.write(little.source / "large", trees.filler(3 << 20, 9))
    little.run()
    target = little.folder / "target"
    target.mkdir()
    little.mount("tmpfs", target, "-o", "size=1m", "tmpfs")
    done = little.execute("syncropy", "-c", little.configuration, "restore", "--local", target, "a", user=ROOT)
    assert_one_line(done, 74, "No space left", "again", program="syncropy")
    assert not [path for path in trees.scan(target) if b".syncropy-restore." in path]
    assert b"large" not in {path.split(b"/")[-1] for path in trees.scan(target)}


def test_a_filesystem_without_attributes(featured):
    """No ACLs, no extended attributes: what could not be done is told, everything else is there."""
    target = featured.folder / "bare"
    target.mkdir()
    featured.mount("ramfs", target, "ramfs")
    attributes = featured.source / "attributes"
    done = restore(featured, "--local", target, "a", attributes, status=3)
    told = "\n".join(line for line in done.lines if "not given back" in line)
    for what in ("access ACL", "default ACL", "attribute user.comment", "capabilities"):
        assert what in told, done
    got = trees.scan(under(target, featured) / "attributes")
    assert got[b"ping"].mode == 0o755 and got[b"xattrs"].digest == featured.before[b"attributes/xattrs"].digest


def test_a_filesystem_without_hard_links(featured, place):
    """Names of an inode become copies, and that is told. (vfat cannot be mounted everywhere: its answer is injected.)"""
    command = ["strace", "-f", "-o", place.parent / "strace.log", "-e", "trace=linkat", "-e", "inject=linkat:error=EPERM", featured.lab.program("syncropy")]
    paths = [featured.source / name for name in ("links/first", "links/second", "third-of-first")]
    done = subprocess.run([*command, "-c", featured.configuration, "restore", "--local", place, "a", *paths], capture_output=True, text=True, env=featured.environment)
    assert "(INJECTED)" in (place.parent / "strace.log").read_text()
    assert done.returncode == 3 and "not given back: hard link of 2 entries" in done.stderr, done
    got = trees.scan(under(place, featured))
    for path in (b"links/first", b"links/second", b"third-of-first"):
        assert got[path].digest == featured.before[path].digest and got[path].mtime == featured.before[path].mtime and got[path].links == 1


# --- Those who would do harm

def test_links_planted_at_any_depth(featured, place):
    """A local user owns a folder in the target and puts links where folders belong."""
    outside = featured.folder / "sentinels"
    outside.mkdir()
    trees.write(outside / "modes/setuid", "untouched")
    sentinel = trees.scan(outside)
    at = under(place, featured)
    at.mkdir(parents=True)
    (at / "modes").symlink_to(outside / "modes")
    (at / "deep").symlink_to(outside)
    (at / "names").symlink_to("..")
    done = featured.syncropy("restore", "--local", place, "a", user=ROOT, status=6)
    assert "/modes" in done.err
    restore(featured, "--local", place, "--existing=skip", "a")
    assert trees.scan(outside) == sentinel
    restore(featured, "--local", place, "--existing=replace", "a")
    assert trees.scan(outside) == sentinel
    assert_same(featured.before, at)
    # On the way to what is restored, a link is no folder, whatever the rule.
    other = featured.folder / "other"
    other.mkdir()
    first = str(featured.source)[1:].split("/")[0]
    (other / first).symlink_to(outside)
    done = restore(featured, "--local", other, "--existing=replace", "a", featured.source / "plain", status=3)
    assert trees.scan(outside) == sentinel
    shutil.rmtree(other)
    shutil.rmtree(outside)


def test_folders_swapped_for_links_while_it_runs(lab):
    with harness.World(lab) as world:
        trees.small(world.source, files=3_000)
        world.client("a", world.agent().where)
        world.init().run()
        outside = world.folder / "outside"
        outside.mkdir()
        for sub in range(3):
            (outside / f"sub{sub}").mkdir()
        trees.write(outside / "sentinel", "untouched")
        sentinel = trees.scan(outside)
        target = world.folder / "target"
        restore(world, "--local", target, "a")
        at = under(target, world)
        ended, swaps = threading.Event(), [0]

        def swap():
            while not ended.is_set():
                for number in range(4):
                    folder, aside = at / f"folder{number}", at / f"aside{number}"
                    try:
                        folder.rename(aside)
                        folder.symlink_to(outside)
                        swaps[0] += 1
                        folder.unlink()
                        aside.rename(folder)
                    except OSError:
                        pass  # the restore was there first

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for _ in range(15):
                try:
                    for path in at.glob("folder*/sub*/file00*"):
                        path.unlink()
                except OSError:
                    pass  # swapped meanwhile
                world.execute("syncropy", "-c", world.configuration, "restore", "--local", target, "--existing=replace", "--delete", "a", world.source, user=ROOT)
        finally:
            ended.set()
            thread.join()
        assert swaps[0] > 100
        assert trees.scan(outside) == sentinel


def test_a_worker_does_what_its_policy_says(little):
    inside, beside = little.folder / "inside", little.folder / "beside"
    inside.mkdir()
    worker = little.restore_worker({"restore_to": [str(inside)], "deny": [str(inside) + str(little.source) + "/folder0"]})
    little.settings["clients"]["a"] |= worker.place
    done = little.execute("syncropy", "-c", little.configuration, "restore", "--target", beside, "a", user=ROOT)
    assert_one_line(done, 77, "policy", "restore_to", program="syncropy")
    assert not beside.exists()
    done = restore(little, "--target", inside, "a", status=3)
    assert "policy forbids" in done.err
    got = {path.split(b"/")[0] for path in trees.scan(under(inside, little))}
    assert b"folder1" in got and b"folder0" not in got
    # The folders above what is allowed are entered, and stay as they are.
    modes = [(path, path.stat().st_mtime_ns) for path in (little.folder, inside.parent)]
    done = restore(little, "a", little.source, status=3)
    assert "policy forbids" in done.err
    assert modes == [(path, path.stat().st_mtime_ns) for path in (little.folder, inside.parent)]


def test_the_agent_that_reads_cannot_restore(little):
    agent = little.agent()
    little.settings["clients"]["a"] |= {"restore_host": agent.where["host"], "restore_port": agent.where["port"]}
    done = little.execute("syncropy", "-c", little.configuration, "restore", "--target", little.folder / "x", "a", user=ROOT)
    assert_one_line(done, 77, "syncropy-restore.socket", program="syncropy")


def test_a_worker_refuses_to_back_up(little):
    worker = little.restore_worker()
    little.settings["clients"]["a"] |= {"port": worker.where["port"]}
    done = little.server("-H")
    assert_one_line(done, 77, "syncropy-agent.socket")


def test_a_policy_that_does_not_accept(little):
    little.settings["clients"]["a"] |= little.restore_worker({"restore": "refuse"}).place
    done = little.execute("syncropy", "-c", little.configuration, "restore", "--target", little.folder / "x", "a", user=ROOT)
    assert_one_line(done, 77, "restore: accept", program="syncropy")
    assert not (little.folder / "x").exists()


def test_nobody_answers(little):
    little.settings["clients"]["a"]["restore_port"] = 1
    done = little.execute("syncropy", "-c", little.configuration, "restore", "a", user=ROOT)
    assert_one_line(done, 69, program="syncropy")
