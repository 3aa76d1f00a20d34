"""Attack by count: agents with a valid certificate that send every mutation at every place, to one long-lived server (each of it with
SYNCROPY_ATTACK=all in the environment, else a third).

Each table is mutations times positions; what was played is counted and printed, and too few are a failure. What is outside of a source or a
repository is never read and never written, memory stays within 64 MiB of what an honest session takes, and the logs hold no line that the
peer has forged.
"""

import hashlib
import os
import re

import alphabet
import harness
import trees
import wire
from alphabet import FIFO, FOLDER, REGULAR, SYMLINK, Stat, Writer
from peers import TlsAgent, context
from test_flood import memory_of
from test_hostile import ANSWERS, LISTING_ENDS, LISTINGS, raw_entry

MiB_MORE = 64 if "ASAN_OPTIONS" not in os.environ else 512  # the sanitizer keeps what was freed
TOKEN = b"the sentinel that lies outside"
FILES = {"": None, "data": None, "data/a": None, "data/a/deep": None, "data/a/deep/one": b"content of one", "data/a/deep/two": b"content of two", "data/m": b"m" * 3_000,
         "data/z": None, "data/z/last": b"the last"}
FORGERY = b"x\nsyncropy-server: a: complete\r\x1b[2J\x07\xc2\x9b\xff%s%n"


# --- Evil agents: what each does instead of the honest one


def listing(files=FILES):
    return sorted(wire.Honest(files).stats.items(), key=lambda item: alphabet.sort_key(item[0]))


class Plays(wire.Honest):
    """Honest but for one step. `stage` is where: greeting, listing, listed or answer number N."""

    features = 1

    def __init__(self, stage, act):
        super().__init__(FILES)
        self.stage, self.act, self.acted, self.answers = stage, act, False, 0

    def evil(self, *context):
        self.acted = True
        for type, payload in self.act(*context):
            self.connection.send(type, payload)

    def over(self):
        wire.wait_for_the_end(self.connection)
        raise wire.Gone

    def greet(self):
        if self.stage == "greeting":
            self.connection.receive()
            self.evil()
            self.over()
        super().greet()

    def list(self, payload):
        if self.stage == "listing":
            self.evil()
            self.over()
        super().list(payload)
        if self.stage == "listed":
            self.evil()
            self.over()

    def answer(self, request):
        regular = self.content[request.path] is not None
        self.answers += regular
        if regular and self.stage == f"answer {self.answers}":
            self.evil(request, self.stats[request.path], self.content[request.path])
        else:
            super().answer(request)


def listed(*messages):
    """These messages, closed truthfully."""
    payloads = [bytes(message) if isinstance(message, (bytes, bytearray)) else wire.entries(message) for message in messages]
    count = sum(len(message) for message in messages if isinstance(message, list))
    return [*((wire.ENTRIES, payload) for payload in payloads), (wire.LISTED, wire.listed(count, 0, payloads))]


FILE, DIR = Stat(size=5, inode=90), Stat(type=FOLDER, mode=0o755, inode=91)
BAD_NAMES = {"dot dot": "..", "a way out": "../../outside/sentinel", "dot": ".", "nothing": "", "a slash before": "/outside", "a slash after": "x/", "a NUL": "x\0y", "256 bytes": "n" * 256,
             "two slashes": "x//y", "a way out below": "x/../../../outside/sentinel", "a dot below": "x/./y"}


def evil_listings():
    """name → Plays: every mutation of an honest listing at every entry of it."""
    honest = listing()
    acts = {}
    folders = [path.decode() for path, stat in honest if stat.type == FOLDER]
    for folder in folders:
        for what, name in BAD_NAMES.items():
            at = next(number for number, (path, _) in enumerate(honest) if path.decode() == folder) + 1
            path = f"{folder}/{name}" if folder else name
            for kind, stat in (("file", FILE), ("folder", DIR), ("link", Stat(type=SYMLINK, size=9))):
                acts[f"{what} as a {kind} in '{folder}'"] = honest[:at] + [(path, stat)] + honest[at:]
    for number, (path, stat) in enumerate(honest):
        where = path.decode() or "the root"
        acts[f"twice: {where}"] = honest[:number + 1] + honest[number:]
        acts[f"twice, the second time as another thing: {where}"] = honest[:number + 1] + [(path, FILE if stat.type == FOLDER else DIR)] + honest[number + 1:]
        if number + 1 < len(honest):
            acts[f"swapped with what follows: {where}"] = honest[:number] + [honest[number + 1], honest[number]] + honest[number + 2:]
            acts[f"again at the end: {where}"] = honest + [(path, stat)]
        if stat.type == FOLDER:
            acts[f"without this folder: {where}"] = honest[:number] + honest[number + 1:]
            for kind, other in (("file", FILE), ("link", Stat(type=SYMLINK, size=3)), ("fifo", Stat(type=FIFO))):
                acts[f"this folder is a {kind}: {where}"] = honest[:number] + [(path, other)] + honest[number + 1:]
        else:
            acts[f"something in this file: {where}"] = honest[:number + 1] + [(path + b"/in", FILE)] + honest[number + 1:]
        for what, other in (("no type", Stat(type=0)), ("a mode of 13 bits", Stat(mode=1 << 13)), ("a size of 64 bits", Stat(size=1 << 63)), ("a size of 65 bits", Stat(size=1 << 64)),
                            ("a user above 32 bits", Stat(uid=1 << 32)), ("time beyond time", Stat(mtime=(1 << 63) * 10**9))):
            payload = wire.entries(honest[:number]) + raw_entry(0, path, other)
            acts[f"{what}: {where}"] = [payload + wire.entries(honest[number + 1:])]
        acts[f"shares more than there is: {where}"] = [wire.entries(honest[:number]) + raw_entry(200, b"x")]
        whole = wire.entries(honest[:number + 1])
        for cut in (1, 2, 7):
            acts[f"cut {cut} bytes before the end of {where}"] = [whole[:-cut]]
    plays = {name: Plays("listing", lambda act=act: listed(*act) if isinstance(act[0], bytes) else listed(act)) for name, act in acts.items()}
    payload = wire.entries(honest)
    for bit in range(0, 256, 16):
        digest = bytearray(hashlib.sha256(payload).digest())
        digest[bit // 8] ^= 1 << bit % 8
        end = Writer().unsigned(len(honest)).unsigned(0).raw(digest).bytes
        plays[f"bit {bit} of the listing's digest"] = Plays("listing", lambda end=end: [(wire.ENTRIES, payload), (wire.LISTED, bytes(end))])
    for lie in (-1, 1, 1 << 32, (1 << 64) - 1):
        for problems in (0, 1):
            end = Writer().unsigned((len(honest) + lie) % (1 << 64)).unsigned(problems).raw(hashlib.sha256(payload).digest()).bytes
            plays[f"{lie} entries too many, {problems} problems"] = Plays("listing", lambda end=end: [(wire.ENTRIES, payload), (wire.LISTED, bytes(end))])
    return plays


def evil_streams():
    plays = {}
    for number in (1, 2, 3):
        for name, make in ANSWERS.items():
            plays[f"file {number}: {name}"] = Plays(f"answer {number}", make)
    # Every message at every stage where an agent may not send it.
    body = {wire.HELLO: wire.hello(), wire.FETCH: wire.fetch([wire.Request(1, b"x", REGULAR, True)]), wire.LIST: wire.list_request([b"etc"]), wire.CREDIT: b"\1",
            wire.DATA: wire.data(9_999, 0, b"x"), wire.END: wire.file(9_999, FILE), wire.FILE: wire.file(9_999, FILE), wire.BEGIN: wire.only(9_999), wire.KEEP: wire.keep(9_999, 0, 1),
            wire.RESTART: wire.only(9_999), wire.FAILED: wire.failed(9_999, 5), wire.RAN: b"\1\0", wire.OUTPUT: b"boo", wire.RUN: b"", wire.LISTED: wire.listed(0, 0, []),
            wire.ENTRIES: wire.entries(listing()), wire.PROBLEM: wire.problem("elsewhere")}
    for type in [*body, *range(0x40, 0x55), 0x00, 0x7F]:
        for stage in ("greeting", "listing", "listed", "answer 2"):
            if (type, stage) not in ((wire.HELLO, "greeting"), (wire.ENTRIES, "listing")):
                plays[f"message {type:#x} at {stage}"] = Plays(stage, lambda *_, type=type: [(type, body.get(type, b"x"))])
    for stage in ("greeting", "listing", "listed", "answer 1", "answer 4"):
        for type in (wire.ENTRIES, wire.FILE, wire.PROBLEM, wire.DATA):
            for size in ((1 << 20) + 1, 1 << 26):
                plays[f"{size} bytes packed as {type:#x} at {stage}"] = Plays(stage, lambda *_, type=type, size=size: [(type | wire.PACKED, alphabet.pack(bytes(size), 1))])
    return plays


def forgeries():
    """What a person or a log is shown: names, what failed, the agent's own words."""
    path = b"data/a/" + FORGERY
    honest = listing()
    yield "a name", Plays("listing", lambda: listed([*honest[:3], (path, FILE), (path, FILE)]))
    yield "a name that is no path", Plays("listing", lambda: listed([*honest[:3], (path + b"/..", FILE)]))
    yield "a problem", Plays("listing", lambda: [(wire.ENTRIES, wire.entries(honest)), (wire.PROBLEM, wire.problem(path, tried=FORGERY)), (wire.PROBLEM, wire.problem(path, tried=FORGERY))])
    yield "a failed fetch", Plays("answer 1", lambda r, s, c: 2 * [(wire.FAILED, wire.failed(r.id, 5, FORGERY))])
    for status in (69, 74, 76, 77):
        for stage in ("greeting", "listing", "listed", "answer 1"):
            yield f"an error {status} at {stage}", Plays(stage, lambda *_, status=status: [(wire.ERROR, Writer().unsigned(status).string(FORGERY).string(FORGERY).bytes)])
    yield "software", Plays("greeting", lambda: [(wire.HELLO, wire.hello(version=9, software=FORGERY, host=FORGERY))])


def no_forged_line(text, programs):
    for line in text.splitlines():
        assert re.match(f"({programs}): ", line) and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", line), repr(line)


def files_below(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def test_evil_agents(lab):
    """One run of one server, with a client for each evil agent: none of them has a dataset, and everyone is told of in a line of its own."""
    with harness.World(lab) as world:
        outside = trees.write(world.store / "outside/sentinel", TOKEN)
        tls = context(lab.pki.agent, lab.pki.ca, as_server=True)
        plays = {"listing: " + name: play for name, play in evil_listings().items()}
        plays |= {f"listing as in test_hostile: {name}": Plays("listing", lambda play=play: listed(*play.messages)) for name, play in LISTINGS.items() if name != "nothing"}
        for name, make in LISTING_ENDS.items():
            payload = wire.entries(listing())
            plays[f"end as in test_hostile: {name}"] = Plays("listing", lambda make=make: [(wire.ENTRIES, payload), *make(len(FILES), payload)])
        plays |= {"stream: " + name: play for name, play in evil_streams().items()}
        plays |= {"forgery: " + name: play for name, play in forgeries()}
        if os.environ.get("SYNCROPY_ATTACK") != "all":
            plays = dict(list(plays.items())[::3])
        names = {f"c{number:04}": name for number, name in enumerate(plays)}

        def where(agent):
            return {"host": "127.0.0.1", "port": agent.port, "path": "/data", "stall_timeout": 20, "compress": True, "sslca": str(lab.pki.ca.certificate),
                    "sslcert": str(lab.pki.server.certificate), "sslkey": str(lab.pki.server.key)}

        def run(status):
            started = world.start("-c", world.configuration, "-H")
            peak = 0
            while started.runs():
                peak = max(peak, memory_of(started.pid))
                try:
                    started.wait(0.05)
                except Exception:  # it still runs
                    pass
            assert started.wait() in status, started.text()[-2_000:]
            return started.text(), peak

        def clients(plays_of):
            world.settings["clients"] = {}
            for client, play in plays_of.items():
                world.settings["clients"][client] = where(world.keep(TlsAgent(tls, play)))

        world.settings["general"]["parallel"] = 4
        clients({client: wire.Honest(FILES) for client in list(names)[:8]})
        world.init()
        _, normal = run([0])
        assert normal > 0
        world.settings["clients"] = {}
        before, lies_about = world.state(), files_below(world.store / "outside")
        clients({client: plays[name] for client, name in names.items()})
        said, peak = run([1, 76])
        failures = []
        lines = {}
        no_forged_line(said, "syncropy-server")
        for line in said.splitlines():
            found = re.match(r"syncropy-server: error: (c\d{4}): ", line)
            if found:
                lines.setdefault(found[1], []).append(line)
        for client, name in names.items():
            if len(lines.get(client, [])) != 1:
                failures.append(f"{name}: {lines.get(client)}")
            elif "said nothing for" in lines[client][0]:
                failures.append(f"{name}: only its silence was noticed: {lines[client][0]}")
            if not plays[name].acted:
                failures.append(f"{name}: was never played")
        assert not failures, "\n".join(failures)
        assert world.state() == before
        assert files_below(world.store / "outside") == lies_about and outside.read_bytes() == TOKEN
        assert set(os.listdir(world.store)) == {"outside", "backups"}
        assert peak <= normal + MiB_MORE, f"{peak} MiB, and {normal} with honest agents"
        evil = sum(play.acted for play in plays.values())
        print(f"{evil} evil listings and streams, {peak} MiB at most, {normal} MiB with honest agents")
        assert evil >= 200
