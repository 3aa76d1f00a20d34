"""A share of `tests/fault/run kills`: killed at random moments, and what a lock of one that was killed is worth."""

import random
import signal
import time

import harness
import kills
import trees

SEED = random.SystemRandom().randrange(1_000_000)


def test_server_and_agent_are_killed(lab):
    print(f"seed {SEED}: {dict(kills.at_random_moments(lab, ('server', 'agent'), 25, SEED))}")


def test_server_agent_and_database_are_killed(lab, firebird):
    print(f"seed {SEED}: {dict(kills.at_random_moments(lab, ('server', 'agent', 'database'), 15, SEED, firebird))}")


def test_a_second_run_does_not_wait_for_one_that_was_killed(world):
    """A lock ends with the process that holds it."""
    trees.small(world.source)
    world.client("a", world.agent(policy={"commands": "any"}).where, pre_command="sleep 4")
    world.init()
    run = world.start("-c", world.configuration, "-H")
    harness.wait_until(lambda: (world.repository / "a").exists(), "it has begun")
    time.sleep(0.5)
    run.kill(signal.SIGKILL)
    run.wait()
    del world.settings["clients"]["a"]["pre_command"]
    assert world.run("hour", "--lock-wait", "0").seconds < 3
