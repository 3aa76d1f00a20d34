"""What the benchmarks share: a fresh filesystem, a corpus, timing, and the two that run side by side."""

import contextlib
import math
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

NAME = pathlib.Path(sys.argv[0]).name
SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGES = {"rsync": "rsync", "sshd": "openssh-server", "ssh": "openssh-client", "openssl": "openssl", "mkfs.ext4": "e2fsprogs", "setpriv": "util-linux"}
SERVER_USER, AGENT_USER = 64_001, 64_002  # numbers without a name: nothing else on this machine belongs to them
AGENT_CAPABILITY = "-all,+dac_read_search"


def note(text):
    print(f"\r\033[K{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def quiet(*command, **options):
    """Runs a command whose output matters only when it fails."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options)
    if done.returncode != 0:
        sys.exit(f"{NAME}: {' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process, what):
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"{NAME}: {what} does not listen on port {port}")


def install_missing():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    packages = sorted({package for tool, package in PACKAGES.items() if not shutil.which(tool)})
    if packages:
        note(f"installing {' '.join(packages)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        # The distribution's own sshd is not to start because of a benchmark.
        with policy_against_services():
            quiet("apt-get", "-q", "update", env=environment)
            quiet("apt-get", "-q", "-y", "--no-install-recommends", "install", *packages, env=environment)


@contextlib.contextmanager
def policy_against_services():
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    mine = not policy.exists()
    if mine:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if mine:
            policy.unlink()


def build_programs():
    """Syncropy as a distribution would build it."""
    build = SOURCE / "build-bench"
    note(f"building in {build}")
    if not (build / "build.ninja").exists():
        quiet("meson", "setup", build, SOURCE, "--buildtype", "release", "-Dtests=false")
    quiet("ninja", "-C", build)
    return {name: program(build, name) for name in ("syncropy", "syncropy-server", "syncropy-agent")}


def program(build, name):
    found = [path for path in build.glob(f"src/*/{name}") if path.is_file()]
    if len(found) != 1:
        sys.exit(f"{NAME}: {build} has {len(found)} programs {name}")
    return found[0]


# --- The filesystem and the corpus ----------------------------------------------------------------------------------------

@contextlib.contextmanager
def fresh_ext4(work, files):
    image, mount = work / "ext4", work / "mnt"
    mount.mkdir()
    size = max(2, math.ceil(files * 80_000 / 2**30))
    with open(image, "wb") as file:
        file.truncate(size * 2**30)
    quiet("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    quiet("mount", "-o", "loop", image, mount)
    try:
        yield mount
    finally:
        for _ in range(50):
            if subprocess.run(["umount", mount], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.2)
        else:
            note(f"{NAME}: {mount} could not be unmounted")


def make_corpus(root, files):
    """Folders of 10 to 50 files three levels deep, sizes log-normal with a mean of 3.8 KiB, a few links; the same every time."""
    rng = random.Random(files)
    pool = rng.randbytes(1 << 20)
    made = size = number = 0
    while made < files:
        folder = root / f"part{number % 17}" / f"section{number % 301}" / f"folder{number}"
        folder.mkdir(parents=True)
        number += 1
        for index in range(min(rng.randint(10, 50), files - made)):
            length = min(int(rng.lognormvariate(7.4, 1.3)), 4 << 20)
            start = rng.randrange(len(pool))
            path = folder / f"{rng.choice(('note', 'Report', 'IMG_', 'lib', 'data-'))}{index:03}.{rng.choice(('txt', 'c', 'jpg', 'so', 'html'))}"
            with open(path, "wb", buffering=0) as file:
                file.write((pool[start:] + pool * (length // len(pool) + 1))[:length])
            os.chmod(path, rng.choice((0o644, 0o644, 0o600, 0o755)))
            made, size = made + 1, size + length
        if number % 25 == 0:
            (folder / "latest").symlink_to(path.name)
    quiet("sync", "-f", root)
    time.sleep(3)  # what was changed two seconds ago is nobody's "unchanged"
    entries = int(quiet("sh", "-c", f"find '{root}' -mindepth 1 | wc -l"))
    return entries, size


# --- Measuring ------------------------------------------------------------------------------------------------------------

def timed(command, **options):
    """(seconds, seconds of a sync after it, peak resident bytes of the command's own process)."""
    os.sync()
    peak = [0]
    start = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    stop = threading.Event()
    watcher = threading.Thread(target=lambda: watch_peak(process.pid, peak, stop))
    watcher.start()
    output = process.communicate()[0]
    seconds = time.monotonic() - start
    stop.set()
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{NAME}: {' '.join(map(str, command))}: exit status {process.returncode}\n{output.decode(errors='replace')[-2000:]}")
    start = time.monotonic()
    os.sync()
    return seconds, time.monotonic() - start, peak[0]


def resident_peak(pid):
    with contextlib.suppress(OSError):
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def watch_peak(pid, peak, stop):
    while not stop.wait(0.02):
        peak[0] = max(peak[0], resident_peak(pid))


# --- The two that run -------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def ended(process):
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Rsync:
    """rsync over ssh, as rsnapshot runs it."""

    def __init__(self, stack, work, mount, corpus):
        keys, self.copies = work / "ssh", mount / "rsync"
        keys.mkdir(mode=0o700)
        for name in ("host", "user"):
            quiet("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name)
        port = free_port()
        (keys / "known").write_text(f"[127.0.0.1]:{port} {(keys / 'host.pub').read_text()}")
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        server = subprocess.Popen([shutil.which("sshd"), "-D", "-e", "-f", "/dev/null", "-h", keys / "host", "-p", str(port), "-o", "ListenAddress=127.0.0.1",
                                   "-o", f"AuthorizedKeysFile={keys / 'user.pub'}", "-o", "StrictModes=no", "-o", "PermitRootLogin=prohibit-password",
                                   "-o", "PidFile=none", "-o", "UsePAM=no"], stderr=open(keys / "log", "wb"))
        stack.enter_context(ended(server))
        wait_for_port(port, server, "sshd")
        self.shell = f"ssh -p {port} -i {keys / 'user'} -o UserKnownHostsFile={keys / 'known'} -o IdentitiesOnly=yes -o BatchMode=yes -F none"
        self.source = f"root@127.0.0.1:{corpus}/"

    def start_over(self):
        shutil.rmtree(self.copies, ignore_errors=True)
        self.copies.mkdir()

    def restore(self, target):
        return timed(["rsync", "-aHAX", "-e", self.shell, f"{self.copies / 'first'}/", f"root@127.0.0.1:{target}/"])[:2]

    def restore_local(self, target):
        return timed(["rsync", "-aHAX", f"{self.copies / 'first'}/", f"{target}/"])[:2]

    def back_up(self, again):
        link = [f"--link-dest={self.copies / 'first'}"] if again else []
        seconds, sync, _ = timed(["rsync", "-aHAX", "-e", self.shell, *link, self.source, self.copies / ("second" if again else "first")])
        return seconds, sync


class Syncropy:
    """The agent with its one capability, the server without any."""

    def __init__(self, stack, work, mount, corpus, programs):
        self.programs, self.folder = programs, work / "syncropy"
        self.folder.mkdir(mode=0o755)
        self.place = mount / "repositories"
        self.place.mkdir()
        os.chown(self.place, SERVER_USER, SERVER_USER)
        self.repository = self.place / "repository"
        for name, user in (("agent", AGENT_USER), ("server", SERVER_USER)):
            quiet("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                  "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.crt")
            os.chown(self.folder / f"{name}.key", user, user)
        port = free_port()
        (self.folder / "agent.yaml").write_text(f"sslcert: {self.folder}/agent.crt\nsslkey: {self.folder}/agent.key\n"
                                                f"sslpin: [{self.folder}/server.crt]\nread: [{corpus}]\nrestore: accept\n")
        self.restore_port = free_port()
        self.config = self.folder / "bench.yaml"
        self.config.write_text(
            f"general:\n  repository: {self.repository}\nclients:\n  bench:\n    host: 127.0.0.1\n    port: {port}\n    restore_port: {self.restore_port}\n"
            f"    sslcert: {self.folder}/server.crt\n    sslkey: {self.folder}/server.key\n    sslpin: [{self.folder}/agent.crt]\n    path: [{corpus}]\n")
        self.agent = subprocess.Popen(
            ["setpriv", f"--reuid={AGENT_USER}", f"--regid={AGENT_USER}", "--clear-groups", "--no-new-privs", f"--bounding-set={AGENT_CAPABILITY}",
             f"--inh-caps={AGENT_CAPABILITY}", f"--ambient-caps={AGENT_CAPABILITY}",
             programs["syncropy-agent"], "-p", str(port), "-l", "127.0.0.1", "--policy", self.folder / "agent.yaml"],
            stdin=subprocess.DEVNULL, stderr=open(self.folder / "agent.log", "wb"), cwd="/")
        stack.enter_context(ended(self.agent))
        wait_for_port(port, self.agent, "the agent")
        self.server_peak = self.agent_peak = 0

    def start_worker(self, stack):
        """As root, as its unit does."""
        worker = subprocess.Popen([self.programs["syncropy-agent"], "--restore", "-p", str(self.restore_port), "-l", "127.0.0.1", "--policy", self.folder / "agent.yaml"],
                                  stdin=subprocess.DEVNULL, stderr=open(self.folder / "worker.log", "wb"), cwd="/")
        stack.enter_context(ended(worker))
        wait_for_port(self.restore_port, worker, "the restore worker")

    def restore(self, target):
        return timed(self.as_server("syncropy", "-c", self.config, "restore", "--target", target, "bench"), cwd="/")[:2]

    def restore_local(self, target):
        """As root: the repository's owner may set no owners."""
        return timed([self.programs["syncropy"], "-c", self.config, "restore", "--local", target, "bench"], cwd="/")[:2]

    def as_server(self, name, *arguments):
        return ["setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups", "--no-new-privs", "--bounding-set=-all",
                "--inh-caps=-all", self.programs[name], *arguments]

    def start_over(self):
        shutil.rmtree(self.repository, ignore_errors=True)
        quiet(*self.as_server("syncropy", "-c", self.config, "init"), cwd="/")

    def back_up(self, again):
        seconds, sync, peak = timed(self.as_server("syncropy-server", "--cfg", self.config, "-H"), cwd="/")
        self.server_peak = max(self.server_peak, peak)
        self.agent_peak = max(self.agent_peak, resident_peak(self.agent.pid))
        return seconds, sync
