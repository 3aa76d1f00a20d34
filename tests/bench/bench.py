"""The ground the benchmark stands on: notes, packages, programs, a filesystem of its own, and an end that leaves nothing behind."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

NAME = "tests/bench/run"
SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("syncropy", "syncropy-server", "syncropy-agent")
LOOPBACK_UP = 0x8914, struct.pack("16sh", b"lo", 1)  # SIOCSIFFLAGS, IFF_UP
FREED_PAGES = os.POSIX_FADV_DONTNEED
LIBC = ctypes.CDLL(None, use_errno=True)
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
PATIENCE_AT_THE_END = 30


class Stop(Exception):
    """Nothing more can be measured; the text says why."""


def note(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def quiet(*command, **options):
    """Runs a command whose output matters only when it fails, and returns that."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options)
    if done.returncode != 0:
        raise Stop(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


# --- Packages and programs ------------------------------------------------------------------------------------------------

def install_missing(packages):
    """`packages`: program to package, as Debian calls them. A service among them is not started."""
    missing = sorted({package for program, package in packages.items() if not shutil.which(program)})
    if missing:
        note(f"installing {' '.join(missing)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with policy_against_services():
            quiet("apt-get", "-q", "update", env=environment)
            quiet("apt-get", "-q", "-y", "--no-install-recommends", "install", *missing, env=environment)


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
    return built_programs()


def built_programs(build=SOURCE / "build-bench"):
    found = {name: [path for path in pathlib.Path(build).glob(f"src/*/{name}") if path.is_file()] for name in PROGRAMS}
    for name, paths in found.items():
        if len(paths) != 1:
            raise Stop(f"{build} has {len(paths)} programs {name}")
    return {name: paths[0] for name, paths in found.items()}


def copied(programs, folder):
    """Where every user may run them, wherever they were built."""
    folder.mkdir()
    return {name: pathlib.Path(shutil.copy(path, folder)) for name, path in programs.items()}


# --- An end that leaves nothing behind ------------------------------------------------------------------------------------

def supervise(arguments, folder, group):
    """Runs this program again in namespaces of its own for processes, mounts and the network, and returns its exit status.

    Whatever ends it, the kernel ends all that it started and takes away what it mounted; its image has no name. Only the folder in
    `folder`, the groups below `group` (or None) and sshd's folder in /run are this process's to remove.
    """
    work = pathlib.Path(tempfile.mkdtemp(prefix="syncropy-bench.", dir=folder))
    work.chmod(0o755)
    separation = pathlib.Path("/run/sshd")
    mine = not separation.exists()
    inside = None

    def end(*_):
        if inside:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(inside.pid, signal.SIGTERM)

    try:
        separation.mkdir(mode=0o755, exist_ok=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, end)
        inside = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-B", *sys.argv[:1], *arguments],
            env={**os.environ, "SYNCROPY_BENCH_WORK": str(work), "SYNCROPY_BENCH_GROUP": str(group or "")}, start_new_session=True,
            preexec_fn=lambda: LIBC.prctl(DIE_WITH_PARENT, signal.SIGKILL))
        return inside.wait()
    finally:
        if inside and inside.poll() is None:
            inside.kill()
            inside.wait()
        groups = [group / "server", group / "client", group] if group else []
        for path in [*groups, work, *([separation] if mine else [])]:
            remove_folder(path)


def remove_folder(path):
    for _ in range(PATIENCE_AT_THE_END * 10):
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:  # the last process of a group is still on its way out
            time.sleep(0.1)
    note(f"{path} could not be removed")


def enter(work):
    """In the namespaces: loopback up, and a folder in memory for keys, configurations and logs."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, *LOOPBACK_UP)
    quiet("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", work)


def self_signed(name, path):
    """A command that makes PATH.key and PATH.crt."""
    return ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", f"{path}.key", "-out", f"{path}.crt"]


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


def wait_for_port(port, process, what, log):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise Stop(f"{what} does not listen on port {port}\n{log.read_text(errors='replace')[-2000:]}")


# --- The filesystem -------------------------------------------------------------------------------------------------------

class Filesystem:
    """An ext4 on a loop device, in a file without a name.

    The device reads and writes that file directly, where what is beneath can: else each page would be copied once more into the machine's
    memory, by the tool's two cores, and a sync would wait for it: 2 GiB of zeros took 8.2 s where they take 4.7, and 1.4 in a file that has its
    room already.
    """

    def __init__(self, folder, mount, size, inodes):
        """`size` in bytes: room is taken as it is used."""
        self.mount = mount
        mount.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix="syncropy-bench.", suffix=".ext4", dir=folder) as image:
            image.truncate(size)
            quiet("mkfs.ext4", "-q", "-F", "-N", inodes, "-E", "lazy_itable_init=0,lazy_journal_init=0", image.name)
            device = self.attach(image.name)
            try:
                quiet("mount", device, mount)
            finally:
                quiet("losetup", "--detach", device)  # once it is unmounted
            self.image = os.open(image.name, os.O_RDONLY | os.O_CLOEXEC)
        self.root = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @staticmethod
    def attach(image):
        for options in (["--direct-io=on"], []):
            attached = subprocess.run(["losetup", "--find", "--show", *options, image], capture_output=True, text=True)
            if attached.returncode == 0:
                return attached.stdout.strip()
        raise Stop(f"losetup: {attached.stderr.strip()}")

    def settle(self):
        """All that anybody wrote is on the disk, and the image's own pages leave the memory to the files' pages."""
        os.sync()
        os.posix_fadvise(self.image, 0, 0, FREED_PAGES)

    def sync(self):
        """Seconds until what was written here is on the disk."""
        start = time.monotonic()
        if LIBC.syncfs(self.root) != 0:
            raise Stop(f"syncfs of {self.mount}: {os.strerror(ctypes.get_errno())}")
        return time.monotonic() - start

    def used(self):
        """(bytes, inodes)"""
        state = os.fstatvfs(self.root)
        return (state.f_blocks - state.f_bfree) * state.f_frsize, state.f_files - state.f_ffree

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.root)
        for _ in range(100):
            if subprocess.run(["umount", self.mount], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)
        else:
            note(f"{self.mount} is busy: it goes when the last process that uses it ends")
            quiet("umount", "--lazy", self.mount)
        os.close(self.image)
        os.sync()
