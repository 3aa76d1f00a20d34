import os

import pytest

from fixtures import *  # noqa: F401,F403


def pytest_configure(config):
    if os.geteuid() != 0:
        raise pytest.UsageError("these tests make users, mounts and foreign files: run them as root")
    if "SYNCROPY_BUILD" not in os.environ:
        raise pytest.UsageError("set SYNCROPY_BUILD to a build folder (tests/run does)")
