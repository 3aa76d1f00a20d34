"""The machine stops: what the disk has not got is gone. Published datasets are whole, and the catalog says what they say."""

import random
import subprocess

import pytest

import cuts
import trees
from disks import KINDS

SEED = random.SystemRandom().randrange(1_000_000)
CUTS = 10


@pytest.mark.parametrize("kind", KINDS)
def test_power_is_cut_at_random_moments(lab, kind):
    """A share of `tests/fault/run cuts`."""
    try:
        print(f"seed {SEED}: {dict(cuts.at_random_moments(lab, kind, CUTS, SEED))}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"NOT RUN: no {kind} can be made and mounted here: {error.stderr}")


def test_a_catalog_that_was_being_written_is_not_believed(world):
    """It is made anew by the next run; until then list says so, and rebuild-catalog does it too."""
    trees.small(world.source)
    world.client("a", world.agent().where)
    world.init()
    for _ in range(3):
        world.run()
    mark = world.repository / ".syncropy/catalog.fdb.unsynced"
    assert mark.read_bytes() == b""
    mark.write_text("0123456789abcdef" * 2 + "\n")
    assert [row["recorded"] for row in world.list()] != [True, True, True]
    assert "not believed" in world.syncropy("sql", "SELECT COUNT(*) FROM datasets", status=66).err
    done = world.run()
    assert any("made anew from the manifests" in line for line in done.lines)
    world.check()
    mark.write_text("0123456789abcdef" * 2 + "\n")
    world.syncropy("rebuild-catalog")
    assert mark.read_bytes() == b""
    world.check()
    assert not any("made anew" in line for line in world.run().lines)
