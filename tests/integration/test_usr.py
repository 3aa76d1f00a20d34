"""A real machine's /usr and /etc: what most people back up first, and want back."""

import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

import harness
import pytest

USR = "/usr"
ETC = "/etc"


@pytest.fixture
def roomy(world):
    """A world whose repository lies where there is room for a machine's programs."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="syncropy-test.", dir="/var/tmp"))
    os.chown(folder, harness.SERVER, harness.SERVER)
    world.repository = folder / "backups"
    world.settings["general"]["repository"] = str(world.repository)
    yield world
    shutil.rmtree(folder)


def test_usr_comes_over_whole_then_costs_what_changed_and_comes_back(roomy):
    world = roomy
    addition = world.folder / "addition"
    addition.mkdir()
    world.client("a", world.agent().where, path=[USR, ETC, str(addition)])
    world.init()
    world.run()
    first = world.newest()
    where = first.folder / "tree" / USR.lstrip("/")
    # What is no file, folder or link stands in the manifest alone; diff would miss it in the tree.
    special = [os.path.join(folder, name) for folder, _, names in os.walk(USR) for name in names
               if not stat.S_ISREG(mode := os.lstat(os.path.join(folder, name)).st_mode) and not stat.S_ISLNK(mode)]
    assert not special, f"this test expects none of these below {USR}: {special[:5]}"
    compared = subprocess.run(["diff", "-r", "--no-dereference", USR, where], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert compared.returncode == 0, compared.stdout[:2000]

    shutil.copy("/usr/bin/env", addition / "one")
    world.run()
    second = world.newest()
    assert second.new_files == 1 and second.new_bytes == (addition / "one").stat().st_size
    inodes = {}
    for dataset in (first, second):
        inodes[dataset.name] = {os.path.relpath(os.path.join(folder, name), dataset.folder): os.lstat(os.path.join(folder, name)).st_ino
                                for folder, _, names in os.walk(dataset.folder / "tree" / USR.lstrip("/")) for name in names}
    assert inodes[first.name] == inodes[second.name]
    comes_back(world)


def comes_back(world):
    target = world.repository.parent / "restored"
    done = world.syncropy("restore", "--local", target, "a", USR, ETC, user=())
    assert "not given back" not in done.err
    for folder in (USR, ETC):
        command = ["rsync", "-naHAXc", "--delete", "--itemize-changes", f"{folder}/", f"{target}{folder}/"]
        compared = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        assert (compared.returncode, compared.stdout) == (0, ""), compared.stdout[:2000]
