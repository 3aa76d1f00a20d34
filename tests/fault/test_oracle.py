"""The oracle, and the harnesses that ask it, catch each of the defects that are sown into a copy of the programs; and say nothing without one."""

import random
import subprocess

import pytest

import defects

SEED = random.SystemRandom().randrange(1_000_000)


@pytest.fixture(scope="module")
def sown(lab):
    return defects.Sown(lab)


@pytest.mark.parametrize("defect", defects.DEFECTS, ids=lambda defect: defect.name)
def test_a_sown_defect_is_caught(sown, defect):
    try:
        caught = defects.play(sown, defect, SEED, True)
    except subprocess.CalledProcessError as error:
        assert defect.disk, error
        pytest.skip(f"NOT RUN: no {defect.disk} can be made and mounted here: {error.stderr}")
    assert caught is not None, f"went unseen, seed {SEED}"
    print(str(caught)[:500])
    false = defects.play(sown, defect, SEED, False)
    assert false is None, f"without the defect something was found, seed {SEED}: {false}"
