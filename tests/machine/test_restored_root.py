"""A whole system: backed up, restored into an empty folder, compared, and booted from there."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

from machine import Machine

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
import harness  # noqa: E402

# What a system needs to boot; the packages they depend on come with them.
PACKAGES = ["systemd", "systemd-sysv", "dbus", "bash", "coreutils", "util-linux", "login", "passwd", "mount", "libc-bin", "base-files", "base-passwd", "sed",
            "grep", "findutils", "iputils-ping", "libcap2-bin", "acl"]
STATE = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/nsswitch.conf", "/etc/alternatives", "/etc/systemd", "/etc/ld.so.cache", "/bin", "/sbin",
         "/lib", "/lib32", "/lib64", "/libx32"]


def packages():
    """PACKAGES and what they depend on, of those that are installed here."""
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${Package}\t${Pre-Depends}, ${Depends}\t${Provides}\n"], stdout=subprocess.PIPE, text=True, check=True)
    depends, provided = {}, {}
    for line in listed.stdout.splitlines():
        name, needs, provides = line.split("\t")
        depends[name] = [re.match(r"[a-z0-9.+-]*", choice.strip())[0] for need in needs.split(",") for choice in need.split("|")]
        for word in provides.split(","):
            provided.setdefault(word.strip().split(" ")[0], name)
    found, waiting = set(), list(PACKAGES)
    while waiting:
        name = waiting.pop()
        name = name if name in depends else provided.get(name)
        if name and name not in found:
            found.add(name)
            waiting += depends[name]
    return sorted(found)


def copy_system(root):
    names = subprocess.run(["dpkg", "-L", *packages()], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    real = {os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name)) for name in names if name.startswith("/") and name != "/."}
    wanted = sorted(name[1:] for name in real if os.path.lexists(name)) + [name[1:] for name in STATE if os.path.lexists(name)]
    packed = subprocess.Popen(["tar", "-C", "/", "--xattrs", "--xattrs-include=*", "--acls", "--no-recursion", "-c", "--null", "-T", "-"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    unpacked = subprocess.Popen(["tar", "-C", root, "--xattrs", "--xattrs-include=*", "--acls", "-xp"], stdin=packed.stdout)
    packed.stdout.close()
    folders = [os.path.join(folder, name)[1:] for state in STATE if os.path.isdir(state) and not os.path.islink(state) for folder, names, files in os.walk(state) for name in names + files]
    packed.stdin.write(b"\0".join(os.fsencode(name) for name in wanted + folders))
    packed.stdin.close()
    assert packed.wait() == 0 and unpacked.wait() == 0
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "var/tmp", "var/log"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/machine-id").write_text("")
    (root / "root/proof").write_text("from the backup\n")
    subprocess.run(["setcap", "cap_net_raw=ep", root / "root/proof"], check=True)
    subprocess.run(["setfacl", "-m", "u:nobody:r", root / "root/proof"], check=True)


@pytest.fixture(scope="module")
def restored():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="syncropy-root.", dir="/var/tmp"))
    folder.chmod(0o755)
    lab = harness.Lab()
    try:
        root = folder / "root"
        root.mkdir()
        copy_system(root)
        with harness.World(lab) as world:
            world.repository = folder / "store" / "backups"
            world.repository.parent.mkdir()
            os.chown(world.repository.parent, harness.SERVER, harness.SERVER)
            world.settings["general"]["repository"] = str(world.repository)
            world.client("a", world.agent().where, path=str(root))
            world.init().run()
            target = folder / "target"
            world.syncropy("restore", "--local", target, "a", root, user=())
        yield root, pathlib.Path(f"{target}{root}")
    finally:
        lab.close()
        shutil.rmtree(folder)


def test_rsync_finds_no_difference(restored):
    root, copy = restored
    compared = subprocess.run(["rsync", "-naHAXc", "--delete", "--itemize-changes", f"{root}/", f"{copy}/"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (compared.returncode, compared.stdout) == (0, ""), compared.stdout[:2000]


def test_it_boots(restored):
    _, copy = restored
    with Machine(copy) as machine:
        assert machine.output("cat /root/proof") == "from the backup\n"
        assert "cap_net_raw=ep" in machine.output("getcap /root/proof")
        assert "user:nobody:r--" in machine.output("getfacl -p /root/proof")
        assert machine.output("stat -c '%a %U' /usr/bin/passwd").strip() == "4755 root"
        assert machine.output("systemctl is-active dbus.service systemd-journald.service").split() == ["active", "active"]
        assert machine.output("setpriv --reuid=65534 --clear-groups id -un").strip() == "nobody"
