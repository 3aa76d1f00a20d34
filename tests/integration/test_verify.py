"""`syncropy verify`: what is damaged is found, named with every dataset that shares it, and never linked again."""

import json
import os
import shutil
import stat
import subprocess

import pytest

import harness
import stored
import trees
from harness import assert_one_line
from rot import flip, quietly

MiB = 1 << 20


def start(world, **keep):
    trees.small(world.source)
    trees.write(world.source / "victim", trees.filler(10_000, 99))
    world.client("a", world.agent().where)
    world.settings["dataset"].update(keep)
    return world.init()


def verify(world, *arguments, status=0):
    """The objects of --json: damage, and the summary of each client."""
    done = world.syncropy("verify", "--json", *arguments, status=status)
    rows = [json.loads(line) for line in done.out.splitlines()]
    return [row for row in rows if "summary" not in row], [row["summary"] for row in rows if "summary" in row]


def found(world, *arguments):
    """(problem, path below the source, number of datasets) of all damage that verify finds."""
    damage, _ = verify(world, *arguments, status=65)
    return sorted((row["problem"], row["path"].removeprefix(str(world.source)), len(row["datasets"])) for row in damage if row["problem"] != "manifest")


def inodes(world):
    """The regular files of all trees, each once, with their sizes."""
    return {node.inode: node.size for dataset in world.datasets() for node in trees.scan(dataset.tree).values() if stat.S_ISREG(node.kind)}


def test_all_is_well_and_each_file_is_read_once(lab):
    with harness.World(lab) as world:
        trees.features(world.source)
        trees.chain(world.source / "chain", 300, "f" * 50)
        world.client("a", world.agent().where)
        world.client("b", world.agent().where)
        world.init()
        world.run()
        for number in range(3):
            trees.write(world.source / f"new{number}", f"new {number}")
            os.link(world.source / f"new{number}", world.source / f"links/new{number}")
            os.truncate(world.source / "large", MiB + number)
            world.run("day" if number else "week")
        damage, summaries = verify(world)
        assert not damage and [row["client"] for row in summaries] == ["a", "b"]
        summary, files = summaries[0], inodes(world)
        assert (summary["datasets"], summary["expired"], summary["split"]) == (4, 0, 0)
        assert summary["files"] == len(files), "not each stored file once"
        sparse = sum(os.stat(world.newest().under(world.source) / name).st_size for name in ("sparse", "one-hole"))
        assert sum(files.values()) - sparse <= summary["bytes"] <= sum(files.values())
        assert summary["names"] == sum(len(trees.scan(dataset.tree)) for dataset in world.datasets())
        # What a person reads.
        done = world.syncropy("verify", "a")
        assert "\na: in order: 4 datasets" in done.out and done.out.startswith("catalog: in order: ") and not done.err
        # Fewer datasets: the same files are in one of them.
        assert verify(world, "a/week")[1][0]["datasets"] == 1
        assert verify(world, "a@" + world.datasets()[0].name)[1][0]["datasets"] == 1


def test_what_was_renamed_on_the_client(world):
    """It is one stored file with names at several paths of several datasets: damage is named at each of them."""
    start(world)
    for number in range(8_000):
        trees.write(world.source / f"a/{number // 10:03}/{number}", f"content {number}")
    world.run()
    (world.source / "a").rename(world.source / "z")
    world.run("day")
    world.run("week")
    _, summaries = verify(world)
    files = inodes(world)
    # Two threads may meet the two names of a file at the same time.
    assert len(files) <= summaries[0]["files"] <= len(files) * 1.3
    flip(world.newest().under(world.source) / "z/070/700", 9)
    shared = os.stat(world.datasets()[0].under(world.source) / "a/070/700").st_ino == os.stat(world.newest().under(world.source) / "z/070/700").st_ino
    assert found(world) == ([("content", "/a/070/700", 1)] if shared else []) + [("content", "/z/070/700", 2)]
    world.run()
    stored.check_whole(world.newest(), harness.SERVER)
    assert not verify(world, f"a/hour/{world.newest().name}")[0]


def test_damage_that_is_shared(world):
    """It is found from any dataset, named in all, not linked again, and gone from the next run on."""
    start(world)
    os.link(world.source / "victim", world.source / "folder0/other-name")
    world.run()
    trees.write(world.source / "new", "new")
    world.run("day")
    world.run()
    flip(world.newest().under(world.source) / "victim", 33_333)
    datasets = [f"{dataset.tier}/{dataset.name}" for dataset in world.datasets()]
    damage, _ = verify(world, "a/day", status=65)
    assert [(row["path"].removeprefix(str(world.source)), row["problem"], row["datasets"]) for row in damage] == [
        ("/folder0/other-name", "content", datasets), ("/victim", "content", datasets)]
    assert {row["inode"] for row in damage} == {os.stat(world.newest().under(world.source) / "victim").st_ino}

    # Who looks is told.
    assert [row["damaged"] for row in world.list()] == [2, 2, 2]
    assert world.syncropy("list").out.count("complete, 2 damaged") == 3
    assert world.syncropy("ls", "a", world.source / "victim").out.rstrip().endswith("victim  (damaged: does not hold what was backed up)")
    assert_one_line(world.syncropy("cat", "a", world.source / "victim", status=65), 65, "victim", "is not what was backed up", program="syncropy")
    done = world.syncropy("restore", "--local", world.store / "back", "a", world.source / "victim", status=65)
    assert "victim" in done.err and "is not what was backed up" in done.err

    expected = world.snapshot()
    done = world.run()
    assert "1 new files" in done.err, "not fetched once for both of its names"
    stored.check_is(world.newest(), world.source, expected)
    stored.check_whole(world.newest(), harness.SERVER)
    assert [row["damaged"] for row in world.list()] == [2, 2, 2, 0]
    assert found(world) == [("content", "/folder0/other-name", 3), ("content", "/victim", 3)]
    assert not verify(world, f"a/hour/{world.newest().name}")[0]
    # What was fetched is linked as ever.
    world.run()
    first, second = (os.stat(dataset.under(world.source) / "victim").st_ino for dataset in world.datasets()[-2:])
    assert first == second


def test_the_damaged_expire(world):
    """An expired tree with damage is not made into the next one; with the datasets goes what was noted."""
    start(world, hour=2)
    world.run()
    trees.write(world.source / "new", "new")
    world.run()
    flip(world.newest().under(world.source) / "victim", 1)
    found(world)
    for _ in range(4):
        world.run()
        stored.check_whole(world.newest(), harness.SERVER)
        assert sorted(os.listdir(world.newest().folder)) == ["manifest", "tree"]
    assert [row["damaged"] for row in world.list()] == [0, 0]
    assert not verify(world)[0]
    world.check()


def test_a_spare_that_shares_the_damage(world):
    """It expired before the damage was found, and its files would be those of the next dataset."""
    start(world, hour=1)
    world.run()
    trees.write(world.source / "new", "new")
    world.run()
    assert len(list((world.repository / "a/.spare").iterdir())) == 1
    flip(world.newest().under(world.source) / "victim", 1)
    assert found(world) == [("content", "/victim", 1)]
    expected = world.snapshot()
    world.run()
    stored.check_is(world.newest(), world.source, expected)
    assert not verify(world)[0]


def structural(world):
    """Everything that can be wrong with a name, done to the newest dataset."""
    tree = world.newest().under(world.source)
    folder = tree / "folder0/sub0"
    gone, other, *_ = sorted(folder.iterdir())
    quietly(folder, gone.unlink)
    quietly(folder, lambda: trees.write(folder / "too many", "x", 0o400))
    st = other.stat()
    os.truncate(other, st.st_size + 1)
    os.utime(other, ns=(st.st_mtime_ns, st.st_mtime_ns))
    link = tree / "folder0/link"
    when = link.lstat().st_mtime_ns

    def point_elsewhere():
        link.unlink()
        link.symlink_to("../to1")
        os.utime(link, ns=(when, when), follow_symlinks=False)

    quietly(tree / "folder0", point_elsewhere)
    os.utime(tree / "top", ns=(0, 0))
    (tree / "victim").chmod(0o600)

    def file_for_folder():
        shutil.rmtree(tree / "folder2/sub1")
        (tree / "folder2/sub1").write_bytes(b"")

    quietly(tree / "folder2", file_for_folder)
    quietly(tree / "folder3", lambda: shutil.rmtree(tree / "folder3/sub2"))
    (tree / "folder3/sub0").chmod(0o755)
    return [("missing", f"/folder0/sub0/{gone.name}"), ("missing", "/folder3/sub2"), ("mode", "/folder3/sub0"), ("mode", "/victim"),
            ("size", f"/folder0/sub0/{other.name}"), ("target", "/folder0/link"), ("time", "/folder1/hard"), ("time", "/top"), ("type", "/folder2/sub1"),
            ("unexpected", "/folder0/sub0/too many")]


def test_what_can_be_wrong_with_a_name(world):
    start(world).run()
    wrong = structural(world)
    assert [(problem, path) for problem, path, _ in found(world)] == wrong
    assert [row["damaged"] for row in world.list()] == [len(wrong)]
    # The next run makes all of it anew, and what it finds in order it links.
    expected = world.snapshot()
    world.run()
    stored.check_is(world.newest(), world.source, expected)
    stored.check_whole(world.newest(), harness.SERVER)
    world.run()
    stored.check_whole(world.newest(), harness.SERVER)
    # A sample, whichever part it looks at, says what is noted already.
    assert [(problem, path) for problem, path, _ in found(world, "--sample", "1%")] == wrong


def test_what_was_repaired_is_no_longer_noted(world):
    start(world).run()
    victim = world.newest().under(world.source) / "victim"
    flip(victim, 7)
    extra = world.newest().tree / "extra"
    quietly(world.newest().tree, extra.mkdir)
    assert len(found(world)) == 2
    flip(victim, 7)
    quietly(world.newest().tree, extra.rmdir)
    # The root of a tree has no time of its own worth keeping; whichever part a sample reads, what is noted is looked at again.
    damage, _ = verify(world, "--sample", "0.01%")
    assert not damage and world.list()[0]["damaged"] == 0
    assert sorted(os.listdir(world.newest().folder)) == ["manifest", "tree"]


def test_a_note_that_is_damaged_counts_as_one_for_everything(world):
    start(world).run()
    flip(world.newest().under(world.source) / "victim", 7)
    found(world)
    flip(world.newest().folder / "damaged", 200)
    assert world.list()[0]["damaged"] == world.newest().entries_count
    expected, files = world.snapshot(), world.newest().files
    assert world.newest().entries()
    world.run()
    assert world.newest().new_files == files - 1, "a damaged list let something be linked"  # two names are one file
    stored.check_is(world.newest(), world.source, expected)


def test_manifests(world):
    start(world)
    for number in range(1_500):
        trees.write(world.source / f"many/{number // 100:02}/{number}", b"x")
    world.run()
    world.run("day")
    trees.write(world.source / "new", "new")
    world.run()
    hour, day, newest = world.datasets()
    segment = next((hour.folder / "manifest").glob("*.zst"))
    index = day.folder / "manifest/index"
    index.chmod(0o600)
    flip(index, 300)
    flip(segment, 8 * segment.stat().st_size - 100)
    (newest.folder / "manifest/more").write_text("?")
    damage, _ = verify(world, status=65)
    assert all(row["problem"] == "manifest" for row in damage)
    assert {row["dataset"] for row in damage} == {f"{dataset.tier}/{dataset.name}" for dataset in (hour, day, newest)}
    assert not any("day/" in row["why"] for row in damage if row["dataset"].startswith("hour"))
    assert verify(world, f"a/day/{day.name}", status=65)[0], "one with a damaged index cannot be named"


def test_a_sample_goes_round(world):
    """Of 5 %, twenty calls look at everything, and at everything once."""
    start(world)
    for number in range(400):
        trees.write(world.source / f"more/{number:03}/file", f"content {number}")
    with open(world.source / "huge1", "wb") as file:
        file.truncate(64 * MiB)
    with open(world.source / "huge2", "wb") as file:
        file.truncate(70 * MiB)
    world.run()
    world.run("day")
    files = [verify(world, "--sample", "5%")[1][0]["files"] for _ in range(20)]
    total = len(inodes(world))
    assert sum(files) in (total, total + 1), files  # one has names in two folders
    assert max(files) < total / 4 and files.count(0) < 5
    # A new round; a damaged file is met in the course of it.
    flip(world.newest().under(world.source) / "more/123/file", 5)
    hits = [round for round in range(4) if world.execute("syncropy", "-c", world.configuration, "verify", "--sample", "25", "a").status == 65]
    assert hits and hits[0] < 4 and hits == list(range(hits[0], 4)), hits
    # What keeps the place says where the next one begins, and may be lost.
    (world.repository / "a/.verified").write_text("nonsense")
    verify(world, "--sample", "100%", status=65)


def test_it_holds_off_expiry_no_longer_than_it_must(world):
    """While backups run and datasets expire, nothing is found that is not there."""
    start(world, hour=1, day=1)
    for number in range(3_000):
        trees.write(world.source / f"many/{number // 50:02}/{number}", b"x" * 500)
    world.run()
    rounds = []
    for _ in range(4):
        watch = harness.in_background(lambda: [verify(world, "--idle") for _ in range(4)])
        for number in range(3):
            trees.write(world.source / f"many/00/{number}", os.urandom(100))
            world.run("hour" if number else "day")
        for damage, summary in watch():
            assert not damage
            rounds.append(summary[0])
    assert len(rounds) == 16
    world.run()
    world.check()


def test_damage_is_noted_in_what_a_run_publishes_meanwhile(world):
    """Verify waits for the run, and looks at its dataset too."""
    start(world)
    world.run()
    flip(world.newest().under(world.source) / "victim", 77)
    with subprocess.Popen(["flock", world.repository / "a", "sh", "-c", "echo locked; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        # As a run would: a dataset that links what is damaged appears while verify waits.
        check = world.start("-c", world.configuration, "verify", "--json", program="syncropy")
        harness.wait_until(lambda: "victim" in check.text(), "the damage is found")
        assert check.runs()
        holder.stdin.close()
        holder.wait()
    assert check.wait() == 65
    assert world.list()[0]["damaged"] == 1


def test_where_nothing_can_be_noted(world):
    start(world).run()
    flip(world.newest().under(world.source) / "victim", 3)
    world.newest().folder.chmod(0o500)
    done = world.syncropy("verify", status=65)
    assert "could not be noted" in done.err and "victim" in done.out
    world.newest().folder.chmod(0o700)
    verify(world, status=65)
    assert world.list()[0]["damaged"] == 1


@pytest.mark.parametrize("arguments, status, words", [
    (["nobody"], 66, ["nobody"]),
    (["a/year"], 2, ["year", "hour, day, week, month"]),
    (["a/hour/2000-01-01T000000Z"], 66, ["2000-01-01T000000Z"]),
    (["a@never"], 2, ["never"]),
    (["--sample", "0%"], 2, ["0%", "5%"]),
    (["--sample", "101"], 2, ["101"]),
    (["--sample", "x%"], 2, ["x%"]),
    (["--sample", "5%", "a/hour"], 2, ["sample", "client"]),
    (["\x1b[31m"], 2, ["\\x1b"]),
])
def test_bad_input(world, arguments, status, words):
    start(world).run()
    assert_one_line(world.syncropy("verify", *arguments, status=status), status, *words, program="syncropy")
