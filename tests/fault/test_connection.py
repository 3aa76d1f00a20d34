"""The way between server and agent fails: cut at every frame and within, at any byte of TLS, or silent. Nothing half is ever visible."""

import hashlib
import random
import signal
import socket
import time

import pytest

import alphabet
import harness
import stored
import trees
import wire
from alphabet import FOLDER
from harness import assert_one_line
from proxy import FrameCounter, Proxy

KiB = 1 << 10


def sources(world):
    """Small and large content, a link, a hard link: every kind of answer comes by."""
    for number in range(5):
        trees.write(world.source / f"folder{number % 2}/file{number}", trees.filler(100 * number, number))
    trees.write(world.source / "streamed", trees.filler(700 * KiB))
    trees.write(world.source / "large", trees.filler(5 << 20))
    (world.source / "link").symlink_to("streamed")


def change(world, number):
    """The next run has an answer of each kind again: small, streamed, by blocks, the same."""
    trees.write(world.source / "folder0/file2", f"changed {number}")
    trees.write(world.source / "streamed", trees.filler(700 * KiB, number))
    with open(world.source / "large", "r+b") as file:
        file.seek(number % 5 << 20)
        file.write(f"changed {number}".encode())
    (world.source / "folder0/file4").chmod(0o600 + number % 8)


@pytest.fixture(scope="module")
def small_run(lab):
    """A run over the plain protocol that a proxy understands, with one good dataset before."""
    with harness.World(lab) as world:
        sources(world)
        agent = world.plain_agent()
        world.proxy = world.keep(Proxy(agent.address, path=world.folder / "proxy.socket"))
        world.client("a", {"host": str(world.folder / "proxy.socket"), "ssl": False})
        world.init().run()
        world.number = 0
        yield world


def frames_of(world, direction):
    """How many frames a run of this world has in one direction."""
    world.number += 1
    change(world, world.number)
    world.proxy.cut = counter = FrameCounter(direction)
    world.run()
    world.proxy.wait()
    world.proxy.cut = None
    return counter.types


@pytest.mark.parametrize("part", [0, 3, 7], ids=["between frames", "in the head", "in the payload"])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_cut_at_any_frame(small_run, direction, part):
    world = small_run
    types = frames_of(world, direction)
    needed = {"in": {wire.HELLO, wire.ENTRIES, wire.LISTED, wire.FILE, wire.BEGIN, wire.DATA, wire.KEEP, wire.END},
              "out": {wire.HELLO, wire.LIST, wire.CREDIT, wire.FETCH, wire.BYE}}
    assert set(types) >= needed[direction], "the run does not show every kind of frame"
    assert 5 <= len(types) <= 60
    cuts = 0
    for whole in range(len(types)):
        world.number += 1
        change(world, world.number)
        before, snapshot = world.state(), world.snapshot()
        world.proxy.cuts = 0
        world.proxy.cut = FrameCounter(direction, whole, part)
        done = world.server("-H")
        world.proxy.wait()
        cuts += world.proxy.cuts
        if done.status == 0:
            # All that the server needed had passed: the farewell was cut.
            assert direction == "out" and types[whole] in (wire.BYE, wire.CREDIT), f"cut at frame {whole} and taken for whole"
            stored.check_is(world.newest(), world.source, snapshot)
        else:
            assert_one_line(done, 76, str(world.folder / "proxy.socket"))
            assert world.state() == before, f"cut at frame {whole} of {len(types)}"
        world.proxy.cut = None
    assert cuts >= len(types) - 2, "the harness did not cut"
    snapshot = world.snapshot()
    world.run()
    stored.check_is(world.newest(), world.source, snapshot)
    world.check()


def test_cut_at_any_byte_of_tls(lab):
    """TCP ends without TLS's close-notify, between records and within: each time the connection is known for cut."""
    with harness.World(lab) as world:
        sources(world)
        agent = world.agent()
        proxy = world.keep(Proxy(agent.address))
        world.client("a", agent.where | {"port": proxy.port})
        world.init().run()
        chance = random.Random(9)
        for direction in ("in", "out"):
            change(world, 99)
            world.run()
            proxy.wait()
            total = proxy.bytes[direction]
            # The closing records are the server's bye and its close-notify, and the agent's: not before them.
            places = [0, 1, 5, 6, 100] + [chance.randrange(total - 200) for _ in range(12)]
            cuts = 0
            for number, place in enumerate(places):
                change(world, 100 + number)
                before = world.state()
                proxy.cuts = 0
                proxy.cut = lambda way, passed, piece, place=place, wanted=direction: len(piece) if way != wanted else max(0, min(len(piece), place - passed))
                done = world.server("-H")
                proxy.wait()
                proxy.cut = None
                if done.status == 0:  # the changes of this round were fewer bytes
                    assert not proxy.cuts
                    continue
                cuts += proxy.cuts
                assert_one_line(done, 76, "127.0.0.1")
                assert world.state() == before
            assert cuts >= 10
        snapshot = world.snapshot()
        world.run()
        stored.check_is(world.newest(), world.source, snapshot)
        world.check()


# --- silence

FILES = {"": None, "data": None, "data/one": b"content of one", "data/two": b"content of two"}


class Stalls(wire.Honest):
    """Says nothing any more from a given place on, and keeps the connection open."""

    def __init__(self, where):
        super().__init__(FILES)
        self.where = where

    def silence(self):
        wire.wait_for_the_end(self.connection)
        raise wire.Gone

    def greet(self):
        if self.where == "at once":
            self.silence()
        super().greet()
        if self.where == "after the greeting":
            self.silence()

    def list(self, payload):
        if self.where == "in the listing":
            self.connection.send(wire.ENTRIES, wire.entries(sorted(self.stats.items())[:2]))
            self.silence()
        super().list(payload)

    def answer(self, request):
        if self.where == "before a file":
            self.silence()
        if self.where == "in a file" and request.type == alphabet.REGULAR:
            self.connection.send(wire.BEGIN, wire.only(request.id))
            self.connection.send(wire.DATA, wire.data(request.id, 0, b"con"))
            self.silence()
        if self.where == "in a frame":
            self.connection.send_raw(wire.frame(wire.FILE, b"x" * 100)[:50])
            self.silence()
        super().answer(request)


WHERE = ["at once", "after the greeting", "in the listing", "before a file", "in a file", "in a frame"]


def test_an_agent_that_stalls(world):
    """All six at once: each is given up after its three seconds of silence."""
    world.settings["general"]["parallel"] = len(WHERE)
    for number, where in enumerate(WHERE):
        agent = world.keep(wire.FakeAgent(world.folder / f"stalls{number}.socket", Stalls(where)))
        world.client(f"c{number}", {"host": str(agent.path), "ssl": False}, path="/data", stall_timeout=3)
    world.init()
    before = world.state()
    done = world.run(status=76)
    assert 3 <= done.seconds < 12
    assert sum(": error: c" in line for line in done.lines) == len(WHERE), done
    for number in range(len(WHERE)):
        line, = (line for line in done.lines if f"c{number}: " in line)
        assert line.startswith(f"syncropy-server: error: c{number}: ") and "3 seconds" in line and f"stalls{number}.socket" in line
    assert world.state() == before
    # An agent that answers is backed up.
    honest = world.keep(wire.FakeAgent(world.folder / "honest.socket", wire.Honest(FILES)))
    world.settings["clients"] = {}
    world.client("c0", {"host": str(honest.path), "ssl": False}, path="/data", stall_timeout=3)
    world.run()
    assert (world.newest("c0").tree / "data/one").read_bytes() == b"content of one"


def test_alive_frames_are_life(world):
    """An agent that works for long says so every now and then."""

    class Slow(wire.Honest):
        def answer(self, request):
            for _ in range(3 if request.type == alphabet.REGULAR else 0):
                time.sleep(0.5)
                self.connection.send(wire.ALIVE)
            super().answer(request)

    agent = world.keep(wire.FakeAgent(world.folder / "slow.socket", Slow({"": None, "data": None, "data/one": b"content"})))
    world.client("a", {"host": str(agent.path), "ssl": False}, path="/data", stall_timeout=1)
    world.init().run()
    assert (world.newest().tree / "data/one").read_bytes() == b"content"


def test_a_listener_that_never_accepts_tls(world):
    """The TCP connection stands, and nobody shakes hands."""
    listener = world.listener()
    client = world.client("a", world.agent().where, stall_timeout=1)
    client["port"] = listener.getsockname()[1]
    world.init()
    done = world.fail(76, "127.0.0.1", str(client["port"]))
    assert done.seconds < 5


def test_one_byte_and_gone(world):
    """Of a TLS record or of a frame: the agent notices at once, and ends when it is told to."""
    agent = world.agent()
    for byte in (b"\x16", b"\x16\x03", b"\x08", b""):
        with socket.create_connection(agent.address) as sock:
            sock.sendall(byte)
    harness.wait_until(lambda: agent.text().count("warning") == 4, "the agent tells of each", 5)
    with socket.create_connection(agent.address) as sock:
        sock.sendall(b"\x16")
        time.sleep(0.1)
        began = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - began < 5


def test_an_agent_that_is_stopped(lab):
    """SIGSTOP: like a machine that hangs. Its kernel still takes bytes."""
    with harness.World(lab) as world:
        trees.small(world.source)
        agent = world.agent(policy={"commands": "any"})
        world.client("a", agent.where, stall_timeout=2)
        world.init().run()
        agent.kill(signal.SIGSTOP)
        try:
            done = world.fail(76, "127.0.0.1", "2 seconds")
            assert 2 <= done.seconds < 8
        finally:
            agent.kill(signal.SIGCONT)
        world.run()
        world.check()


def test_a_server_that_stalls(lab):
    """The agent gives it up, and goes on serving others."""
    with harness.World(lab) as world:
        trees.small(world.source)
        agent = world.plain_agent(policy={"stall_timeout": 1})
        for greeting in (b"", wire.frame(wire.HELLO, wire.hello()), wire.frame(wire.HELLO, wire.hello())[:7]):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(agent.address))
                sock.settimeout(10)
                sock.sendall(greeting)
                began = time.monotonic()
                while sock.recv(65536):
                    pass
                assert 0.5 <= time.monotonic() - began < 5
        harness.wait_until(lambda: agent.text().count("1 seconds") == 3, "it says so of each")
        world.client("a", agent.where)
        world.init().run()


def test_the_plain_protocol_by_hand(lab):
    """A server written from syncropy-protocol(7) alone backs a folder up from the real agent."""
    with harness.World(lab) as world:
        sources(world)
        agent = world.plain_agent()
        for features in (0, 1):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(agent.address))
                connection = wire.Connection(sock)
                connection.send(wire.HELLO, wire.hello(features=features))
                type, payload = connection.receive()
                assert (type, wire.get_hello(payload)[:2]) == (wire.HELLO, (1, features))
                path = str(world.source)[1:].encode()
                connection.send(wire.LIST, wire.list_request([path]))
                payloads, listed = [], []
                while True:
                    type, payload = connection.receive()
                    if type == wire.LISTED:
                        break
                    assert type == wire.ENTRIES
                    payloads.append(payload)
                    listed += wire.get_entries(payload)
                assert payload == wire.listed(len(listed), 0, payloads)
                assert listed[0][0] == b"" and listed[0][1].type == FOLDER
                expected = world.snapshot()
                prefix = path + b"/"
                inside = {name[len(prefix):]: stat for name, stat, _ in listed if name.startswith(prefix)}
                assert inside.keys() | {b""} == expected.keys()
                assert [name for name, _, _ in listed] == sorted((name for name, _, _ in listed), key=alphabet.sort_key)
                requests = [wire.Request(number, prefix + name, stat.type, True) for number, (name, stat) in enumerate(inside.items())]
                connection.send(wire.FETCH, wire.fetch(requests))
                contents, closed = {}, {}
                while len(closed) < len(requests):
                    type, payload = connection.receive()
                    if type == wire.BEGIN:
                        contents[alphabet.Reader(payload).unsigned()] = b""
                    elif type == wire.DATA:
                        data = alphabet.Reader(payload)
                        id, offset = data.unsigned(), data.unsigned()
                        assert offset == len(contents[id])
                        contents[id] += data.raw(len(payload) - data.at)
                    else:
                        assert type in (wire.FILE, wire.END)
                        answer = wire.get_file(payload)
                        closed[answer.id] = answer
                        if answer.content == wire.HERE:
                            contents[answer.id] = answer.body
                for request in requests:
                    node, answer = expected[request.path[len(prefix):]], closed[request.id]
                    assert answer.stat.mode == node.mode or request.type == alphabet.SYMLINK
                    assert answer.details.owner == b"root" and answer.details.target == (node.target or b"")
                    if request.type == alphabet.REGULAR:
                        assert hashlib.sha256(contents[request.id]).digest() == answer.digest == node.digest
                connection.send(wire.BYE)
                with pytest.raises(wire.Gone):
                    connection.receive()
