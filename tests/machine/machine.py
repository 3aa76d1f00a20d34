"""A machine to try things on: a throw-away copy of the running system that boots its own systemd and has a network of its own.

Its root is an overlay over this one's, so whatever is installed here is there, nothing done there is seen here, and it is up in
half a second; /tmp alone is empty. It may be an overlay over another root instead (bare.py makes one with nothing in it). Needs root,
systemd-nspawn and overlay mounts: tests/run leaves the part out where they cannot be had.
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


def own_group():
    """The control groups that this process is in, as folders."""
    mounts = {}
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            mounts.update({name: place for name in (options.split(",") if kind == "cgroup" else [""])})
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        place = mounts.get(controllers.split(",")[0])
        if place and controllers != "cpuset":  # of the first version, where a new group takes nobody in before it is told which processors
            yield pathlib.Path(place) / path.lstrip("/")


class Machine:
    """`root`: boots this folder as it is. `lower`: the root that it is a copy of, the running system's unless named. `name`: its host name."""

    def __init__(self, root=None, lower="/", name=None):
        self.given = root
        self.lower = pathlib.Path(lower)
        self.name = name
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncropy-machine."))
        self.root = root or self.folder / "layers" / "root"
        self.nspawn = self.leader = None
        # Of its own: in one group, one machine's manager would find another's processes in its own units of the same name.
        self.groups = [group / self.folder.name for group in own_group() if os.access(group, os.W_OK)]

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
        if self.name:
            (layers / "up/etc/hostname").write_text(f"{self.name}\n")
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={self.lower},upperdir={layers}/up,workdir={layers}/work", self.root], check=True)

    def _join_groups(self):
        for group in self.groups:
            (group / "cgroup.procs").write_text("0")

    def _boot(self, *states):
        self.log = open(self.folder / "boot.log", "wb")
        for group in self.groups:
            group.mkdir(exist_ok=True)
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--console=pipe",
             *(BINDS if self.lower == pathlib.Path("/") else []), "--private-network",
             f"--machine={self.folder.name.replace('_', 'x').replace('.', '-')}", "-D", self.root, "-b"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, preexec_fn=self._join_groups)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.nspawn.poll() is None:
            children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
            if children:
                self.leader = children[0]
                state = self.run("systemctl is-system-running", check=False).stdout.strip()
                if state in ("running", "degraded", *states):
                    return
            time.sleep(0.2)
        raise RuntimeError("the machine did not boot:\n" + (self.folder / "boot.log").read_text(errors="replace")[-2000:])

    def power_off(self):
        """An orderly shutdown; its disk stays."""
        self.run("systemctl poweroff", check=False)
        self.nspawn.wait(60)
        self.log.close()
        self.leader = None

    def power_on(self, *states):
        """Returns once it is up, or in one of the `states` of systemctl(1), is-system-running."""
        self._boot(*states)

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
        """Every path that differs from the root this one is a copy of, with what is there now: all that was done since the boot."""
        upper = self.folder / "layers" / "up"
        found = set()
        for folder, folders, files in os.walk(upper):
            for name in folders + files:
                path = pathlib.Path(folder) / name
                below = path.relative_to(upper)
                if self._looks(path) != self._looks(self.lower / below):
                    found.add(f"/{below} {self._looks(path)}")
        return found

    @staticmethod
    def _looks(path):
        if not os.path.lexists(path):
            return None
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else os.readlink(path) if path.is_symlink() else status.st_rdev
        return f"{status.st_mode:o} {status.st_uid} {status.st_gid} {hash(content):x}"

    def leaks(self, pattern):
        """Where the line of the file `pattern` is for everybody to see: arguments, environments, and files written since the boot, if everybody may read them."""
        seen = self.run(f"grep -s -l -a -F -f {pattern} /proc/[0-9]*/cmdline /proc/[0-9]*/environ; "
                        f"find /run /tmp /dev/shm -xdev -type f -perm /o+r -exec grep -s -l -a -F -f {pattern} {{}} +", check=False).stdout
        upper = self.folder / "layers/up"
        secret = upper / pattern.removeprefix("/")
        assert subprocess.run(["grep", "-q", "-a", "-F", "-f", secret, secret]).returncode == 0
        found = subprocess.run(["find", upper, "-type", "f", "-perm", "/o+r", "-exec", "grep", "-s", "-l", "-a", "-F", "-f", secret, "{}", "+"],
                               stdout=subprocess.PIPE, text=True)
        return seen + found.stdout

    def put(self, path, content, mode=0o644):
        self.run(f"mkdir -p {shlex.quote(os.path.dirname(path))} && printf %s {shlex.quote(content)} >{shlex.quote(path)} && chmod {mode:o} {shlex.quote(path)}")

    def _end(self):
        if self.leader:
            subprocess.run(["kill", "-KILL", self.leader], stderr=subprocess.DEVNULL)
        if self.nspawn and self.nspawn.poll() is None:
            try:
                self.nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
        if self.nspawn:
            self.log.close()
        for group in self.groups:
            subprocess.run(["find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"], stderr=subprocess.DEVNULL)
        layers = self.folder / "layers"
        for mount in () if self.given else (self.root, layers):
            for _ in range(50):
                if subprocess.run(["umount", mount], stderr=subprocess.DEVNULL).returncode == 0 or not os.path.ismount(mount):
                    break
                time.sleep(0.2)
        if not os.path.ismount(layers):
            shutil.rmtree(self.folder)


def connect(machines):
    """A cable between two machines: {machine: address}. What one boots anew without, it needs anew."""
    one, other = machines
    subprocess.run(["ip", "link", "add", "net0", "netns", one.leader, "type", "veth", "peer", "name", "net0", "netns", other.leader], check=True)
    for machine, address in machines.items():
        inside = ["nsenter", "-t", machine.leader, "-n", "ip"]
        subprocess.run([*inside, "address", "add", f"{address}/24", "dev", "net0"], check=True)
        subprocess.run([*inside, "link", "set", "net0", "up"], check=True)


if __name__ == "__main__":
    # For tests/run: does a machine boot here?
    with Machine() as machine:
        machine.run("true")
