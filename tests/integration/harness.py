"""The real programs on throw-away folders.

A Lab is what all tests of a session share: copies of the programs that every user may execute, certificates, folders. A World is one
backup set-up in it: a source folder, agents that read it as an ordinary user with CAP_DAC_READ_SEARCH alone, a configuration and a
repository of another ordinary user, who runs the server.
"""

import ctypes
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import stored
import trees
from pki import Pki

AGENT, SERVER = 64_001, 64_002  # in no passwd: the programs must not mind
SOURCE_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATIENCE = 120                  # seconds after which a program hangs; those that wait for something are told to wait less
FLAGS = {"hour": "-H", "day": "-D", "week": "-W", "month": "-M"}

# Puts an open listening socket where sd_listen_fds(3) expects it, and becomes the program: no port is ever guessed.
LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execvp(sys.argv[2], sys.argv[2:])
"""


def as_user(number, capability=None):
    kept = "-all" + (f",+{capability}" if capability else "")
    return ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"]


AS_SERVER = as_user(SERVER)
AS_AGENT = as_user(AGENT, "dac_read_search")
AS_AGENT_WITHOUT = as_user(AGENT)


@dataclasses.dataclass
class Ended:
    status: int
    out: str
    err: str
    seconds: float

    @property
    def lines(self):
        return self.err.splitlines()

    def __str__(self):
        return f"exit status {self.status}\n{self.out}{self.err}"


class Program:
    """A running program whose standard error goes to a file."""

    def __init__(self, command, log, environment, cwd, pass_fds=()):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as file:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment,
                                            cwd=cwd, pass_fds=pass_fds)

    @property
    def pid(self):
        return self.process.pid

    def text(self):
        return self.log.read_text(errors="replace")

    def runs(self):
        return self.process.poll() is None

    def wait(self, seconds=PATIENCE):
        return self.process.wait(seconds)

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)

    def stop(self):
        """Its exit status after SIGTERM; one that ignores it is killed, and that is a failure."""
        if self.runs():
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return self.process.returncode


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)
    return value


def fresh_filesystem(where, image, size):
    """A new ext4 of at most `size` bytes on `where`, kept in the file `image`. False where this machine has no loop devices (in a container)."""
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, where], capture_output=True).returncode != 0:
        image.unlink()
        return False
    image.unlink()  # the mount keeps it
    return True


class Lab:
    """Its folder is a filesystem of its own, in memory where there is room: nobody else's writing is in the way of syncfs(2).

    Unless it is to hold much: then it is a folder of the filesystem of temporary files."""

    def __init__(self, much=False):
        build = pathlib.Path(os.environ["SYNCROPY_BUILD"])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncropy-test."))
        self.mounts, self.worlds = [], 0
        try:
            memory = pathlib.Path("/dev/shm")
            roomy = not much and memory.is_dir() and shutil.disk_usage(memory).free > 3 << 30
            if roomy and fresh_filesystem(self.folder, memory / self.folder.name, 2 << 30):
                self.mounts.append(self.folder)
            self.folder.chmod(0o755)
            (self.folder / "bin").mkdir()
            for name in ("syncropy", "syncropy-agent", "syncropy-server"):
                shutil.copy(build / "src/cli" / name, self.folder / "bin" / name)
            self.pki = Pki(self.folder / "pki", AGENT, SERVER)
        except BaseException:
            self.close()
            raise

    def program(self, name):
        return self.folder / "bin" / name

    def close(self):
        for mount in reversed(self.mounts):
            subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self.folder)


class Agent(Program):
    """`where` is what a client's section says to reach it."""

    def __init__(self, world, policy, tls, user, listener, arguments=()):
        self.world, self.policy_settings = world, policy
        number = world.counted()
        self.policy = world.folder / f"agent{number}.yaml"
        self.policy.write_text(json.dumps(policy))
        where = listener.getsockname()
        self.address = where if isinstance(where, tuple) else pathlib.Path(where)
        self.where = {"host": "127.0.0.1", "port": where[1]} if isinstance(where, tuple) else {"host": where}
        pki = world.lab.pki
        if tls:
            self.where |= {"sslca": str(pki.ca.certificate), "sslcert": str(pki.server.certificate), "sslkey": str(pki.server.key)}
        else:
            self.where |= {"ssl": False}
        command = [sys.executable, "-S", "-E", "-c", LAUNCHER, listener.fileno(), *user, world.lab.program("syncropy-agent"),
                   "--policy", self.policy, *arguments]
        super().__init__(command, world.folder / f"agent{number}.log", world.environment, world.folder, pass_fds=(listener.fileno(),))


class World:
    def __init__(self, lab, database=None):
        self.lab = lab
        lab.worlds += 1
        self.folder = lab.folder / f"world{lab.worlds}"
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.source, self.store, self.configuration = self.folder / "source", self.folder / "store", self.folder / "config.yaml"
        self.source.mkdir()
        self.store.mkdir()
        os.chown(self.store, SERVER, SERVER)
        self.repository = self.store / "backups"
        self.environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SYNCROPY_CONFIG_FOLDER": str(self.folder)}
        self.environment |= {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
        self.settings = {"general": {"repository": str(self.repository)}, "dataset": {}, "clients": {}}
        if database:
            self.settings["database"] = database
        self.made, self.mounts, self.count = [], [], 0

    def counted(self):
        self.count += 1
        return self.count

    def keep(self, thing):
        """Closed or stopped with the world, the last one first."""
        self.made.append(thing)
        return thing

    def close(self):
        failures = []
        for thing in reversed(self.made):
            try:
                thing.stop() if isinstance(thing, Program) else thing.close()
            except Exception as failure:  # everything else must still end
                failures.append(failure)
        for mount in reversed(self.mounts):
            subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self.folder)
        assert not failures, failures

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- machines and configuration

    def listener(self, path=None):
        sock = self.keep(socket.socket(socket.AF_UNIX if path else socket.AF_INET))
        sock.bind(str(path) if path else ("127.0.0.1", 0))
        if path:
            pathlib.Path(path).chmod(0o666)
        sock.listen(4096)  # as systemd does
        return sock

    def agent(self, tls=True, caps=True, unix=None, policy=None, listener=None):
        """Started on a socket of its own, never ending for idleness unless told."""
        pki = self.lab.pki
        settings = {"idle_exit": 0}
        if tls:
            settings |= {"sslcert": str(pki.agent.certificate), "sslkey": str(pki.agent.key), "sslca": str(pki.ca.certificate), "servers": ["backup.test"]}
        settings |= policy or {}
        return self.keep(Agent(self, settings, tls, AS_AGENT if caps else AS_AGENT_WITHOUT, listener or self.listener(unix)))

    def restore_worker(self, policy=None, user=()):
        """As root unless told, on a socket of its own. Its place is what a client's section says of it."""
        pki = self.lab.pki
        settings = {"idle_exit": 0, "sslcert": str(pki.agent.certificate), "sslkey": str(pki.agent.key), "sslca": str(pki.ca.certificate),
                    "servers": ["backup.test"], "restore": "accept", **(policy or {})}
        worker = self.keep(Agent(self, settings, True, user, self.listener(), ("--restore",)))
        worker.place = {"restore_host": "127.0.0.1", "restore_port": worker.where["port"]}
        return worker

    def plain_agent(self, **options):
        """Over a unix socket, for the tests that look into the protocol."""
        return self.agent(tls=False, unix=self.folder / f"agent{self.count + 1}.socket", **options)

    def client(self, name, where, **settings):
        self.settings["clients"][name] = {**where, "path": str(self.source), **settings}
        return self.settings["clients"][name]

    def write_configuration(self, text=None):
        text = text if text is not None else json.dumps(self.settings, indent=1)
        if self.configuration.exists() and self.configuration.read_text() == text:
            return  # the folder is an ancestor of what is backed up: a rename here would be a change there
        draft = self.configuration.with_suffix(f".new{threading.get_ident()}")  # a run that starts meanwhile must not find half of it
        draft.write_text(text)
        draft.rename(self.configuration)

    def mount(self, kind, where, *options):
        subprocess.run(["mount", "-t", kind, *options, where], check=True)
        self.mounts.append(where)

    # --- programs

    def start(self, *arguments, program="syncropy-server", user=AS_SERVER, prefix=()):
        self.write_configuration_unless_given()
        log = self.folder / f"{program}{self.counted()}.log"
        return self.keep(Program([*prefix, *user, self.lab.program(program), *arguments], log, self.environment, self.folder))

    def write_configuration_unless_given(self):
        if self.settings is not None:
            self.write_configuration()

    def execute(self, program, *arguments, user=AS_SERVER, patience=PATIENCE, environment=None, prefix=()):
        self.write_configuration_unless_given()
        began = time.monotonic()
        command = [str(word) for word in (*prefix, *user, self.lab.program(program), *arguments)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience, env={**self.environment, **(environment or {})}, cwd=self.folder)
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode(), time.monotonic() - began)

    def server(self, *arguments, **options):
        return self.execute("syncropy-server", "-c", self.configuration, *arguments, **options)

    def syncropy(self, *arguments, status=0, **options):
        done = self.execute("syncropy", "-c", self.configuration, *arguments, **options)
        assert done.status == status, done
        return done

    def init(self):
        self.syncropy("init")
        return self

    def run(self, tier="hour", *arguments, status=0, **options):
        """One run. Its exit status is what is expected, or the test fails with what it said."""
        done = self.server(FLAGS[tier], *arguments, **options)
        assert done.status == status, done
        return done

    def fail(self, status, *words, tier="hour", arguments=(), program="syncropy-server", **options):
        """A run that must end in one clear line and leave the repository as it is."""
        before = self.state()
        done = self.server(FLAGS[tier], *arguments, **options)
        assert_one_line(done, status, *words)
        assert self.state() == before, "a run that failed left something"
        return done

    def sql(self, query):
        """The rows of a query with one column."""
        return [line.rstrip() for line in self.syncropy("sql", query).out.splitlines()[1:]]

    def list(self, *arguments):
        return [json.loads(line) for line in self.syncropy("list", "--json", *arguments).out.splitlines()]

    # --- what is stored

    def datasets(self, client="a"):
        return stored.datasets(self.repository, client)

    def newest(self, client="a"):
        return self.datasets(client)[-1]

    def snapshot(self):
        return trees.scan(self.source)

    def state(self):
        """What a user has: every dataset by its inode and the bytes of its index, what `latest` names, and what lies about unfinished."""
        if not (self.repository / ".syncropy").exists():
            return None
        found = {}
        for client in sorted(self.repository.iterdir()):
            if client.name.startswith(".") or client.is_symlink() or not client.is_dir():
                continue
            for dataset in (dataset for tier in FLAGS for dataset in sorted((client / tier).glob("*"))):
                found[str(dataset.relative_to(self.repository))] = dataset.stat().st_ino, (dataset / "manifest/index").read_bytes()
            if (client / "latest").is_symlink():
                found[f"{client.name} latest"] = os.readlink(client / "latest")
            if (client / ".staging").exists() and any((client / ".staging").iterdir()):
                found[f"{client.name} .staging"] = sorted(os.listdir(client / ".staging"))
        return found

    def check(self, client="a"):
        """Every dataset is whole, nothing unfinished lies about, and the catalog shows exactly what the manifests say."""
        all_entries = {dataset.sequence: stored.check_whole(dataset, SERVER) for dataset in self.datasets(client)}
        # What has expired waits in .trash for nobody in particular; a run empties it on the side.
        staging = self.repository / client / ".staging"
        assert not staging.exists() or not list(staging.iterdir()), ".staging is not empty"
        self.check_catalog(client, all_entries)
        return all_entries

    def check_catalog(self, client="a", all_entries=None):
        datasets = self.datasets(client)
        known = {(row["sequence"], row["tier"], row["name"]) for row in self.list(client) if row["recorded"] is True}
        assert known == {(dataset.sequence, dataset.tier, dataset.name) for dataset in datasets}
        if all_entries is None:
            all_entries = {dataset.sequence: dataset.entries() for dataset in datasets}
        rows = set(self.sql(FILES.format(client=client)))
        wanted = {catalog_row(sequence, entry) for sequence, entries in all_entries.items() for entry in entries.values()}
        assert rows == wanted, "the catalog differs from the manifests:\n" + "\n".join(sorted(rows ^ wanted)[:10])
        sequences = sorted(set(self.sql(f"SELECT sequence_number FROM datasets WHERE client = '{client}'")), key=int)
        assert sequences == [str(dataset.sequence) for dataset in datasets]


# What FILES says of an entry, in one column that catalog_row() makes too. Not `racy`: it says how a version was read first.
FILES = """SELECT sequence_number || ' ' || type_letter || ' ' || mode_octal || ' '
 || owner_number || ' ' || owner_name || ' ' || group_number || ' ' || group_name || ' ' || size_bytes || ' ' || mtime_ns || ' ' || inode || ' ' || links || ' ' || unstable || unread || sparse || ' ' || COALESCE(digest, '-') || ' '
 || COALESCE(device_major || ':' || device_minor, '-') || ' ' || COALESCE(link_target, '') || ' ' || path FROM files WHERE client = '{client}'"""


def catalog_row(sequence, entry):
    st, details = entry.stat, entry.details
    inode = st.inode - (1 << 64) if st.inode >= 1 << 63 else st.inode
    device = f"{st.major}:{st.minor}" if st.type in (4, 5) else "-"
    row = (f"{sequence} {'-dlbcps'[st.type - 1]} {st.mode:04o} {st.uid} {escape(details.owner)} {st.gid} {escape(details.group)} "
           f"{st.size} {st.mtime % 10**9} {inode} {st.links} "
           f"{entry.flags >> 1 & 1}{entry.flags >> 2 & 1}{int(details.sparse)} {entry.digest.hex() if entry.digest else '-'} {device} ")
    return (row + escape(details.target) + " /" + escape(entry.path)).rstrip()


def escape(data):
    """Like util/escape.hpp, for the bytes that the tests use."""
    text = ""
    for character in data.decode(errors="surrogateescape"):
        code = ord(character)
        if character in "\n\t\r\\":
            text += {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}[character]
        elif code < 0x20 or code == 0x7F:
            text += f"\\x{code:02x}"
        elif 0xDC80 <= code <= 0xDCFF:
            text += f"\\x{code - 0xDC00:02x}"
        else:
            text += character
    return text


def assert_one_line(done, status, *words, program="syncropy-server"):
    """The failure is one line: PROGRAM: error: WHAT: REMEDY, without control characters, and says each of the words."""
    assert done.status == status, done
    assert len(done.lines) == 1, f"not one line:\n{done}"
    line = done.lines[0]
    assert line.startswith(f"{program}: error: "), done
    assert not re.search(r"[\x00-\x1f\x7f]", line), done
    assert line.removeprefix(f"{program}: error: ").count(": ") >= 1, f"no remedy: {done}"
    for word in words:
        assert str(word) in line, f"does not say '{word}': {done}"
    return line


def has_capability(number):
    """Of the tests themselves: a container may lack what a machine has."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"^CapEff:\t(.*)$", status, re.MULTILINE)[1], 16) >> number & 1


def in_background(function):
    """Runs function in a thread; the returned call waits for it and hands on its result or failure."""
    outcome = {}

    def body():
        try:
            outcome["value"] = function()
        except BaseException as failure:
            outcome["failure"] = failure

    thread = threading.Thread(target=body)
    thread.start()

    def join():
        thread.join()
        if "failure" in outcome:
            raise outcome["failure"]
        return outcome["value"]

    return join
