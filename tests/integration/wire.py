"""The frames and messages of syncropy-protocol(7), written from that page alone; agents and servers that do what no honest one does."""

import dataclasses
import hashlib
import os
import socket
import struct
import threading

import alphabet
from alphabet import Details, Malformed, Reader, Stat, Writer

HELLO, ERROR, BYE, ALIVE = 0x01, 0x02, 0x03, 0x04
RUN, OUTPUT, RAN = 0x10, 0x11, 0x12
LIST, ENTRIES, PROBLEM, LISTED, CREDIT = 0x20, 0x21, 0x22, 0x23, 0x24
FETCH, FILE, BEGIN, DATA, KEEP, RESTART, END, FAILED = 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37
PACKED = 0x80
MOST = 1 << 20
NONE, SAME, HERE, STREAMED = range(4)


def frame(type, payload=b""):
    return struct.pack("<IB", len(payload), type) + payload


class Gone(Exception):
    """The other side has ended the connection."""


class Connection:
    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(60)

    def exactly(self, count):
        data = bytearray()
        while len(data) < count:
            try:
                piece = self.sock.recv(count - len(data))
            except ConnectionError:
                piece = b""
            if not piece:
                raise Gone
            data += piece
        return bytes(data)

    def receive(self):
        """The next frame that is not `alive`: its type and payload, unpacked."""
        while True:
            length, type = struct.unpack("<IB", self.exactly(5))
            if length > MOST:
                raise Malformed("a frame that is too large")
            payload = self.exactly(length)
            if type & PACKED:
                type, payload = type & ~PACKED, alphabet.unpack(payload)
            if type != ALIVE:
                return type, payload

    def send(self, type, payload=b""):
        self.send_raw(frame(type, payload))

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except ConnectionError:
            raise Gone from None

    def close(self):
        self.sock.close()


def hello(version=1, features=0, software="a test", host="nowhere"):
    return Writer().raw(b"SYNCROPY").unsigned(version).unsigned(features).string(software).string(host).bytes


def get_hello(payload):
    data = Reader(payload)
    assert data.raw(8) == b"SYNCROPY"
    greeting = data.unsigned(), data.unsigned(), data.string(), data.string()
    data.expect_end()
    return greeting


def get_error(payload):
    data = Reader(payload)
    message = data.unsigned(), data.string().decode(), data.string().decode()
    data.expect_end()
    return message


def list_request(paths, patterns=(), one_filesystem=False, depth=1000):
    out = Writer().unsigned(len(paths))
    for path in paths:
        out.string(path)
    out.unsigned(len(patterns))
    for pattern in patterns:
        out.string(pattern)
    return out.byte(one_filesystem).unsigned(depth).bytes


def get_list(payload):
    data = Reader(payload)
    paths = [data.string() for _ in range(data.unsigned())]
    patterns = [data.string() for _ in range(data.unsigned())]
    request = paths, patterns, data.byte(), data.unsigned()
    data.expect_end()
    return request


def entries(listed):
    """The payload for a list of (path, Stat) or (path, Stat, unread)."""
    out, previous = Writer(), b""
    for path, stat, *unread in listed:
        path = os.fsencode(path)
        alphabet.put_path(out, path, previous)
        alphabet.put_stat(out, stat)
        out.byte(1 if unread and unread[0] else 0)
        previous = path
    return bytes(out.bytes)


def get_entries(payload):
    data, previous, listed = Reader(payload), b"", []
    while not data.at_end:
        previous = alphabet.get_path(data, previous)
        listed.append((previous, alphabet.get_stat(data), data.byte()))
    return listed


def problem(path, code=5, tried="open"):
    return Writer().string(os.fsencode(path)).string(tried).unsigned(code).bytes


def listed(count, problems, payloads):
    return Writer().unsigned(count).unsigned(problems).raw(hashlib.sha256(b"".join(payloads)).digest()).bytes


@dataclasses.dataclass
class Request:
    id: int
    path: bytes
    type: int
    acl: bool
    known: bytes = None
    block_bytes: int = 0
    blocks: list = dataclasses.field(default_factory=list)


def fetch(requests):
    out, previous = Writer().unsigned(len(requests)), b""
    for request in requests:
        out.unsigned(request.id)
        alphabet.put_path(out, request.path, previous)
        out.byte(2 * request.type + request.acl).optional_digest(request.known).unsigned(len(request.blocks))
        if request.blocks:
            out.unsigned(request.block_bytes).raw(b"".join(request.blocks))
        previous = request.path
    return out.bytes


def get_fetch(payload):
    data, previous, requests = Reader(payload), b"", []
    for _ in range(data.unsigned()):
        id, previous, head = data.unsigned(), alphabet.get_path(data, previous), data.byte()
        request = Request(id, previous, head // 2, bool(head % 2), data.optional_digest())
        if count := data.unsigned():
            request.block_bytes = data.unsigned()
            request.blocks = [data.raw(16) for _ in range(count)]
        requests.append(request)
    data.expect_end()
    return requests


def file(id, stat, content=NONE, digest=None, body=b"", flags=0, details=None):
    """The payload of `file` and of `end`."""
    out = Writer().unsigned(id)
    alphabet.put_stat(out, stat)
    out.byte(flags)
    alphabet.put_details(out, details or Details(), stat.type)
    return bytes(out.byte(content).optional_digest(digest).raw(body).bytes)


@dataclasses.dataclass
class Answer:
    id: int
    stat: Stat
    flags: int
    details: Details
    content: int
    digest: bytes
    body: bytes


def get_file(payload):
    data = Reader(payload)
    id, stat, flags = data.unsigned(), alphabet.get_stat(data), data.byte()
    answer = Answer(id, stat, flags, alphabet.get_details(data, stat), data.byte(), data.optional_digest(), b"")
    answer.body = data.raw(len(data.data) - data.at)
    return answer


def data(id, offset, content):
    return Writer().unsigned(id).unsigned(offset).raw(content).bytes


def keep(id, offset, length):
    return Writer().unsigned(id).unsigned(offset).unsigned(length).bytes


def failed(id, code, tried="open"):
    return Writer().unsigned(id).unsigned(code).string(tried).bytes


def only(id):
    """begin, restart."""
    return Writer().unsigned(id).bytes


class FakeAgent:
    """Listens on a unix socket and serves each connection by play(Connection). What play() raises is kept for the test, except that a server
    that hangs up is no failure."""

    def __init__(self, path, play):
        self.path, self.play, self.failures, self.served = path, play, [], 0
        self.listener = self._listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _listen(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        self.path.chmod(0o666)
        listener.listen()
        return listener

    def _connected(self, sock):
        return Connection(sock)

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.served += 1
            with sock:
                try:
                    connection = self._connected(sock)
                    try:
                        self.play(connection)
                    finally:
                        connection.close()
                except Gone:
                    pass
                except Exception as failure:  # the test's own mistakes must not look like the server's
                    self.failures.append(failure)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        if self.path:
            self.path.unlink()
        assert not self.failures, self.failures


def wait_for_the_end(connection):
    """Reads on until the server hangs up: closing first would cut off what it has yet to read."""
    try:
        while True:
            connection.receive()
    except (Gone, Malformed, OSError):
        pass


class Honest:
    """An agent of a few files that are not on any disk: path → bytes (a regular file), None (a folder). Steps may be overridden."""

    features = 0  # that it grants

    def __init__(self, files):
        self.content = {os.fsencode(path): content for path, content in files.items()}
        self.stats = {}
        for number, (path, content) in enumerate(sorted(self.content.items(), key=lambda item: alphabet.sort_key(item[0])), 1):
            self.stats[path] = Stat(type=alphabet.FOLDER, mode=0o755, inode=number) if content is None else Stat(size=len(content), inode=number)

    def __call__(self, connection):
        self.connection = connection
        self.greet()
        while True:
            type, payload = connection.receive()
            if type == BYE:
                return
            if type == LIST:
                self.list(payload)
            elif type == FETCH:
                for request in get_fetch(payload):
                    self.answer(request)

    def greet(self):
        type, payload = self.connection.receive()
        assert type == HELLO and get_hello(payload)[0] == 1
        self.connection.send(HELLO, hello(features=self.features))

    def list(self, _payload):
        payload = entries(sorted(self.stats.items(), key=lambda item: alphabet.sort_key(item[0])))
        self.connection.send(ENTRIES, payload)
        self.connection.send(LISTED, listed(len(self.stats), 0, [payload]))

    def answer(self, request):
        stat, content = self.stats[request.path], self.content[request.path]
        if content is None:
            return self.connection.send(FILE, file(request.id, stat))
        return self.connection.send(FILE, file(request.id, stat, HERE, hashlib.sha256(content).digest(), content))
