"""Restores between one who is honest and one who is not: frames that no honest program sends, and connections cut at any of them."""

import hashlib
import os
import pathlib
import shutil
import socket
import time

import pytest

import alphabet
import harness
import trees
import wire
from alphabet import FOLDER, SYMLINK, Details, Stat, Writer
from harness import assert_one_line

RESTORE, READY, PLACE, WANT, CONTENT, CONTENT_END, OUTCOME, REMOVED, FINISH, FINISHED = range(0x40, 0x4A)
CREATED, REPLACED, ADJUSTED, SAME, KEPT, CONFLICT, UNABLE = range(1, 8)
CONTENT_OF_FILE = b"what the file holds"


def rules(target, existing=3, flags=0, excludes=()):
    out = Writer().string(str(target).lstrip("/").encode()).byte(existing).byte(flags).unsigned(0).unsigned(0).unsigned(len(excludes))
    for pattern in excludes:
        out.string(pattern)
    return bytes(out.unsigned(0).bytes)


def place(entries):
    """(id, path, Stat[, digest[, details[, on_the_way]]])"""
    out, previous = Writer(), b""
    for id, path, stat, *more in entries:
        digest, details, on_the_way = [*more, *(None, None, 0)[len(more):]]
        path = os.fsencode(path)
        out.unsigned(id).byte(on_the_way)
        alphabet.put_path(out, path, previous)
        alphabet.put_stat(out, stat)
        out.byte(128 if digest else 0)
        alphabet.put_details(out, details, stat.type)
        out.raw(digest or b"")
        previous = path
    return bytes(out.bytes)


ROOT = (1, "", Stat(type=FOLDER, mode=0o755))
DIR = (2, "d", Stat(type=FOLDER, mode=0o755))
DIGEST = hashlib.sha256(CONTENT_OF_FILE).digest()
FILE = (3, "d/file", Stat(size=len(CONTENT_OF_FILE)), DIGEST)


def end(id, code=0):
    return bytes(Writer().unsigned(id).unsigned(code).bytes)


@pytest.fixture(scope="module")
def worker(lab):
    with harness.World(lab) as world:
        world.socket = world.folder / "worker.socket"
        policy = world.folder / "worker.yaml"
        policy.write_text(f"restore: accept\nrestore_to: [{world.folder}/targets]\nidle_exit: 0\nstall_timeout: 2\n")
        (world.folder / "targets").mkdir()
        world.running = world.keep(harness.Program([world.lab.program("syncropy-agent"), "--restore", "-l", world.socket, "--policy", policy],
                                                   world.folder / "worker.log", world.environment, world.folder))
        harness.wait_until(world.socket.exists, "it listens")
        yield world


@pytest.fixture
def target(worker):
    folder = worker.folder / f"targets/{worker.counted()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def connect(world):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(world.socket))
    connection = wire.Connection(sock)
    connection.send(wire.HELLO, wire.hello())
    assert connection.receive()[0] == wire.HELLO
    return connection


def begin(world, target, **more):
    connection = connect(world)
    connection.send(RESTORE, rules(target, **more))
    type, payload = connection.receive()
    assert type == READY, payload
    return connection


def outcomes(connection, count):
    """id → result of the next `count` outcomes; wants are answered with the file's content."""
    found = {}
    while len(found) < count:
        type, payload = connection.receive()
        data = alphabet.Reader(payload)
        if type == WANT:
            for _ in range(data.unsigned()):
                id = data.unsigned()
                connection.send(CONTENT, wire.data(id, 0, CONTENT_OF_FILE))
                connection.send(CONTENT_END, end(id))
        elif type == OUTCOME:
            while not data.at_end:
                id, result = data.unsigned(), data.byte()
                found[id] = result, [(data.string(), data.unsigned()) for _ in range(data.unsigned())]
        elif type == wire.ERROR:
            raise AssertionError(wire.get_error(payload))
    return found


def test_the_protocol_by_hand(worker, target):
    """A restore by somebody who has nothing but the page."""
    connection = begin(worker, target)
    connection.send(PLACE, place([ROOT, DIR, FILE, (4, "d/link", Stat(type=SYMLINK, size=4, mode=0o777), None, Details(target=b"file"))]))
    assert {id: result for id, (result, _) in outcomes(connection, 2).items()} == {3: CREATED, 4: CREATED}
    connection.send(FINISH)
    assert outcomes(connection, 2) == {2: (CREATED, []), 1: (ADJUSTED, [])}
    assert connection.receive()[0] == FINISHED
    connection.send(wire.BYE)
    with pytest.raises(wire.Gone):
        connection.receive()
    assert (target / "d/file").read_bytes() == CONTENT_OF_FILE and os.readlink(target / "d/link") == "file"
    assert (target / "d/file").stat().st_mtime_ns == 10**18 and (target / "d").stat().st_mtime_ns == 10**18


# What a server sends after the target is ready: (type, payload) each.
EVIL = {
    "an entry before the root": [(PLACE, place([DIR]))],
    "a root that is a file": [(PLACE, place([(1, "", Stat(size=0))]))],
    "names out of order": [(PLACE, place([ROOT, (2, "b", Stat(type=FOLDER)), (3, "a", Stat(type=FOLDER))]))],
    "a name twice": [(PLACE, place([ROOT, DIR, (4, "d", Stat(type=FOLDER))]))],
    "an entry without its folder": [(PLACE, place([ROOT, FILE]))],
    "an entry in a file": [(PLACE, place([ROOT, (2, "d", Stat(size=1), DIGEST), FILE]))],
    "a way out": [(PLACE, place([ROOT, (2, "..", Stat(type=FOLDER))]))],
    "a way out further down": [(PLACE, place([ROOT, DIR, (3, "d/..", Stat(type=FOLDER))]))],
    "an absolute path": [(PLACE, place([ROOT, (2, "/etc", Stat(type=FOLDER))]))],
    "an empty component": [(PLACE, place([ROOT, DIR, (3, "d//x", Stat(type=FOLDER))]))],
    "a name with a NUL": [(PLACE, place([ROOT, (2, "a\0b", Stat(type=FOLDER))]))],
    "a name of 256 bytes": [(PLACE, place([ROOT, (2, "n" * 256, Stat(type=FOLDER))]))],
    "a file on the way": [(PLACE, place([ROOT, (2, "x", Stat(size=1), DIGEST, None, 1)]))],
    "content that nobody wants": [(PLACE, place([ROOT, DIR])), (CONTENT, wire.data(9, 0, b"x"))],
    "an end that nobody waits for": [(PLACE, place([ROOT, DIR])), (CONTENT_END, end(9))],
    "content of a folder": [(PLACE, place([ROOT, DIR])), (CONTENT, wire.data(2, 0, b"x"))],
    "content beyond the end": [(PLACE, place([ROOT, DIR, FILE])), (WANT, None), (CONTENT, wire.data(3, 10, CONTENT_OF_FILE))],
    "content far beyond the end": [(PLACE, place([ROOT, DIR, FILE])), (WANT, None), (CONTENT, wire.data(3, 1 << 62, b"x"))],
    "content backwards": [(PLACE, place([ROOT, DIR, FILE])), (WANT, None), (CONTENT, wire.data(3, 10, b"x")), (CONTENT, wire.data(3, 0, b"x"))],
    "two ends": [(PLACE, place([ROOT, DIR, FILE])), (WANT, None), (CONTENT_END, end(3)), (CONTENT_END, end(3))],
    "a finish before the outcomes": [(PLACE, place([ROOT, DIR, FILE])), (FINISH, b"")],
    "a restore within a restore": [(RESTORE, rules("elsewhere"))],
    "what only a worker says": [(OUTCOME, b"")],
    "a listing": [(wire.LIST, wire.list_request([b"etc"]))],
    "a command": [(wire.RUN, b"")],
    "half an entry": [(PLACE, place([ROOT, DIR])[:-2])],
    "an empty content": [(PLACE, place([ROOT, DIR, FILE])), (WANT, None), (CONTENT, wire.data(3, 0, b""))],
    "more entries than the window": [(PLACE, place([ROOT, DIR])), *((PLACE, place([(10 + n, f"d/{n:05}", Stat(size=5), DIGEST) for n in range(at, at + 512)])) for at in range(0, 8192, 512))],
}


@pytest.mark.parametrize("name", EVIL)
def test_a_server_that_no_honest_one_is(worker, target, name):
    connection = begin(worker, target)
    with pytest.raises(wire.Gone):
        for type, payload in EVIL[name]:
            if type == WANT:
                while connection.receive()[0] != WANT:
                    pass
            else:
                connection.send(type, payload)
        while True:
            connection.receive()
    assert not [path for path in target.rglob("*") if not path.is_dir()], "something half done is visible"
    assert not list((worker.folder / "targets").glob("../x*"))
    assert worker.running.runs()


@pytest.mark.parametrize("payload", [rules("../etc"), rules("a/../b"), rules("a//b"), rules("x", existing=0), rules("x", existing=9), rules("x", flags=8), b"", rules("x")[:-1],
                                     rules("x") + b"\0"])
def test_rules_that_cannot_be(worker, payload):
    connection = connect(worker)
    connection.send(RESTORE, payload)
    with pytest.raises(wire.Gone):
        while connection.receive()[0] != READY:
            pass
        raise AssertionError("it is ready for that")


@pytest.mark.parametrize("where", ["/", "/etc"])
def test_targets_that_the_policy_does_not_name(worker, where):
    connection = connect(worker)
    connection.send(RESTORE, rules(where))
    type, payload = connection.receive()
    if type == READY:  # a folder above what is allowed: entered, and nothing else
        connection.send(PLACE, place([ROOT, (2, "etc", Stat(type=FOLDER)), (3, "etc/evil", Stat(size=0), hashlib.sha256().digest())]))
        assert outcomes(connection, 3)[3][0] == UNABLE
    else:
        assert type == wire.ERROR and wire.get_error(payload)[0] == 77
    assert not pathlib.Path("/etc/evil").exists()
    connection.close()


def test_content_that_does_not_fit_its_digest_is_not_placed(worker, target):
    connection = begin(worker, target)
    connection.send(PLACE, place([ROOT, DIR, (3, "d/file", Stat(size=len(CONTENT_OF_FILE)), hashlib.sha256(b"other").digest())]))
    (result, shortfalls), = outcomes(connection, 1).values()
    assert result == UNABLE and shortfalls[0][0] == b"content"
    connection.close()
    assert not (target / "d/file").exists() and not list((target / "d").iterdir())


@pytest.mark.parametrize("frames", range(6))
def test_a_connection_that_is_cut(worker, target, frames):
    connection = begin(worker, target)
    for number, (type, payload) in enumerate([(PLACE, place([ROOT, DIR, FILE])), (CONTENT, wire.data(3, 0, CONTENT_OF_FILE[:5])), (CONTENT, wire.data(3, 5, CONTENT_OF_FILE[5:])),
                                              (CONTENT_END, end(3)), (FINISH, b"")]):
        if number == frames:
            break
        if number == 1:
            while connection.receive()[0] != WANT:
                pass
        if type == FINISH:
            outcomes(connection, 1)
        connection.send(type, payload)
    connection.close()

    def is_clean():
        left = [path for path in target.rglob("*") if not path.is_dir()]
        return all(path == target / "d/file" and path.read_bytes() == CONTENT_OF_FILE for path in left)

    harness.wait_until(is_clean, "what was being written is gone")


def test_a_server_that_stalls(worker, target):
    began = time.monotonic()
    connection = begin(worker, target)
    connection.send(PLACE, place([ROOT, DIR, FILE]))
    with pytest.raises(wire.Gone):
        while True:
            connection.receive()
    assert time.monotonic() - began < 20
    harness.wait_until(lambda: not [path for path in target.rglob("*") if not path.is_dir()], "nothing is left")


# --- Workers that no honest one is

@pytest.fixture(scope="module")
def asking(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        world.client("a", world.plain_agent().where, restore_host=str(world.folder / "fake.socket"), stall_timeout=5)
        world.init().run()
        yield world


class FakeWorker:
    """An honest worker up to one step: `step` gets the connection, the type and the payload of each frame, and says whether it has answered."""

    def __init__(self, step):
        self.step = step

    def __call__(self, connection):
        assert connection.receive()[0] == wire.HELLO
        connection.send(wire.HELLO, wire.hello())
        ids = []
        while True:
            type, payload = connection.receive()
            if type == wire.BYE:
                return
            if self.step(connection, type, payload):
                continue
            if type == RESTORE:
                connection.send(READY, b"\1")
            elif type == PLACE:
                data, previous = alphabet.Reader(payload), b""
                while not data.at_end:
                    ids.append(data.unsigned())
                    data.byte()
                    entry = alphabet.get_entry(data, previous)
                    previous = entry.path
                    if entry.stat.type != FOLDER:
                        connection.send(OUTCOME, outcome(ids.pop()))
            elif type == FINISH:
                for id in ids:
                    connection.send(OUTCOME, outcome(id))
                ids.clear()
                connection.send(FINISHED)


def outcome(id, result=CREATED, shortfalls=()):
    out = Writer().unsigned(id).byte(result).unsigned(len(shortfalls))
    for what, code in shortfalls:
        out.string(what).unsigned(code)
    return bytes(out.bytes)


def wants(*ids):
    out = Writer().unsigned(len(ids))
    for id in ids:
        out.unsigned(id)
    return bytes(out.bytes)


def once(at, *frames):
    def step(connection, type, _payload):
        if type != at:
            return False
        for frame in frames:
            connection.send(*frame)
        return False
    return step


UNFAITHFUL = {
    "an outcome for nothing": once(PLACE, (OUTCOME, outcome(999_999))),
    "an outcome twice": once(FINISH, (OUTCOME, outcome(3)), (OUTCOME, outcome(3))),
    "a result that is none": once(PLACE, (OUTCOME, outcome(3, 8))),
    "a want of nothing": once(PLACE, (WANT, wants(999_999))),
    "a want of a folder": once(PLACE, (WANT, wants(1))),
    "a want twice": once(PLACE, (WANT, wants(*range(1, 60))), (WANT, wants(*range(1, 60)))),
    "more wants than a message holds": once(PLACE, (WANT, bytes(Writer().unsigned(5_000).bytes))),
    "finished before it is": once(PLACE, (FINISHED, b"")),
    "finished twice": once(FINISH, (FINISHED, b""), (FINISHED, b"")),
    "a listing": once(PLACE, (wire.ENTRIES, b"")),
    "what only a server says": once(PLACE, (PLACE, b"")),
    "a removal on the way out": once(PLACE, (REMOVED, bytes(Writer().unsigned(0).string(b"../x").unsigned(0).bytes))),
    "no answer to the rules": lambda connection, type, payload: type == RESTORE and (connection.send(OUTCOME, outcome(1)) or True),
}


@pytest.mark.parametrize("name", UNFAITHFUL)
def test_a_worker_that_no_honest_one_is(asking, name):
    fake = wire.FakeAgent(asking.folder / "fake.socket", FakeWorker(UNFAITHFUL[name]))
    try:
        done = asking.execute("syncropy", "-c", asking.configuration, "restore", "--target", "/x", "a", patience=40)
    finally:
        fake.close()
    assert_one_line(done, 76, "fake.socket", program="syncropy")


def test_an_honest_fake_is_believed(asking):
    fake = wire.FakeAgent(asking.folder / "fake.socket", FakeWorker(lambda *_: False))
    try:
        done = asking.execute("syncropy", "-c", asking.configuration, "restore", "--target", "/x", "a", patience=40)
    finally:
        fake.close()
    assert done.status == 0, done


def test_names_from_a_worker_do_no_harm_to_a_terminal(asking):
    """Shortfalls are text of the other side."""
    evil = b"\x1b[31m\nroot: all is well"
    fake = wire.FakeAgent(asking.folder / "fake.socket", FakeWorker(once(FINISH, (REMOVED, bytes(Writer().unsigned(0).string(evil).unsigned(13).bytes)))))
    try:
        done = asking.execute("syncropy", "-c", asking.configuration, "restore", "--target", "/x", "a", patience=40)
    finally:
        fake.close()
    assert done.status == 3 and "\x1b" not in done.err and "\nroot" not in done.err, done


def test_a_worker_that_stalls(asking):
    fake = wire.FakeAgent(asking.folder / "fake.socket", FakeWorker(lambda connection, type, payload: type == PLACE and (time.sleep(8) or True)))
    try:
        began = time.monotonic()
        done = asking.execute("syncropy", "-c", asking.configuration, "restore", "--target", "/x", "a", patience=40)
        assert time.monotonic() - began < 20
    finally:
        fake.close()
    assert_one_line(done, 76, "5 seconds", program="syncropy")
