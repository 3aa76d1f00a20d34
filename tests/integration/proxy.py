"""Between a server and an agent: counts what goes through, and cuts where it is told."""

import socket
import struct
import threading


class Proxy:
    """Listens on loopback TCP, or on a unix socket when `path` is given, and forwards to `target` (an address tuple or a socket's path).

    Directions are "out" (server to agent) and "in" (agent to server). `bytes` counts what was forwarded of each in the last connection.
    `cut` may be a function of (direction, bytes of it so far, piece) that returns how much of the piece still passes; less than all of it, and both
    connections are ended.
    """

    def __init__(self, target, path=None, cut=None):
        self.target, self.path, self.cut = target, path, cut
        self.bytes = {"out": 0, "in": 0}
        self.connections = self.cuts = 0
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.listener.bind(str(path) if path else ("127.0.0.1", 0))
        if path:
            path.chmod(0o666)
        self.listener.listen()
        self.port = None if path else self.listener.getsockname()[1]
        self.open, self.pumps = [], []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                server, _ = self.listener.accept()
            except OSError:
                return
            agent = socket.socket(socket.AF_INET if isinstance(self.target, tuple) else socket.AF_UNIX)
            try:
                agent.connect(self.target if isinstance(self.target, tuple) else str(self.target))
            except OSError:
                server.close()
                continue
            self.connections += 1
            self.bytes = {"out": 0, "in": 0}
            self.open = [server, agent]
            lock = threading.Lock()
            pumps = [threading.Thread(target=self._pump, args=(*pair, lock), daemon=True) for pair in ((server, agent, "out"), (agent, server, "in"))]
            for pump in pumps:
                pump.start()
            self.pumps = pumps  # wait() may join them from here on

    def _pump(self, source, sink, direction, lock):
        counts = self.bytes
        try:
            while piece := source.recv(1 << 18):
                with lock:
                    passes = len(piece) if self.cut is None else self.cut(direction, counts[direction], piece)
                    counts[direction] += passes
                    sink.sendall(piece[:passes])
                    if passes < len(piece):
                        self.cuts += 1
                        self.hang_up()
                        return
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def hang_up(self):
        for sock in self.open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait(self):
        """Until the last connection is through."""
        for pump in self.pumps:
            pump.join(30)
            assert not pump.is_alive()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.hang_up()
        self.thread.join(10)
        if self.path:
            self.path.unlink()


class FrameCounter:
    """A `cut` for the plain protocol that understands frames: lets `whole` frames of `direction` pass and then `part` bytes of the next.
    With `whole` None it only counts, in `seen`."""

    def __init__(self, direction, whole=None, part=0):
        self.direction, self.whole, self.part = direction, whole, part
        self.seen = 0            # frames that passed whole
        self.types = []
        self.pending = bytearray()

    def __call__(self, direction, _, piece):
        if direction != self.direction:
            return len(piece)
        passed = len(self.pending)  # an unfinished frame's beginning, forwarded already
        self.pending += piece
        at, passes = 0, len(piece)
        while True:
            if self.seen == self.whole:
                passes = max(0, min(len(piece), at + self.part - passed))
                break
            if len(self.pending) - at < 5:
                break
            length, type = struct.unpack_from("<IB", self.pending, at)
            if len(self.pending) - at < 5 + length:
                break
            self.seen += 1
            self.types.append(type & 0x7F)
            at += 5 + length
        del self.pending[:at]
        return passes
