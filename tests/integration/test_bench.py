"""The benchmark itself, small: it must not rot between the days on which somebody measures."""

import json
import os
import pathlib
import subprocess
import tempfile
import xml.etree.ElementTree

import pytest

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench/run"
# At rest for less than two seconds nothing is "unchanged": the figures of this call mean nothing, what it does is the same.
SMALL = ["--files", "2000", "--runs", "1", "--corpora", "small", "--peers", "rsync", "--settling", "0"]
ROWS = {"first", "spareless", "unchanged", "changed", "chowned", "renamed", "restore", "restore-local", "remove", "clean"}


@pytest.fixture
def ground():
    """The server, an ordinary user, must reach it, and pytest's own folders are closed to everybody else."""
    with tempfile.TemporaryDirectory(prefix="syncropy-test.", dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


def test_every_row_of_both_is_measured_and_shown(tmp_path, ground):
    build = os.environ["SYNCROPY_BUILD"]
    done = subprocess.run([BENCH, *SMALL, "--build", build, "--folder", ground, "--json", tmp_path / "figures.json", "--svg",
                           tmp_path / "figures.svg"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    small = json.loads((tmp_path / "figures.json").read_text())["corpora"]["small"]
    assert small["files"] == 2000 and small["failures"] == {}
    assert ROWS | {"catalog growth"} == set(small["tools"]["syncropy"])
    assert ROWS - {"clean"} == set(small["tools"]["rsync"])
    assert set(small["tools"]["syncropy-firebird"]) == {"first"} and set(small["tools"]["find -printf"]) == {"unchanged"}
    first = small["tools"]["syncropy"]["first"][0]
    assert first["wire"] > small["bytes"] and first["disk"] > small["bytes"] and first["inodes"] > 2000
    assert 0 < first["cpu_client"] < first["seconds"] * os.cpu_count() and first["peak_server"] > 1 << 20 and first["peak_client"] > 1 << 20
    assert small["tools"]["syncropy"]["renamed"][0]["wire"] < small["bytes"] / 4, "what was renamed went over the wire"
    assert "first run, networked Firebird to embedded" in done.stdout
    assert xml.etree.ElementTree.parse(tmp_path / "figures.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert list(ground.iterdir()) == [], "it left something behind"

    again = subprocess.run([BENCH, "--render", tmp_path / "figures.json"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    shown, bars = done.stdout.index("first run"), done.stdout.index("== bars")
    assert again.stdout[again.stdout.index("first run"):][:400] == done.stdout[shown:][:400]
    assert again.stdout[again.stdout.index("== bars"):] == done.stdout[bars:]
