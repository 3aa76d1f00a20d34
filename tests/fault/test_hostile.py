"""The server trusts no agent, and the agent no server: whatever breaks the protocol ends in one line, and nothing of it is published."""

import errno
import hashlib
import json
import os
import socket
import struct
import subprocess
import time

import pytest

import alphabet
import harness
import stored
import trees
import wire
from alphabet import FOLDER, REGULAR, SYMLINK, Details, Stat, Writer
from harness import assert_one_line

FILES = {"": None, "data": None, "data/one": b"content of one", "data/two": b"content of two", "data/z": None, "data/z/three": b"three"}
ROOT, DIR, FILE = Stat(type=FOLDER, mode=0o755), Stat(type=FOLDER, mode=0o755, inode=2), Stat(size=5, inode=3)


@pytest.fixture(scope="module")
def served(lab):
    """A repository with one dataset of an honest agent at the other end of world.where; attack(play) puts another in its place."""
    with harness.World(lab) as world:
        path = world.folder / "agent.socket"
        world.client("a", {"host": str(path), "ssl": False}, path="/data", stall_timeout=10, compress=True)

        def with_agent(play, check):
            agent = wire.FakeAgent(path, play)
            try:
                return check()
            finally:
                agent.close()

        world.with_agent = with_agent
        world.init()
        with_agent(wire.Honest(FILES), world.run)
        yield world


def attack(world, play, *words):
    """The run ends with status 76 and one line that says where; nothing is published; an honest agent is served afterwards."""
    before = world.state()
    done = world.with_agent(play, lambda: world.server("-H", patience=60))
    # What it says of a single file before that is told as ever.
    done.err = "".join(line + "\n" for line in done.lines if "warning: a: cannot" not in line and " more could not be read; " not in line)
    assert_one_line(done, 76, world.folder / "agent.socket", *words)
    assert world.state() == before
    assert not list(world.store.glob("*outside*")) and not os.path.lexists("/tmp/syncropy-escaped")
    return done


class Lists(wire.Honest):
    """Sends a listing of its own making, message by message, and closes it truthfully."""

    def __init__(self, *messages):
        super().__init__(FILES)
        self.messages = messages

    def list(self, _payload):
        payloads = [wire.entries(message) if isinstance(message, list) else message for message in self.messages]
        for payload in payloads:
            self.connection.send(wire.ENTRIES, payload)
        count = sum(len(message) for message in self.messages if isinstance(message, list))
        self.connection.send(wire.LISTED, wire.listed(count, 0, payloads))
        wire.wait_for_the_end(self.connection)
        raise wire.Gone

    def answer(self, request):
        pass


def raw_entry(shared, rest, stat=FILE):
    out = Writer().unsigned(shared).string(rest)
    alphabet.put_stat(out, stat)
    return bytes(out.byte(0).bytes)


LISTINGS = {
    "nothing": Lists(),
    "no root": Lists([("data", DIR)]),
    "a root that is a file": Lists([("", FILE)]),
    "unsorted": Lists([("", ROOT), ("data", DIR), ("data/two", FILE), ("data/one", FILE)]),
    "sorted by bytes and not by components": Lists([("", ROOT), ("data", DIR), ("data/a-b", FILE), ("data/a", DIR), ("data/a/x", FILE)]),
    "a name twice": Lists([("", ROOT), ("data", DIR), ("data/one", FILE), ("data/one", FILE)]),
    "a name twice in two messages": Lists([("", ROOT), ("data", DIR), ("data/one", FILE)], [("data/one", FILE)]),
    "a folder twice": Lists([("", ROOT), ("data", DIR), ("data/a", DIR), ("data/a", DIR)]),
    "a file with something in it": Lists([("", ROOT), ("data", DIR), ("data/one", FILE), ("data/one/in", FILE)]),
    "a link with something in it": Lists([("", ROOT), ("data", DIR), ("data/l", Stat(type=SYMLINK, size=4)), ("data/l/in", FILE)]),
    "a folder that was not listed": Lists([("", ROOT), ("data", DIR), ("data/a/b", FILE)]),
    "dot dot": Lists([("", ROOT), ("data", DIR), ("data/..", DIR), ("data/../../outside", FILE)]),
    "dot dot as a file": Lists([("", ROOT), ("..", FILE)]),
    "dot": Lists([("", ROOT), (".", DIR)]),
    "an empty component": Lists([("", ROOT), ("data", DIR), ("data//one", FILE)]),
    "a leading slash": Lists([("", ROOT), ("/tmp/syncropy-escaped", FILE)]),
    "a trailing slash": Lists([("", ROOT), ("data/", DIR)]),
    "a NUL": Lists([("", ROOT), ("da\0ta", DIR)]),
    "a name of 256 bytes": Lists([("", ROOT), ("n" * 256, FILE)]),
    "1,001 components": Lists([("", ROOT)] + [("d/" * depth + "d", DIR) for depth in range(1001)]),
    "a path that shares more than there is": Lists(wire.entries([("", ROOT)]) + raw_entry(10, b"x")),
    "a type that is none": Lists(wire.entries([("", ROOT)]) + raw_entry(0, b"x", Stat(type=0))),
    "a mode of 13 bits": Lists(wire.entries([("", ROOT)]) + raw_entry(0, b"x", Stat(mode=0o10000))),
    "nanoseconds beyond a second": Lists(wire.entries([("", ROOT)]) + bytes(
        Writer().unsigned(0).string(b"x").unsigned(1 + 8 * 0o644).unsigned(0).unsigned(0).unsigned(5).signed(0).unsigned(10**9).bytes)),
    "cut off within an entry": Lists(wire.entries([("", ROOT), ("data", DIR)])[:-3]),
    "bytes too many": Lists(wire.entries([("", ROOT)]) + b"\x01"),
    "an integer with needless bytes": Lists(wire.entries([("", ROOT)]) + b"\x80\x00" + raw_entry(0, b"x")[1:]),
    "an integer without end": Lists(wire.entries([("", ROOT)]) + b"\xff" * 20),
    "a size above 63 bits": Lists([("", ROOT), ("x", Stat(size=1 << 63))]),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_listings_that_cannot_be(served, name):
    attack(served, LISTINGS[name])


class Ends(wire.Honest):
    """Closes an honest listing with another end."""

    def __init__(self, make):
        super().__init__(FILES)
        self.make = make

    def list(self, _payload):
        payload = wire.entries(sorted(self.stats.items(), key=lambda item: alphabet.sort_key(item[0])))
        self.connection.send(wire.ENTRIES, payload)
        for type, content in self.make(len(self.stats), payload):
            self.connection.send(type, content)


LISTING_ENDS = {
    "count too small": lambda count, payload: [(wire.LISTED, wire.listed(count - 1, 0, [payload]))],
    "count too large": lambda count, payload: [(wire.LISTED, wire.listed(count + 1, 0, [payload]))],
    "problems that were not sent": lambda count, payload: [(wire.LISTED, wire.listed(count, 1, [payload]))],
    "a wrong digest": lambda count, payload: [(wire.LISTED, wire.listed(count, 0, [payload, b"x"]))],
    "twice": lambda count, payload: 2 * [(wire.LISTED, wire.listed(count, 0, [payload]))],
    "entries after the end": lambda count, payload: [(wire.LISTED, wire.listed(count, 0, [payload])), (wire.ENTRIES, wire.entries([("z", FILE)]))],
    "too short": lambda count, payload: [(wire.LISTED, wire.listed(count, 0, [payload])[:-1])],
    "a problem of an errno that is none": lambda count, payload: [(wire.PROBLEM, wire.problem("data", 99_999))],
    "a problem with a path that is no path": lambda count, payload: [(wire.PROBLEM, wire.problem("data/../x"))],
    "a problem with what nobody asked for": lambda count, payload: [(wire.PROBLEM, wire.problem("other/x"))],
    "a problem with a neighbour": lambda count, payload: [(wire.PROBLEM, wire.problem("data2"))],
    "a problem twice": lambda count, payload: 2 * [(wire.PROBLEM, wire.problem("data/x"))],
    "a problem after the end": lambda count, payload: [(wire.LISTED, wire.listed(count, 0, [payload])), (wire.PROBLEM, wire.problem("data/x"))],
}


@pytest.mark.parametrize("name", LISTING_ENDS)
def test_ends_of_a_listing_that_cannot_be(served, name):
    attack(served, Ends(LISTING_ENDS[name]))


def test_more_listing_than_there_is_credit_for(served):
    """65 messages and more before the server has granted any: its memory is bounded by the window, or it says so."""
    class Floods(wire.Honest):
        def list(self, _payload):
            self.connection.send(wire.ENTRIES, wire.entries([("", ROOT), ("data", DIR)]))
            for number in range(3_000):
                self.connection.send(wire.ENTRIES, wire.entries([(f"data/{number:06}{letter:04}", FILE) for letter in range(300)]))
            wire.wait_for_the_end(self.connection)

        def answer(self, request):
            pass

    attack(served, Floods(FILES))


class Answers(wire.Honest):
    """Answers the request for data/one, whose content has changed since, with frames of its own making."""

    def __init__(self, make):
        super().__init__(FILES | {"data/one": b"changed content"})
        self.stats[b"data/one"] = Stat(size=15, inode=3, mtime=10**18 + 7, ctime=10**18 + 7)
        self.stats[b"data/two"].ctime += 1  # asked for too: the run does not end with the answer that cannot be
        self.make, self.made = make, False

    def answer(self, request):
        if request.path != b"data/one":
            return super().answer(request)
        self.made = True
        for type, payload in self.make(request, self.stats[request.path], self.content[request.path]):
            self.connection.send(type, payload)
        return None


def sha(content):
    return hashlib.sha256(content).digest()


def answered(request, stat, content, **changes):
    values = {"content": wire.HERE, "digest": sha(content), "body": content} | changes
    return wire.FILE, wire.file(request.id, stat, **values)


def ended(request, stat, content, **changes):
    return wire.END, wire.file(request.id, stat, **({"content": wire.STREAMED, "digest": sha(content)} | changes))


def streamed(request, stat, content, *between, **changes):
    return [(wire.BEGIN, wire.only(request.id)), *between, ended(request, stat, content, **changes)]


def xattrs(*pairs):
    return Details(xattrs=list(pairs))


ANSWERS = {
    "an unknown id": lambda r, s, c: [(wire.FILE, wire.file(r.id + 77, s, wire.HERE, sha(c), c))],
    "an id twice": lambda r, s, c: 2 * [answered(r, s, c)],
    "another digest": lambda r, s, c: [answered(r, s, c, digest=sha(b"x"))],
    "no digest": lambda r, s, c: [answered(r, s, c, digest=None)],
    "a digest with a folder": lambda r, s, c: [answered(r, ROOT, c)],
    "another type": lambda r, s, c: [(wire.FILE, wire.file(r.id, Stat(type=SYMLINK, size=1), details=Details(target=b"x")))],
    "content longer than its size": lambda r, s, c: [answered(r, Stat(size=3), c)],
    "content shorter than its size": lambda r, s, c: [answered(r, Stat(size=99), c)],
    "inline content above its bound": lambda r, s, c: [answered(r, Stat(size=70_000), b"x" * 70_000)],
    "no content for a file": lambda r, s, c: [(wire.FILE, wire.file(r.id, s))],
    "the same as what was never offered": lambda r, s, c: [(wire.FILE, wire.file(r.id, s, wire.SAME, sha(c)))],
    "the same with another digest than offered": lambda r, s, c: [(wire.FILE, wire.file(r.id, s, wire.SAME, sha(b"something else")))],
    "streamed without a beginning": lambda r, s, c: [ended(r, s, c)],
    "data without a beginning": lambda r, s, c: [(wire.DATA, wire.data(r.id, 0, c)), ended(r, s, c)],
    "data for an unknown id": lambda r, s, c: [(wire.DATA, wire.data(r.id + 77, 0, c))],
    "begun twice": lambda r, s, c: [(wire.BEGIN, wire.only(r.id))] + streamed(r, s, c),
    "begun for an unknown id": lambda r, s, c: [(wire.BEGIN, wire.only(r.id + 77))],
    "nothing between": lambda r, s, c: streamed(r, s, c),
    "data out of order": lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, 7, c[7:])), (wire.DATA, wire.data(r.id, 0, c[:7]))),
    "data twice": lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, 0, c)), (wire.DATA, wire.data(r.id, 0, c))),
    "data beyond the size": lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, 1 << 30, c))),
    "data at the end of the numbers": lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, (1 << 63) - 1, c))),
    "data at a negative place": lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, (1 << 64) - 1, c))),
    "no data in data": lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, 0, b""))),
    "too much data in data": lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, 0, b"x" * 262_145))),
    "keeps what was never offered": lambda r, s, c: streamed(r, s, c, (wire.KEEP, wire.keep(r.id, 0, 1 << 30))),
    "keeps beyond the end": lambda r, s, c: streamed(r, s, c, (wire.KEEP, wire.keep(r.id, (1 << 64) - 5, 10))),
    "keeps what does not fit": lambda r, s, c: streamed(r, s, c, (wire.KEEP, wire.keep(r.id, 0, 14)), (wire.DATA, wire.data(r.id, 20, b"x"))),
    "content after its end": lambda r, s, c: [*streamed(r, s, c, (wire.DATA, wire.data(r.id, 0, c))), (wire.DATA, wire.data(r.id, 0, c))],
    "failed twice": lambda r, s, c: 2 * [(wire.FAILED, wire.failed(r.id, 5))],
    "an errno that is none": lambda r, s, c: [(wire.FAILED, wire.failed(r.id, 1 << 40))],
    "unknown flags": lambda r, s, c: [answered(r, s, c, flags=64)],
    "unread, and yet here": lambda r, s, c: [answered(r, s, c, flags=4)],
    "attributes out of order": lambda r, s, c: [answered(r, s, c, details=xattrs((b"user.b", b"1"), (b"user.a", b"2")))],
    "an attribute twice": lambda r, s, c: [answered(r, s, c, details=xattrs((b"user.a", b"1"), (b"user.a", b"2")))],
    "an attribute without a name": lambda r, s, c: [answered(r, s, c, details=xattrs((b"", b"1")))],
    "an attribute's name with NUL": lambda r, s, c: [answered(r, s, c, details=xattrs((b"user.\0a", b"1")))],
    "attributes above their bound": lambda r, s, c: [answered(r, s, c, details=xattrs(*((b"user.%02d" % n, b"x" * 60_000) for n in range(10))))],
    "an attribute above its bound": lambda r, s, c: [answered(r, s, c, details=xattrs((b"user.a", b"x" * 65_537)))],
    "an owner's name above its bound": lambda r, s, c: [answered(r, s, c, details=Details(owner=b"o" * 256))],
    "extents outside the file": lambda r, s, c: [answered(r, s, c, details=Details(sparse=True, extents=[(0, 1 << 30)]))],
    "extents that touch": lambda r, s, c: [answered(r, s, c, details=Details(sparse=True, extents=[(0, 4), (4, 4)]))],
    "a payload cut off": lambda r, s, c: [(wire.FILE, wire.file(r.id, s, wire.HERE, sha(c), c)[:12])],
    "a second greeting": lambda r, s, c: [(wire.HELLO, wire.hello())],
    "output when no command runs": lambda r, s, c: [(wire.OUTPUT, b"boo")],
    "a server's message": lambda r, s, c: [(wire.FETCH, wire.fetch([r]))],
    "an unknown message": lambda r, s, c: [(0x7E, b"")],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_cannot_be(served, name):
    play = Answers(ANSWERS[name])
    attack(served, play)
    assert play.made, "the harness was not asked for the file"


def test_an_honest_agent_after_all_of_it(served):
    """With the very change that the dishonest ones answered, and with the answers that may be: streamed, in pieces, with a restart."""
    play = Answers(lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, 0, b"void")), (wire.RESTART, wire.only(r.id)),
                                            (wire.DATA, wire.data(r.id, 0, c[:7])), (wire.DATA, wire.data(r.id, 7, c[7:]))))
    served.with_agent(play, served.run)
    assert (served.newest().tree / "data/one").read_bytes() == b"changed content"
    served.check()


def test_frames_that_cannot_be(served):
    def frames(data):
        class Sends(wire.Honest):
            features = 1

            def list(self, _payload):
                self.connection.send_raw(data)
                wire.wait_for_the_end(self.connection)
                raise wire.Gone
        return Sends(FILES)

    bomb = alphabet.pack(bytes(1 << 30), 1)
    # A frame whose header states little and whose blocks hold much: the stated size is byte 6 of a single-segment frame's header.
    listing = wire.entries([("", ROOT)])
    for name, data in {
        "too large": struct.pack("<IB", (1 << 20) + 1, wire.ENTRIES) + b"x" * 100,
        "4 GiB": struct.pack("<IB", (1 << 32) - 1, wire.ENTRIES) + b"x" * 100,
        "unknown type": wire.frame(0x55, b"x"),
        "unknown packed type": wire.frame(0x55 | wire.PACKED, alphabet.pack(b"x")),
        "packed, but no Zstandard": wire.frame(wire.ENTRIES | wire.PACKED, listing),
        "packed, cut off": wire.frame(wire.ENTRIES | wire.PACKED, alphabet.pack(listing * 50)[:-4]),
        "packed, with bytes after it": wire.frame(wire.ENTRIES | wire.PACKED, alphabet.pack(listing) + b"more"),
        "two packed in one": wire.frame(wire.ENTRIES | wire.PACKED, alphabet.pack(listing) * 2),
        "a bomb of 1 GiB": wire.frame(wire.ENTRIES | wire.PACKED, bomb),
        "just above the bound, packed": wire.frame(wire.ENTRIES | wire.PACKED, alphabet.pack(bytes((1 << 20) + 1))),
        "empty, packed": wire.frame(wire.ENTRIES | wire.PACKED, b""),
    }.items():
        assert len(data) < (1 << 20) + 10, name
        done = attack(served, frames(data))
        assert done.seconds < 20, name


def test_packed_frames_that_were_not_agreed(served):
    class Packs(wire.Honest):
        def list(self, _payload):
            self.connection.send(wire.ENTRIES | wire.PACKED, alphabet.pack(wire.entries([("", ROOT)])))
            wire.wait_for_the_end(self.connection)
            raise wire.Gone

    attack(served, Packs(FILES), "not agreed")


def test_greetings_that_cannot_be(served):
    class Greets(wire.Honest):
        def __init__(self, *frames):
            super().__init__(FILES)
            self.frames = frames

        def greet(self):
            self.connection.receive()
            for frame in self.frames:
                self.connection.send(*frame)

    attack(served, Greets((wire.HELLO, wire.hello(version=2))), "protocol 2", "upgrade")
    attack(served, Greets((wire.HELLO, b"SYNCROPX" + bytes(wire.hello()[8:]))))
    attack(served, Greets((wire.HELLO, wire.hello(software="s" * 256))))
    attack(served, Greets((wire.HELLO, b"")))
    attack(served, Greets((wire.LISTED, wire.listed(0, 0, []))))
    # What an agent says of a failure is shown as it is meant, and cannot move the terminal's cursor.
    error = Writer().unsigned(77).string("no \x1b[2J\nentry").string("ask \x07 nicely").bytes
    before = served.state()
    done = served.with_agent(Greets((wire.ERROR, error)), lambda: served.server("-H"))
    assert_one_line(done, 77, r"no \x1b[2J\nentry", r"ask \x07 nicely")
    assert served.state() == before
    attack(served, Greets((wire.ERROR, Writer().unsigned(1_000).string("x").string("").bytes)))
    # Only a server knows what it has published, recorded, or found damaged.
    for status in (0, 1, 2, 3, 4, 6, 65, 70, 73, 99):
        attack(served, Greets((wire.ERROR, Writer().unsigned(status).string("the dataset is published").string("").bytes)))


def test_an_agent_that_hangs_up_in_order(served):
    """The orderly end of a TCP stream is no success either, wherever it comes."""
    class Leaves(wire.Honest):
        def __init__(self, where):
            super().__init__(FILES)
            self.where = where

        def greet(self):
            if self.where == "greeting":
                self.connection.receive()
                raise wire.Gone
            super().greet()

        def list(self, payload):
            if self.where == "listing":
                raise wire.Gone
            super().list(payload)
            if self.where == "after the listing":
                raise wire.Gone

    for where in ("greeting", "listing"):
        attack(served, Leaves(where))


def test_root_looks_into_a_repository_as_its_owner(lab):
    """What the owner can plant there gets the owner's privileges and no others."""
    with harness.World(lab) as world:
        trees.small(world.source)
        world.client("a", world.agent().where)
        world.init().run()
        engine, catalog = world.repository / ".syncropy/firebird", world.repository / ".syncropy/catalog.fdb"
        target = os.readlink(engine / "intl")
        (engine / "intl").unlink()
        (engine / "intl").symlink_to(world.store)
        row, = (json.loads(line) for line in world.syncropy("list", "--json", user=()).out.splitlines())
        assert row["recorded"] is True and os.readlink(engine / "intl") == target
        assert world.syncropy("sql", "SELECT COUNT(*) FROM files", user=()).lines == []
        assert all(path.stat(follow_symlinks=False).st_uid == harness.SERVER for path in engine.iterdir())
        (engine / "intl").unlink()
        (engine / "intl").mkdir()
        assert_one_line(world.execute("syncropy", "-c", world.configuration, "sql", "SELECT COUNT(*) FROM files", user=()), 73, "intl", program="syncropy")
        (engine / "intl").rmdir()
        # Root could read this; its owner cannot any more.
        os.chown(catalog, 0, 0)
        catalog.chmod(0o600)
        row, = (json.loads(line) for line in world.syncropy("list", "--json", user=()).out.splitlines())
        assert row["recorded"] is None


# --- the agent


@pytest.fixture(scope="module")
def agent(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        trees.write(world.source / "large", trees.filler(3 << 20))
        world.running = world.plain_agent(policy={"read": [str(world.source)], "deny": [str(world.source / "folder3")]})
        yield world


def connect(world, features=0):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(world.running.address))
    connection = wire.Connection(sock)
    connection.send(wire.HELLO, wire.hello(features=features))
    assert connection.receive()[0] == wire.HELLO
    return connection


def ends(connection):
    """Whatever the agent says more until it hangs up, or says that it fails: then it waits for us to."""
    said = []
    try:
        while not said or said[-1][0] != wire.ERROR:
            said.append(connection.receive())
        return said
    except wire.Gone:
        return said
    finally:
        connection.close()


def ask(world, *requests):
    """The answers to fetch requests on one connection."""
    connection = connect(world)
    connection.send(wire.FETCH, wire.fetch(list(requests)))
    answers = [connection.receive() for _ in requests]
    connection.close()
    return answers


def inside(world, path):
    return str(world.source / path)[1:].encode()


def test_agent_gives_nothing_that_its_policy_does_not(agent):
    """By fetch alone, without a listing before it, through links and past what is denied."""
    (agent.source / "to-etc").symlink_to("/etc")
    (agent.source / "to-passwd").symlink_to("/etc/passwd")
    for path, type in ((b"etc/passwd", REGULAR), (inside(agent, "to-etc/passwd"), REGULAR), (inside(agent, "to-passwd"), REGULAR),
                       (inside(agent, "folder3/sub0/file003"), REGULAR), (inside(agent, "folder3"), FOLDER), (b"etc", FOLDER), (b"proc/self/environ", REGULAR)):
        (type_, payload), = ask(agent, wire.Request(1, path, type, True))
        assert type_ == wire.FAILED, path
    (type_, payload), = ask(agent, wire.Request(1, inside(agent, "top"), REGULAR, True))
    assert type_ == wire.FILE and wire.get_file(payload).body == b"the top\n"


def test_agent_opens_no_fifo_and_nothing_of_the_kernel(agent, lab):
    """A writer that waits for a reader is not let go of by a request for a 'regular file'."""
    fifo = agent.source / "fifo"
    os.mkfifo(fifo, 0o666)
    writer = subprocess.Popen(["sh", "-c", 'exec 3>"$0"', fifo])
    try:
        for _ in range(20):
            (type_, payload), = ask(agent, wire.Request(1, inside(agent, "fifo"), REGULAR, True))
            assert type_ == wire.FAILED and alphabet.Reader(payload[1:]).unsigned() == 4_095
        time.sleep(0.3)
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
        fifo.unlink()
    with harness.World(lab) as world:
        world.running = world.plain_agent()
        (type_, payload), = ask(world, wire.Request(1, b"proc/version", REGULAR, True))
        assert type_ == wire.FAILED and alphabet.Reader(payload[1:]).unsigned() == errno.EACCES
        # What was asked for by name is read.
        connection = connect(world)
        connection.send(wire.LIST, wire.list_request([b"proc/version"]))
        while connection.receive()[0] != wire.LISTED:
            pass
        connection.send(wire.FETCH, wire.fetch([wire.Request(1, b"proc/version", REGULAR, True)]))
        assert connection.receive()[0] in (wire.FILE, wire.BEGIN)
        connection.close()


def test_a_stale_file_is_an_unread_one(served):
    """ESTALE is a network filesystem's, and no reason to leave a file out in silence; 4,095 says that it is another thing by now."""
    for code, status in ((errno.ESTALE, 3), (4_095, 0)):
        play = Answers(lambda r, s, c, code=code: [(wire.FAILED, wire.failed(r.id, code))])
        play.stats[b"data/one"].ctime += code
        done = served.with_agent(play, lambda: served.server("-H"))
        assert done.status == status and play.made, done
        assert (b"data/one" in served.newest().entries()) == (code == errno.ESTALE)


def test_agent_refuses_paths_that_cannot_be(agent):
    for path in (b"..", b"../etc/passwd", inside(agent, "folder0") + b"/../../../../etc/passwd", b"/etc/passwd", b"a//b", b"a\0b", b"n" * 256, b"."):
        connection = connect(agent)
        connection.send(wire.FETCH, wire.fetch([wire.Request(1, path, REGULAR, True)]))
        assert all(type != wire.FILE for type, _ in ends(connection))
        connection = connect(agent)
        connection.send(wire.LIST, wire.list_request([path]))
        assert all(type not in (wire.ENTRIES, wire.LISTED) for type, _ in ends(connection))


BAD_FRAMES = {
    "a listing twice": [(wire.LIST, wire.list_request([b"%s"])), (wire.LIST, wire.list_request([b"%s"]))],
    "no path": [(wire.LIST, wire.list_request([]))],
    "paths out of order": [(wire.LIST, wire.list_request([b"b", b"a"]))],
    "a path inside another": [(wire.LIST, wire.list_request([b"a", b"a/b"]))],
    "too many paths": [(wire.LIST, wire.list_request([b"%06d" % n for n in range(1_001)]))],
    "credit beyond the window": [(wire.CREDIT, Writer().unsigned(65).bytes)],
    "too many requests": [(wire.FETCH, wire.fetch([wire.Request(n, b"x", REGULAR, True) for n in range(129)]))],
    "a type that is none": [(wire.FETCH, wire.fetch([wire.Request(1, b"x", 0, True)]))],
    "a block size that is none": [(wire.FETCH, wire.fetch([wire.Request(1, b"x", REGULAR, True, bytes(32), 1000, [bytes(16)])]))],
    "an agent's message": [(wire.LISTED, wire.listed(0, 0, []))],
    "a second greeting": [(wire.HELLO, wire.hello())],
    "an unknown message": [(0x7E, b"x")],
    "an empty command": [(wire.RUN, Writer().byte(1).string(b"").unsigned(5).byte(0).bytes)],
    "a command of no kind": [(wire.RUN, Writer().byte(9).string(b"x").unsigned(5).byte(0).bytes)],
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_agent_ends_a_session_that_breaks_the_protocol(agent, name):
    connection = connect(agent)
    path = str(agent.source)[1:].encode()
    before = agent.running.text()
    for type, payload in BAD_FRAMES[name]:
        try:
            connection.send(type, bytes(payload).replace(b"\x02%s", Writer().string(path).bytes))
        except wire.Gone:
            break
    ends(connection)
    harness.wait_until(lambda: "warning" in agent.running.text()[len(before):], "the agent tells of it")
    assert agent.running.runs()


def test_agent_takes_nothing_while_a_command_runs(lab):
    """A server that asks for more ends the session, and the command with it: it does not pile up work behind one that never ends."""
    with harness.World(lab) as world:
        trees.small(world.source)
        world.running = world.plain_agent(policy={"commands": "any"})
        path = inside(world, "top")
        for type, payload in ((wire.RUN, Writer().byte(1).string("true").unsigned(5).byte(0).bytes), (wire.LIST, wire.list_request([path])),
                              (wire.FETCH, wire.fetch([wire.Request(1, path, REGULAR, True)])), (wire.CREDIT, Writer().unsigned(1).bytes), (wire.BYE, b"")):
            connection = connect(world)
            connection.send(wire.RUN, Writer().byte(1).string("echo $$; exec sleep 60").unsigned(60).byte(0).bytes)
            _, output = connection.receive()
            connection.send(type, payload)
            ends(connection)
            harness.wait_until(lambda pid=int(output): not os.path.exists(f"/proc/{pid}"), "the command ends", 5)
        assert world.running.runs()


def test_agent_ends_a_session_of_bad_frames(agent):
    for data in (struct.pack("<IB", 1 << 30, wire.LIST), wire.frame(wire.LIST | wire.PACKED, alphabet.pack(bytes(1 << 28), 1)), os.urandom(1_000)):
        connection = connect(agent, features=1)
        connection.send_raw(data)
        ends(connection)
    for greeting in (wire.frame(wire.HELLO, wire.hello(version=99)), wire.frame(wire.BYE), b"GET / HTTP/1.1\r\n\r\n"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(agent.running.address))
            connection = wire.Connection(sock)
            connection.send_raw(greeting)
            said = ends(connection)
            if greeting[4] == wire.HELLO and len(greeting) > 5:
                status, text, _ = wire.get_error(said[0][1])
                assert status == 76 and "99" in text
    assert agent.running.runs()


def test_agent_serves_on(agent):
    agent.client("a", agent.running.where)
    agent.init().run()
    before = {path: node for path, node in agent.snapshot().items() if not path.startswith(b"folder3")}
    stored_paths = {path[len(inside(agent, "")) + 1:] for path in agent.newest().entries() if path.startswith(inside(agent, ""))}
    assert stored_paths == before.keys()
    stored.check_whole(agent.newest(), harness.SERVER)


def test_agent_bounds_its_connections(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        running = world.plain_agent(policy={"connections": 3})
        sockets = []
        for _ in range(3):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(running.address))
            connection = wire.Connection(sock)
            connection.send(wire.HELLO, wire.hello())
            assert connection.receive()[0] == wire.HELLO
            sockets.append(connection)
        world.client("a", running.where)
        world.init().fail(76)
        assert "connections" in running.text()
        for connection in sockets:
            connection.close()
        harness.wait_until(lambda: world.server("-H").status == 0, "there is room again")
