import os

import pytest

from fixtures import *  # noqa: F401,F403


def pytest_configure(config):
    if os.geteuid() != 0:
        raise pytest.UsageError("these tests make users, mounts and foreign files: run them as root")
    if "SYNCROPY_BUILD" not in os.environ:
        raise pytest.UsageError("set SYNCROPY_BUILD to a build folder (tests/run does)")


def pytest_collection_modifyitems(items):
    """The longest file first, so that it is not what a second process waits for in the end."""
    items.sort(key=lambda item: item.path.name != "test_usr.py")
