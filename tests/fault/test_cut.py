"""The way between server and agent is cut or falls silent at places that chance chooses, and at each frame: nothing half is ever visible, each side gives
the other up in the time that its configuration says, and the next run succeeds. test_connection.py has each frame's cuts and the single stalls."""

import socket
import threading

import pytest

import harness
import share
import starving
import stored
import trees
import wire
from harness import assert_one_line
from proxy import FrameCounter, Proxy

STALL = 1  # seconds of silence


class StallingProxy:
    """Between a server and an agent on unix sockets: forwards whole frames of a direction up to a count, and then nothing of it."""

    def __init__(self, target, path, direction, frames):
        self.target, self.direction, self.frames, self.stalled, self.path = target, direction, frames, False, path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        path.chmod(0o666)
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                server, _ = self.listener.accept()
            except OSError:
                return
            agent = socket.socket(socket.AF_UNIX)
            agent.connect(str(self.target))
            for source, sink, direction in ((server, agent, "out"), (agent, server, "in")):
                threading.Thread(target=self._pump, args=(source, sink, direction), daemon=True).start()

    def _pump(self, source, sink, direction):
        counter = FrameCounter(direction, self.frames) if direction == self.direction else None
        try:
            while piece := source.recv(1 << 18):
                passes = len(piece)
                if counter and not self.stalled:
                    passes = counter(direction, 0, piece)
                    self.stalled = passes < len(piece)
                elif counter:
                    passes = 0
                sink.sendall(piece[:passes])
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.path.unlink()


def test_cut_at_random_bytes_of_tls(lab):
    """1,000 of them; in CI a share."""
    wanted = share.count(1_000, 24)
    starved = starving.Starved(lab, large=False)
    try:
        world = starved.world
        proxy = world.keep(Proxy(starved.agent.address))
        world.settings["clients"]["a"]["port"] = proxy.port
        chance = share.chance("bytes")
        cuts = tried = 0
        totals = {}
        while cuts < wanted:
            assert tried < 3 * wanted + 50, f"{cuts} of {tried} runs were cut"
            if tried % 100 == 0:  # how much passes
                starved.change()
                world.run()
                proxy.wait()
                totals = dict(proxy.bytes)
            tried += 1
            direction = chance.choice(("in", "out"))
            place = chance.randrange(totals[direction])
            starved.change()
            before, snapshot = world.state(), world.snapshot()
            proxy.cuts = 0
            proxy.cut = lambda way, passed, piece: len(piece) if way != direction else max(0, min(len(piece), place - passed))
            done = world.server("-H")
            proxy.wait()
            proxy.cut = None
            cuts += proxy.cuts
            where = f"cut at byte {place} of {totals[direction]} {direction}, seed {share.SEED}: {done}"
            if done.status == 0:
                # The run was over: the farewell was cut, or there were fewer bytes than before. Each run says a little more or less than the last.
                assert not proxy.cuts or place > totals[direction] * 3 // 4, where
                stored.check_is(world.newest(), world.source, snapshot)
            else:
                assert proxy.cuts, where
                assert_one_line(done, 76, "127.0.0.1")
                assert world.state() == before, where
            if tried % 25 == 0:
                starved.succeeds_next(done)
        starved.succeeds_next(done)
        world.check()
        share.tell("bytes of TLS", tried=tried, cut=cuts)
    finally:
        starved.close()


def frames_of(world, agent, direction):
    """How many frames a first run has in one direction."""
    proxy = world.keep(Proxy(agent.address, path=world.folder / "counting.socket"))
    proxy.cut = counter = FrameCounter(direction)
    world.settings["clients"] = {}
    world.client("counted", {"host": str(world.folder / "counting.socket"), "ssl": False})
    world.run()
    proxy.wait()
    return counter.types


@pytest.mark.parametrize("direction", ["in", "out"])
def test_silence_after_each_frame(lab, direction):
    """All frames in one run, each a client of its own: every one is given up in its time, by the side that hears nothing any more."""
    with harness.World(lab) as world:
        trees.small(world.source, files=4)
        trees.write(world.source / "streamed", trees.filler(700_000))
        agent = world.plain_agent(policy={"stall_timeout": STALL, "connections": 200})
        world.client("counted", agent.where)
        world.init()
        types = frames_of(world, agent, direction)
        places = range(len(types))
        world.settings["general"]["parallel"] = len(types)
        world.settings["clients"] = {}
        proxies = []
        for frames in places:
            path = world.folder / f"stall{frames}.socket"
            proxies.append(world.keep(StallingProxy(agent.address, path, direction, frames)))
            world.client(f"c{frames}", {"host": str(path), "ssl": False}, stall_timeout=STALL)
        done = world.server("-H")
        whole = failed = 0
        for frames in places:
            lines = [line for line in starving.errors_of(done) if f": c{frames}: " in line]
            published = (world.repository / f"c{frames}/hour").exists() and list((world.repository / f"c{frames}/hour").iterdir())
            if not lines:
                # The last frames: the server had all it needed.
                assert published and types[frames] in (wire.BYE, wire.CREDIT), f"silence after {frames} frames ({types[frames]:#x} is next): {done}"
                stored.check_whole(world.newest(f"c{frames}"), harness.SERVER)
                whole += 1
            else:
                assert len(lines) == 1 and not published, f"silence after {frames} frames: {done}"
                failed += 1
        assert done.status == 76 and done.seconds < 10 * STALL + 5, done
        # The agent goes on.
        world.settings["clients"] = {}
        world.client("c0", agent.where)
        world.run()
        share.tell(f"silence, {direction}", frames=len(types), stalled=sum(proxy.stalled for proxy in proxies), given_up=failed)
