"""One file of a dataset to standard output, or one clear line."""

import os
import pathlib
import shutil
import subprocess

import pytest

import harness
import trees
from harness import assert_one_line
from test_export import spoil, stored_file


def cat(world, *arguments, **options):
    words = [*map(str, (*harness.AS_SERVER, world.lab.program("syncropy"), "-c", world.configuration, "cat", *arguments))]
    return subprocess.run(words, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": world.environment, "cwd": world.folder, **options})


def ended(done):
    return harness.Ended(done.returncode, "", done.stderr.decode(), 0)


@pytest.fixture(scope="module")
def featured(lab):
    with harness.World(lab) as world:
        trees.features(world.source)
        world.client("a", world.agent().where)
        world.init().run()
        yield world


@pytest.mark.parametrize("path", ["plain", "empty", "large", "sparse", "one-hole", "secret/unreadable", "links/second", os.fsdecode(b"names/" + trees.NEWLINE),
                                  os.fsdecode(b"names/" + trees.LATIN1)])
def test_bytes_are_those_of_the_source(featured, path):
    done = cat(featured, "a", featured.source / path)
    assert done.returncode == 0 and not done.stderr, done
    assert done.stdout == (featured.source / path).read_bytes()


@pytest.mark.parametrize("path, status, words", [
    ("links/relative", 2, ["a symbolic link to ../plain"]), ("links", 2, ["a folder", "syncropy ls"]), ("special/fifo", 2, ["a FIFO"]), ("special/socket", 2, ["a socket"]),
    ("links/nothing", 66, ["nearest"]), ("links/to-folder/setuid", 66, ["/links/to-folder"])])
def test_what_has_no_content(featured, path, status, words):
    done = cat(featured, "a", featured.source / path)
    assert_one_line(ended(done), status, *words, program="syncropy")
    assert not done.stdout


@pytest.mark.parametrize("arguments, words", [((), ["dataset"]), (("a",), ["one path"]), (("a", "/x", "/y"), ["one path"])])
def test_wrong_command_lines(featured, arguments, words):
    assert_one_line(ended(cat(featured, *arguments)), 2, *words, program="syncropy")


def test_from_a_folder_alone(featured):
    alone = featured.folder / "alone"
    shutil.copytree(featured.newest().folder, alone, symlinks=True)
    words = [str(featured.lab.program("syncropy")), "cat", "--from", str(alone), str(featured.source / "plain")]
    done = subprocess.run(words, capture_output=True, env={"PATH": os.environ["PATH"], "SYNCROPY_CONFIG_FOLDER": "/nonexistent"}, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"content\n", b"")


def test_damage(lab):
    with harness.World(lab) as world:
        for name in ("corrupt", "missing", "short"):
            trees.write(world.source / name, trees.filler(100_000))
        trees.write(world.source / "huge", trees.filler((64 << 20) + 1))
        world.client("a", world.agent().where)
        world.init().run()
        assert cat(world, "a", world.source / "huge").stdout == (world.source / "huge").read_bytes()
        stored_file(world, "missing").unlink()
        os.truncate(stored_file(world, "short"), 5)
        spoil(stored_file(world, "corrupt"))
        spoil(stored_file(world, "huge"))
        for name, word in (("corrupt", "nothing was printed"), ("missing", "missing"), ("short", "size")):
            done = cat(world, "a", world.source / name)
            assert_one_line(ended(done), 65, word, program="syncropy")
            assert not done.stdout
        done = cat(world, "a", world.source / "huge")
        assert_one_line(ended(done), 65, "so is what was printed", program="syncropy")
        assert len(done.stdout) == (64 << 20) + 1


def test_the_reader_ends_early(featured):
    words = [*map(str, (*harness.AS_SERVER, featured.lab.program("syncropy"), "-c", featured.configuration, "cat", "a", featured.source / "sparse"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=featured.environment) as sent:
        sent.stdout.read(10)
        sent.stdout.close()
        words = sent.stderr.read().decode()
    assert_one_line(harness.Ended(sent.returncode, "", words, 0), 74, "standard output was closed", program="syncropy")
