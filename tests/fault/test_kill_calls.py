"""A share of `tests/fault/run kills`: killed at one call after the other, the repository keeps its promises and the next run succeeds."""

import random

import pytest

import inject
import kills

SEED = random.SystemRandom().randrange(1_000_000)
# At each how manieth call. Which ones these are differs from time to time; the long form takes each.
STRIDES = {"upgrade": 20, "run": 4, "recovery": 15, "first run": 110, "rebuild": 110, "backup of the catalog": 10, "deletion": 12, "noting": 10,
           "emptying": 40, "verification": 600}
CALLS = f"{inject.CHANGING},{inject.TALKING}"


@pytest.mark.parametrize("scene", STRIDES)
def test_killed_at_its_calls(lab, scene):
    print(f"seed {SEED}: {dict(kills.at_each_call(lab, scene, SEED, STRIDES[scene]))}")


@pytest.mark.parametrize("scene", ["run", "rebuild"])
def test_killed_at_its_calls_with_a_database_server(lab, firebird, scene):
    print(f"seed {SEED}: {dict(kills.at_each_call(lab, scene, SEED, 60, firebird.database(), CALLS))}")
