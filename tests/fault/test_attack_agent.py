"""Attack by count (each of it with SYNCROPY_ATTACK=all in the environment, else a share): servers with a valid certificate that ask one long-lived agent for what they must not have, and thousands that never ask."""

import os
import re
import resource
import socket
import time

import alphabet
import harness
import trees
import wire
from alphabet import FOLDER, REGULAR, SYMLINK, Writer
from peers import connect, context
from test_attack import FORGERY, MiB_MORE, TOKEN
from test_flood import memory_of


def run_request(kind=1, command=b"true", seconds=5, succeeded=0):
    return bytes(Writer().byte(kind).string(command).unsigned(seconds).byte(succeeded).bytes)


def evil_paths(source, outside):
    """Spellings of what lies outside of what the policy lets be read, and of what cannot be a path."""
    inside, other = str(source)[1:], str(outside)[1:]
    up = "/.." * (len(source.parts) + 1)
    yield from (other, f"{other}/sentinel", "etc/shadow", "etc/passwd", "proc/self/environ", "proc/1/root/etc/passwd", "dev/zero", "..", ".", "/", "/etc/passwd", inside + up + "/etc/passwd",
                f"{inside}/../outside/sentinel", f"{inside}/./top", f"{inside}//top", f"{inside}/", f"{inside}/to-outside/sentinel", f"{inside}/to-outside", f"{inside}/to-sentinel",
                f"{inside}/denied/sentinel", f"{inside}/denied", f"{inside}/denied/../top", f"{inside}/top/..", f"{inside}/top/x", f"{inside}\0/top", inside + "x/top", inside[:-1],
                f"{inside}/" + "n" * 256, f"{inside}" + "/d" * 1_001, f"{inside}/" + "x" * 65_536)
    yield f"{inside}/".encode() + FORGERY


def evil_sessions(source, outside):
    """(name, frames, raw bytes after them)"""
    inside = str(source)[1:].encode()
    for path in evil_paths(source, outside):
        path = path.encode() if isinstance(path, str) else path
        for type in (REGULAR, FOLDER, SYMLINK):
            yield f"fetch {path[-40:]} as {type}", [(wire.FETCH, wire.fetch([wire.Request(1, path, type, True)]))], b""
        yield f"list {path[-40:]}", [(wire.LIST, wire.list_request([path]))], b""
        yield f"exclude {path[-40:]}", [(wire.LIST, wire.list_request([inside], [path]))], b""
        yield f"run {path[-40:]}", [(wire.RUN, run_request(command=path))], b""
    good = {wire.LIST: bytes(wire.list_request([inside], ["*.o", "/a/**/b"])), wire.RUN: run_request(),
            wire.FETCH: bytes(wire.fetch([wire.Request(1, inside + b"/top", REGULAR, True, bytes(32), 1 << 20, [bytes(16)] * 2)]))}
    for type, payload in good.items():
        tail = range(max(0, len(payload) - 40), len(payload))
        for at in tail:
            yield f"{type:#x} cut at byte {at}", [(type, payload[:at])], b""
        for at in (*range(4), *tail):
            for change in (0x01, 0x80, 0xFF):
                yield f"{type:#x} with byte {at} changed by {change:#x}", [(type, payload[:at] + bytes([payload[at] ^ change]) + payload[at + 1:])], b""
        yield f"{type:#x} with bytes after it", [(type, payload + b"x")], b""
    for type in range(0x00, 0x80):
        if type not in (wire.BYE, wire.ALIVE, wire.ERROR):
            for before in ([], [(wire.LIST, good[wire.LIST])]):
                yield f"message {type:#x} after {len(before)}", [*before, (type, b"\xff" * 9)], b""
    for size in ((1 << 20) + 1, 1 << 24, 1 << 28):
        for type in (wire.LIST, wire.FETCH, wire.RUN):
            yield f"{size} bytes packed as {type:#x}", [(type | wire.PACKED, alphabet.pack(bytes(size), 1))], b""
    for length in ((1 << 20) + 1, 1 << 31, (1 << 32) - 1):
        yield f"a frame of {length} bytes", [], length.to_bytes(4, "little") + bytes([wire.LIST]) + b"x" * 1_000
    for pattern in (b"*a" * 2_000, b"[" * 4_000, b"**/" * 1_300 + b"x", b"?*" * 2_000 + b"b", b"\\" * 4_096, b"[[:alpha:]" * 400):
        yield f"patterns of {pattern[:12]}", [(wire.LIST, wire.list_request([inside], [pattern] * 50))], b""


def test_evil_servers(lab):
    """The agent goes on, gives nothing of what lies outside, and its log has no line that a server has forged."""
    with harness.World(lab) as world:
        trees.small(world.source)
        outside = world.folder / "outside"
        trees.write(outside / "sentinel", TOKEN)
        trees.write(world.source / "denied/sentinel", TOKEN)
        (world.source / "to-outside").symlink_to(outside)
        (world.source / "to-sentinel").symlink_to(outside / "sentinel")
        agent = world.agent(policy={"read": [str(world.source)], "deny": [str(world.source / "denied")]})
        world.client("a", agent.where)
        world.init().run()
        normal = memory_of(agent.pid)
        tls = context(lab.pki.server, lab.pki.ca, as_server=False)
        said, slowest = bytearray(), (0, "")
        count = 0
        every = list(evil_sessions(world.source, outside))
        for name, frames, raw in every if os.environ.get("SYNCROPY_ATTACK") == "all" else every[::4]:
            began = time.monotonic()
            connection = connect(agent.address, tls)
            connection.send(wire.HELLO, wire.hello(features=1, host=FORGERY))
            assert connection.receive()[0] == wire.HELLO, name
            count += 1
            try:
                for type, payload in frames:
                    connection.send(type, bytes(payload))
                if raw:
                    connection.send_raw(raw)
                # What is answered in order needs an end; what is not has ended the session by then.
                connection.send(wire.BYE)
                while True:
                    type, payload = connection.receive()
                    said += payload
                    if type == wire.ERROR:
                        break
            except wire.Gone:
                pass
            connection.close()
            slowest = max(slowest, (time.monotonic() - began, name))
        assert agent.runs()
        assert TOKEN not in said and b"root:" not in said
        for line in agent.text().splitlines():
            assert re.match("(<[0-7]>)?syncropy-agent: ", line) and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", line), repr(line)
        peak = memory_of(agent.pid)
        assert peak <= normal + MiB_MORE, f"{peak} MiB, and {normal} after an honest run"
        print(f"{count} evil requests, {peak} MiB at most, {normal} MiB with an honest server; the longest took {slowest[0]:.2f} s: {slowest[1]}")
        assert count >= 100 and slowest[0] < 10
        world.run()
        assert TOKEN not in b"".join(path.read_bytes() for path in world.newest().tree.rglob("*") if path.is_file() and not path.is_symlink())


def test_a_thousand_that_say_nothing(lab):
    """Or half a greeting of TLS: a good server is served within a second beside them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    try:
        with harness.World(lab) as world:
            trees.small(world.source)
            agent = world.agent()
            tls = context(lab.pki.server, lab.pki.ca, as_server=False)
            inside = str(world.source)[1:].encode()

            def served():
                """Seconds until a good server has a listing."""
                began = time.monotonic()
                connection = connect(agent.address, tls)
                connection.send(wire.HELLO, wire.hello())
                assert connection.receive()[0] == wire.HELLO
                connection.send(wire.LIST, wire.list_request([inside]))
                while connection.receive()[0] != wire.LISTED:
                    pass
                connection.send(wire.BYE)
                connection.close()
                return time.monotonic() - began

            served()
            normal, stalled, waits = memory_of(agent.pid), [], []
            for number in range(1_000):
                sock = socket.socket()
                sock.setblocking(False)
                try:
                    sock.connect(agent.address)
                except BlockingIOError:
                    pass
                stalled.append(sock)
                if number % 100 == 99:
                    for some in stalled[-100::2]:
                        try:
                            some.send(b"\x16\x03\x01\x02\x00\x01")
                        except OSError:  # it had to make way already
                            pass
                    waits.append(served())
            peak = memory_of(agent.pid)
            print(f"{len(stalled)} stalled connections, {len(waits)} good ones: {max(waits):.2f} s at most; {peak} MiB at most, {normal} before")
            assert len(stalled) == 1_000 and len(waits) == 10
            assert max(waits) < 1
            assert peak <= normal + MiB_MORE
            for sock in stalled:
                sock.close()
            assert served() < 1 and agent.runs()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
