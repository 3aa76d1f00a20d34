"""syncropy init: whose a repository is that root makes."""

import os
import pwd

import pytest

import trees
from harness import SERVER

NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def unmade(world):
    """Where nothing has been made so far."""
    trees.small(world.source)
    world.client("a", world.agent().where)
    return world


def owners(folder):
    return {path.lstat().st_uid for path in [folder, *folder.rglob("*")]}


def by_root(world, *arguments, status=0):
    return world.syncropy("init", *arguments, user=(), status=status)


def test_a_folder_that_was_given_away_stays_its_owners(unmade):
    unmade.repository.mkdir()
    os.chown(unmade.repository, SERVER, SERVER)
    assert "for the user " in by_root(unmade).out
    assert owners(unmade.repository) == {SERVER}
    unmade.run()


def test_a_folder_of_roots_goes_to_whom_one_says(unmade):
    done = by_root(unmade, "--owner", "no-such-user", status=78)
    assert "there is no user 'no-such-user'" in done.err and not unmade.repository.exists()
    assert "for the user nobody" in by_root(unmade, "--owner", "nobody").out
    assert owners(unmade.repository) == {NOBODY}


def test_what_is_not_empty_is_not_given_away(unmade):
    unmade.repository.mkdir()
    (unmade.repository / "precious").write_text("root's")
    assert "is not empty" in by_root(unmade, "--owner", "nobody", status=73).err
    assert owners(unmade.repository) == {0}


def test_only_root_gives_away(unmade):
    assert "give away" in unmade.syncropy("init", "--owner", "nobody", status=73).err
