"""What tests/integration and tests/fault share."""

import os
import pathlib
import signal
import subprocess

import pytest

import harness


@pytest.fixture(scope="session")
def lab():
    os.umask(0o022)
    lab = harness.Lab()
    yield lab
    lab.close()


@pytest.fixture
def world(lab):
    with harness.World(lab) as world:
        yield world


@pytest.fixture(scope="session")
def firebird():
    """A Firebird server of the tests' own: what a section `database` says, but for dbname, and where its databases are."""
    script = harness.SOURCE_ROOT / "tests/support/firebird-server"
    server = subprocess.Popen([script, "sh", "-c", 'echo "$FIREBIRD_TEST_PORT $FIREBIRD_TEST_PASSWORD $FIREBIRD_TEST_FOLDER $FIREBIRD_TEST_PID"; exec cat'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline().split()
        assert line, f"no Firebird server: exit status {server.wait()}"
        made = FirebirdServer(int(line[0]), line[1], pathlib.Path(line[2]), int(line[3]))
        yield made
        os.kill(made.pid, signal.SIGKILL)  # asked to end it takes five seconds, and nothing of it is kept
    finally:
        server.stdin.close()
        server.wait(30)


class FirebirdServer:
    def __init__(self, port, password, folder, pid):
        self.port, self.password, self.folder, self.pid = port, password, folder, pid
        self.count = 0

    def database(self, port=None):
        """The section for a new database."""
        self.count += 1
        return {"host": "127.0.0.1", "port": port or self.port, "user": "SYSDBA", "password": self.password, "dbname": str(self.folder / f"test{self.count}.fdb")}


@pytest.fixture(params=["embedded", "networked"])
def any_world(request, lab):
    """Once with the embedded engine, once with a Firebird server."""
    database = request.getfixturevalue("firebird").database() if request.param == "networked" else None
    with harness.World(lab, database) as world:
        yield world
