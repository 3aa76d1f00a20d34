"""A machine to try things on: a throw-away copy of the running system that boots its own systemd and has a network of its own.

Its root is an overlay over this one's, so whatever is installed here is there, nothing done there is seen here, and it is up in
half a second; /tmp alone is empty. Needs root, systemd-nspawn and overlay mounts: tests/run leaves the part out where they cannot be had.
"""

import os
import pathlib
import shlex
import shutil
import stat
import subprocess
import tempfile
import time

# Services of this machine that have no part in a test.
MASKED = ["postgresql.service", "firebird3.0.service", "ssh.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
          "e2scrub_all.timer", "fstrim.timer", "man-db.timer"]

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
# The checkout is there like everything else, unless it lies in the one folder that is empty.
BINDS = [f"--bind={SOURCE}"] if SOURCE.is_relative_to("/tmp") else []


class Machine:
    """`root`: boots this folder as it is, instead of a copy of the running system."""

    def __init__(self, root=None):
        self.given = root
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncropy-machine."))
        self.root = root or self.folder / "layers" / "root"
        self.nspawn = self.leader = None

    def __enter__(self):
        try:
            self._mount()
            self._boot()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def _mount(self):
        if self.given:
            return
        # The upper layer must not lie inside the lower one: a filesystem of its own.
        layers = self.folder / "layers"
        layers.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", layers], check=True)
        for name in ("up", "work", "root"):
            (layers / name).mkdir()
        system = layers / "up/etc/systemd/system"
        system.mkdir(parents=True)
        (layers / "up").chmod(0o755)
        for unit in MASKED:
            (system / unit).symlink_to("/dev/null")
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={layers}/up,workdir={layers}/work", self.root], check=True)

    def _boot(self):
        self.log = open(self.folder / "boot.log", "wb")
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--console=pipe",
             *BINDS, "--private-network", f"--machine={self.folder.name.replace('_', '-').replace('.', '-')}", "-D", self.root, "-b"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.nspawn.poll() is None:
            children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
            if children:
                self.leader = children[0]
                state = self.run("systemctl is-system-running", check=False).stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.2)
        raise RuntimeError("the machine did not boot:\n" + (self.folder / "boot.log").read_text(errors="replace")[-2000:])

    def run(self, command, check=True, timeout=600):
        """Runs a shell line there, in / as root. Standard output and error come back together."""
        done = subprocess.run(
            ["nsenter", "-t", self.leader, "-m", "-p", "-u", "-i", "-n", "-C", "env", "-i", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb",
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "bash", "-c", f"cd / && {command}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: exit status {done.returncode}\n{done.stdout}")
        return done

    def output(self, command, **options):
        return self.run(command, **options).stdout

    def changed(self):
        """Every path that differs from this machine's, with what is there now: all that was done since the boot."""
        upper = self.folder / "layers" / "up"
        found = set()
        for folder, folders, files in os.walk(upper):
            for name in folders + files:
                path = pathlib.Path(folder) / name
                below = pathlib.Path("/") / path.relative_to(upper)
                if self._looks(path) != self._looks(below):
                    found.add(f"{below} {self._looks(path)}")
        return found

    @staticmethod
    def _looks(path):
        if not os.path.lexists(path):
            return None
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else os.readlink(path) if path.is_symlink() else status.st_rdev
        return f"{status.st_mode:o} {status.st_uid} {status.st_gid} {hash(content):x}"

    def put(self, path, content, mode=0o644):
        self.run(f"mkdir -p {shlex.quote(os.path.dirname(path))} && printf %s {shlex.quote(content)} >{shlex.quote(path)} && chmod {mode:o} {shlex.quote(path)}")

    def _end(self):
        if self.leader:
            subprocess.run(["kill", "-KILL", self.leader], stderr=subprocess.DEVNULL)
        if self.nspawn:
            try:
                self.nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
            self.log.close()
        layers = self.folder / "layers"
        for mount in () if self.given else (self.root, layers):
            for _ in range(50):
                if subprocess.run(["umount", mount], stderr=subprocess.DEVNULL).returncode == 0 or not os.path.ismount(mount):
                    break
                time.sleep(0.2)
        if not os.path.ismount(layers):
            shutil.rmtree(self.folder)


if __name__ == "__main__":
    # For tests/run: does a machine boot here?
    with Machine() as machine:
        machine.run("true")
