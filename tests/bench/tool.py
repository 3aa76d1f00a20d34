"""What every tool has to say for itself, and the ssh that several of them run over."""

import contextlib
import os
import pathlib
import shutil

from bench import ended, quiet, wait_for_port

SSH_PORT = 2222  # the network namespace is ours alone


class Tool:
    """One tool, on a fresh filesystem with a corpus in it. Methods that return a Cost are weighed.

    It keeps all its files below `self.place`. A tool that fails raises measure.Failed.
    """

    name = ""
    packages = {}  # program to package
    version = ()  # a command
    remark = ""  # how it is set up, for the table's foot
    expires = False  # whether a backup lets the oldest go once there are `keeps`
    keeps = 2
    settle = 0  # backups after the second and before the one that stands for everyday life

    def __init__(self, scale, work, mount, corpus):
        self.scale, self.mount, self.corpus = scale, mount, corpus
        self.work = work / self.name
        self.place = mount / self.name
        self.work.mkdir(mode=0o755)
        self.place.mkdir()

    def start(self, stack):
        """Makes the repository, and starts what has to run beside it until the stack unwinds."""

    def back_up(self):
        raise NotImplementedError

    def steady(self):
        """Raises Failed unless everything is as it is in everyday life by now."""

    def backups(self):
        """How many there are."""
        raise NotImplementedError

    def files(self):
        """How many regular files the newest backup has."""
        raise NotImplementedError

    def restore(self, target):
        """The newest, into an empty folder, over the connection where the tool has one."""
        raise NotImplementedError

    def restored(self, target):
        """Where in `target` the corpus is then."""
        return target

    def restore_local(self, target):
        """The same without a connection, or None where that is no different."""

    def remove_oldest(self):
        """None where it cannot do that every time."""
        raise NotImplementedError

    def clean_up(self):
        """What gives the space back after that, or None where nothing is left to do."""


def count_files(folder, *conditions):
    return len(quiet("find", folder, *conditions, "-type", "f", "-printf", "x\n").split())


def keep_apart(mount):
    """Environment for commands, so that none of them writes outside the filesystem."""
    home, temporary = mount / "home", mount / "tmp"
    home.mkdir(exist_ok=True)
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o1777)
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary), "LC_ALL": "C.UTF-8"}


class Ssh:
    """A server on loopback with keys of its own, as the distribution's defaults have it but for them. Its host is called "bench"."""

    packages = {"sshd": "openssh-server", "ssh": "openssh-client"}

    def __init__(self, scale, work, mount, side):
        self.scale, self.side, self.mount = scale, side, mount
        self.keys = work / "ssh"
        self.config = self.keys / "config"
        self.command = f"ssh -F {self.config}"

    def start(self, stack):
        self.keys.mkdir(mode=0o700)
        for name in ("host", "user"):
            quiet("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.keys / name)
        (self.keys / "known").write_text(f"[127.0.0.1]:{SSH_PORT} {(self.keys / 'host.pub').read_text()}")
        self.config.write_text(f"Host bench\nHostName 127.0.0.1\nPort {SSH_PORT}\nUser root\nIdentityFile {self.keys}/user\nIdentitiesOnly yes\n"
                               f"UserKnownHostsFile {self.keys}/known\nBatchMode yes\n")
        far = keep_apart(self.mount)
        log = self.keys / "log"
        server = self.scale.sides[self.side].start(
            [shutil.which("sshd"), "-D", "-e", "-f", "/dev/null", "-h", self.keys / "host", "-p", SSH_PORT, "-o", "ListenAddress=127.0.0.1",
             "-o", f"AuthorizedKeysFile={self.keys / 'user.pub'}", "-o", "StrictModes=no", "-o", "PermitRootLogin=prohibit-password",
             "-o", "PidFile=none", "-o", "UsePAM=no", "-o", "Subsystem=sftp internal-sftp",
             "-o", "SetEnv=" + " ".join(f"{name}={far[name]}" for name in ("HOME", "TMPDIR", "LC_ALL"))], stderr=open(log, "wb"))
        stack.enter_context(ended(server))
        wait_for_port(SSH_PORT, server, "sshd", log)


def remove_tree(path):
    """The plain way: what has no command of its own for it is removed so."""
    return ["rm", "-rf", "--", path]


def in_order(folder, pattern="*"):
    return sorted(pathlib.Path(folder).glob(pattern))


@contextlib.contextmanager
def emptied(path):
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)
