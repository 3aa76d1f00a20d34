"""Little said, much to do: what costs a peer some bytes must not cost the other side hours, or all its memory."""

import errno
import os
import signal
import socket
import time

import alphabet
import harness
import trees
import wire
from alphabet import Stat, Writer
from test_hostile import DIR, FILES, ROOT, Answers, attack, ended, raw_entry, served, sha, streamed  # noqa: F401

TiB = 1 << 40


def seconds_of(pid):
    """Of CPU time that a process has used."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- holes


def test_holes_of_exbibytes(served):
    for make in (lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, 1 << 62, b"x"))),
                 lambda r, s, c: streamed(r, Stat(size=1 << 62), c, (wire.DATA, wire.data(r.id, 0, b"x"))),
                 lambda r, s, c: streamed(r, Stat(size=1 << 62), c)):
        play = Answers(make)
        done = attack(served, play, "holes")
        assert play.made and done.seconds < 5


def test_a_hole_ends_with_the_session(served):
    """15 TiB are within the bound and take hours: but not for an agent that is gone."""
    class Leaves(Answers):
        def answer(self, request):
            super().answer(request)
            if self.made:
                time.sleep(0.5)
                raise wire.Gone

    play = Leaves(lambda r, s, c: [(wire.BEGIN, wire.only(r.id)), (wire.DATA, wire.data(r.id, 15 * TiB, b"x"))])
    done = attack(served, play)
    assert play.made and done.seconds < 5


def test_content_beyond_max_bytes(served):
    """Of what comes, and not only of what was listed."""
    client = served.settings["clients"]["a"]
    client["max_bytes"] = 1_000
    try:
        for make in (lambda r, s, c: streamed(r, s, c, *((wire.DATA, wire.data(r.id, 100 * n, b"x" * 100)) for n in range(20))),
                     lambda r, s, c: streamed(r, s, c, (wire.DATA, wire.data(r.id, 1_001, b"x"))),
                     lambda r, s, c: streamed(r, Stat(size=1_001), c),
                     lambda r, s, c: [(wire.FILE, wire.file(r.id, Stat(size=1_001), wire.HERE, sha(b"x" * 1_001), b"x" * 1_001))]):
            attack(served, Answers(make), "max_bytes")
        # What a restart makes void is not counted.
        content = b"y" * 500
        play = Answers(lambda r, s, c: [(wire.BEGIN, wire.only(r.id)), (wire.DATA, wire.data(r.id, 0, content)), (wire.RESTART, wire.only(r.id)),
                                        (wire.DATA, wire.data(r.id, 0, content)), (wire.RESTART, wire.only(r.id)), (wire.DATA, wire.data(r.id, 0, content)),
                                        ended(r, Stat(size=500, inode=3), content)])
        served.with_agent(play, served.run)
        assert (served.newest().tree / "data/one").read_bytes() == content
    finally:
        del client["max_bytes"]


def sparse_world(lab, size, names):
    world = harness.World(lab)
    trees.small(world.source)
    large = world.source / "mount"
    large.mkdir()
    world.mount("tmpfs", large, "tmpfs")
    for name in names:
        with open(large / name, "wb") as file:
            file.truncate(size)
    large.chmod(0o755)
    return world


def test_a_users_file_of_eight_exbibytes(lab):
    """Any user can make one: it is not read, and everything else is."""
    with sparse_world(lab, (1 << 63) - 4096, ("sparse0", "sparse1", "sparse2")) as world:
        world.client("a", world.agent().where)
        world.init()
        done = world.run(status=3)
        assert done.seconds < 10
        *warnings, summary = done.lines
        assert len(warnings) == 3 and all(f"mount/sparse{n}" in "".join(warnings) for n in range(3)) and "partial" in summary
        assert all(os.strerror(errno.EFBIG) in warning for warning in warnings)
        assert (world.newest().tree / str(world.source)[1:] / "top").read_bytes() == b"the top\n"


def test_the_agent_stops_hashing_for_a_server_that_is_gone(lab):
    with sparse_world(lab, 15 * TiB, ("sparse",)) as world:
        agent = world.agent()
        world.client("a", agent.where)
        world.init()
        for number in (signal.SIGKILL, None):
            before = seconds_of(agent.pid)
            run = world.start("-c", world.configuration, "-H")
            harness.wait_until(lambda: seconds_of(agent.pid) > before + 0.5, "it hashes")
            if number:
                run.kill(number)
                time.sleep(1)
                before = seconds_of(agent.pid)
                time.sleep(0.5)
                assert seconds_of(agent.pid) - before < 0.2
            else:
                began = time.monotonic()
                assert agent.stop() == 0
                assert time.monotonic() - began < 2
                assert run.wait(10) == 76


# --- listings


def memory_of(pid):
    """MiB that a process has in memory at most."""
    try:
        return max(int(line.split()[1]) >> 10 for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM"))
    except (OSError, ValueError):
        return 0


def peak_of(world, play, seconds):
    """What a run needs with this agent, however it ends; after so many seconds it is killed."""
    def check():
        run, peak = world.start("-c", world.configuration, "-H"), 0
        deadline = time.monotonic() + seconds
        while run.runs() and time.monotonic() < deadline:
            peak = max(peak, memory_of(run.pid))
            time.sleep(0.02)
        run.kill()
        run.wait()
        return peak

    peak = world.with_agent(play, check)
    world.with_agent(wire.Honest(FILES), world.run)  # takes away what it left
    assert peak > 0
    return peak


class Problems(wire.Honest):
    """Only problems: so many, each with a path so long."""

    features = 1

    def __init__(self, count, size, ending=True):
        super().__init__(FILES)
        self.count, self.size, self.ending = count, size, ending

    def list(self, _payload):
        payload = wire.entries(sorted(self.stats.items(), key=lambda item: alphabet.sort_key(item[0])))
        self.connection.send(wire.ENTRIES, payload)
        component = b"/" + b"x" * 200
        for start in range(0, self.count, 1_000):
            frames = b""
            for number in range(start, min(self.count, start + 1_000)):
                problem = bytes(wire.problem(b"data/%07d" % number + component * (self.size // 201)))
                frames += wire.frame(wire.PROBLEM | wire.PACKED, alphabet.pack(problem)) if self.size else wire.frame(wire.PROBLEM, problem)
            self.connection.send_raw(frames)
        if self.ending:
            self.connection.send(wire.LISTED, wire.listed(len(self.stats), self.count, [payload]))
        else:
            wire.wait_for_the_end(self.connection)
            raise wire.Gone


def test_a_flood_of_problems(served):
    """100 bytes on the wire, 60 KiB in memory."""
    assert peak_of(served, Problems(20_000, 60_000, ending=False), 10) < 150


def test_many_problems_are_told_in_few_lines(served):
    done = served.with_agent(Problems(3_000, 0), lambda: served.server("-H"))
    assert done.status == 3
    lines, together, summary = done.lines[:20], done.lines[20:-1], done.lines[-1]
    assert all("cannot open" in line and "more could not" not in line for line in lines)
    assert len(together) == 7 and all("480 more could not be read" in line for line in together[:6]) and "100 more" in together[6]
    assert "3,000" in summary and "ls -R a/hour/" in summary


def test_problems_have_a_bound(served):
    attack(served, Problems(1_000_001, 0), "1000000 problems")


# --- memory


def test_paths_that_share_all_but_their_end(served):
    """20 bytes an entry on the wire, 30,000 in memory."""
    class Deep(wire.Honest):
        def list(self, _payload):
            path, folders = b"data", [("", ROOT), ("data", DIR)]
            for _ in range(120):
                path += b"/" + b"d" * 250
                folders.append((path, DIR))
            self.connection.send(wire.ENTRIES, wire.entries(folders))
            for start in range(0, 200_000, 20_000):
                payload = raw_entry(0, path + b"/e%06d" % start)
                for number in range(start + 1, start + 20_000):
                    payload += raw_entry(len(path) + 2, b"%06d" % number)
                self.connection.send(wire.ENTRIES, payload)
            wire.wait_for_the_end(self.connection)
            raise wire.Gone

        def answer(self, request):
            pass

    assert peak_of(served, Deep(FILES), 6) < 400


def test_attributes_that_wait_for_a_file_before_them(served):
    """All is answered but the first: what was answered is kept until that is there, and so has a bound."""
    class Withholds(wire.Honest):
        features = 1

        def __init__(self):
            super().__init__({"": None, "data": None} | {f"data/{number:05}": None for number in range(3_000)})
            self.first = True
            self.acl = Writer().unsigned(8_192)
            for number in range(8_192):
                self.acl.byte(8 * 2 + 7).unsigned(number % 128).string(b"")

        def answer(self, request):
            if self.first:
                self.first = False
                return
            out = Writer().unsigned(request.id)
            alphabet.put_stat(out, self.stats[request.path])
            out.byte(0).byte(3).string(b"").string(b"").raw(self.acl.bytes).raw(self.acl.bytes).byte(0).byte(0)
            self.connection.send(wire.FILE | wire.PACKED, alphabet.pack(bytes(out.bytes)))

    assert peak_of(served, Withholds(), 10) < 800


def test_an_acl_with_an_owner_twice(served):
    def answer(request, stat, content):
        out = Writer().unsigned(request.id)
        alphabet.put_stat(out, stat)
        out.byte(0).byte(1).string(b"").string(b"").unsigned(2).raw(bytes([8 + 7, 8 + 7])).byte(wire.HERE).optional_digest(sha(content)).raw(content)
        return [(wire.FILE, bytes(out.bytes))]

    attack(served, Answers(answer), "only once")


def test_a_file_that_begins_anew_for_ever(served):
    content = b"changed content"
    play = Answers(lambda r, s, c: streamed(r, s, c, *(3 * [(wire.DATA, wire.data(r.id, 0, content)), (wire.RESTART, wire.only(r.id))]), (wire.DATA, wire.data(r.id, 0, c))))
    attack(served, play, "anew")
    assert play.made



# --- connections


def test_strangers_hold_no_place_at_the_agent(lab):
    """Three places, taken by peers that prove nothing and say that they live: a server that can prove itself is served."""
    with harness.World(lab) as world:
        trees.small(world.source)
        agent = world.agent(policy={"connections": 3})
        world.client("a", agent.where)
        world.init()
        strangers = []
        for first in (wire.frame(wire.ALIVE), b"\x16", b"\x16\x03\x01\x00\x10"):
            strangers.append(socket.create_connection(agent.address))
            strangers[-1].sendall(first)
        began = time.monotonic()
        world.run()
        left = list(strangers)
        while left and time.monotonic() < began + 14:
            for sock in list(left):
                try:
                    sock.sendall(wire.frame(wire.ALIVE) if sock is strangers[0] else b"\x00")
                    sock.settimeout(0.2)
                    if sock.recv(65536) == b"":
                        left.remove(sock)
                except TimeoutError:
                    pass
                except OSError:
                    left.remove(sock)
        assert not left, "a peer that proves nothing is let go of"
        assert agent.runs()
        world.run("day")
