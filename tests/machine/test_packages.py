"""The packages on two bare machines with a cable between them: what an administrator does, from apt-get install to apt-get purge.

`site.client` is backed up, `site.server` keeps the backups. They are copies of a Debian with nothing in it (bare.py), and apt alone
decides what comes with the packages. The tests build on one another, in this order.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

import bare
import machine as machines
from machine import Machine

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ["SYNCROPY_BUILD"])
sys.path.insert(0, str(SOURCE / "tests/packages"))

import building  # noqa: E402

CLIENT, SERVER = "10.77.0.2", "10.77.0.1"
DATA, COPY, REPOSITORY = "/srv/data", "/srv/copy", "/srv/backup"
TIERS = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}
COMPLETE = "18192d5a7e6a4821917b9006fdf3de87"
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0"


class Host(Machine):
    def wait_for(self, line, what, seconds=30):
        deadline = time.monotonic() + seconds
        while self.run(line, check=False).returncode != 0:
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self.output('journalctl -b --no-pager -n 40')}"
            time.sleep(0.05)

    def show(self, prop, unit):
        return self.output(f"systemctl show -P {prop} {unit}").strip()

    def start(self, unit, verb="start"):
        done = self.run(f"systemctl {verb} {unit}", check=False)
        assert done.returncode == 0, self.output(f"journalctl -q -b --no-pager -o cat -n 30 -u {unit}")

    def processes(self):
        return self.output("readlink /proc/[0-9]*/exe | grep syncropy", check=False)

    def apt(self, words):
        return self.output(f"{INSTALL} {words}")


class Site:
    """Both machines, and what was done to them."""

    def __init__(self, root):
        self.client, self.server = Host(lower=root, name="web1"), Host(lower=root, name="backup")
        self.both = (self.client, self.server)

    def __enter__(self):
        self.started = []
        try:
            for host in self.both:
                self.started.append(host.__enter__())
            self.connect()
            for host in self.both:
                host.run(f"printf '%s\\n' '{CLIENT} web1' '{SERVER} backup' >>/etc/hosts")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for host in self.started:
            host.__exit__()

    def connect(self):
        machines.connect({self.client: CLIENT, self.server: SERVER})

    def on_both(self, action):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return list(pool.map(action, self.both))

    def datasets(self, tier):
        return self.server.output(f"ls {REPOSITORY}/web1/{tier} 2>/dev/null", check=False).split()


def files_of(package):
    return {line.split()[-1].lstrip(".") for line in subprocess.run(["dpkg-deb", "-c", package], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()}


@pytest.fixture(scope="module")
def site():
    with concurrent.futures.ThreadPoolExecutor() as pool:  # one waits for the network, the other for the processor
        root, packages = pool.submit(bare.bare_root, BUILD / "bare"), pool.submit(lambda: building.debian()[1])
        root, packages = root.result(), packages.result()
    bare.fetch(root, list(packages.values()))
    with Site(root) as both:
        both.packages = packages
        yield both


def test_installs_with_what_apt_finds_and_starts_nothing(site):
    site.before = site.on_both(lambda host: set(host.output("find /etc /var/lib -xdev").splitlines()))
    wanted = {site.client: "common agent", site.server: "common server"}
    names = {host: " ".join(f"/root/packages/{site.packages[name].name}" for name in words.split()) for host, words in wanted.items()}
    site.on_both(lambda host: host.apt(f"install {names[host]}"))
    for host in site.both:
        for program in host.output("ls /usr/bin/syncropy /usr/sbin/syncropy-* 2>/dev/null", check=False).split():
            assert "not found" not in host.output(f"ldd {program}")
            assert host.output(f"{program} --version")
        assert host.output("systemctl list-units --no-legend 'syncropy*'") == ""
        assert host.output("systemctl list-unit-files --no-legend --state=enabled 'syncropy*'", check=False) == ""
        assert host.output("find /etc/systemd -name '*syncropy*'") == ""
        assert host.processes() == ""


def test_enrolment(site):
    """As syncropy-enroll(7) has it: what is typed on both sides, and nothing else."""
    client, server = site.both
    server.put("/etc/syncropy/prod.yaml", f"general: {{repository: {REPOSITORY}}}\ndataset: {{hour: 3, day: 2, week: 2, month: 2}}\nclients:\n  web1:\n"
               f"    host: web1\n    sslpem: credential:syncropy-server.key\n    sslca: /etc/syncropy/keys/ca.crt\n    path: [{DATA}, /etc]\n")
    server.run("syncropy ca init backup && systemctl enable --now syncropy-enroll.socket syncropy-ca.timer")
    token = server.output("syncropy enroll -q web1").strip()
    assert len(token.split()) == 1, token
    server.put("/root/token", token, 0o600)
    client.put("/root/token", token, 0o600)
    client.run("syncropy-agent enroll backup - </root/token && systemctl enable --now syncropy-agent.socket syncropy-renew.timer")
    again = client.run("syncropy-agent enroll --force backup - </root/token", check=False)
    assert again.returncode == 77 and "token" in again.stdout, again.stdout
    assert client.show("ActiveState", "syncropy-agent.service") == "inactive"
    for host in site.both:
        host.run("cat /etc/credstore/*.key | sed -n 2p >/root/secret && chmod 0600 /root/secret")
        assert host.leaks("/root/secret") == ""


def test_set_up(site):
    client, server = site.both
    client.run(f"mkdir -p {DATA}/folder && echo one >{DATA}/one && chown 1234:4321 {DATA}/one && ln {DATA}/one {DATA}/folder/two && cp /usr/bin/env {DATA}/program && "
               f"chmod 4755 {DATA}/program && cp -a {DATA} {COPY}")
    server.run(f"install -d -o syncropy -g syncropy -m 0700 {REPOSITORY} && syncropy -c prod init")


@pytest.mark.parametrize("name", TIERS)
def test_each_tier(site, name):
    site.server.start(f"syncropy-server@prod-{name}")
    dataset, = site.datasets(TIERS[name])
    tree = f"{REPOSITORY}/web1/{TIERS[name]}/{dataset}/tree"
    assert site.server.output(f"cat {tree}{DATA}/one") == "one\n"
    assert site.server.output(f"stat -c '%U %a' {tree}{DATA}/program").strip() == "syncropy 400"


def test_journal_by_field_and_id(site):
    told = [json.loads(line) for line in site.server.output(f"journalctl -q -b -o json MESSAGE_ID={COMPLETE} SYNCROPY_CLIENT=web1 SYNCROPY_TIER=week").splitlines()]
    entry, = told
    # The agent that served it is the client's: these are two machines, with control groups of their own.
    groups = "find /sys/fs/cgroup -name syncropy-agent.service"
    assert site.client.output(groups) and not site.server.output(groups)
    assert entry["_SYSTEMD_UNIT"] == "syncropy-server@prod-weekly.service" and int(entry["SYNCROPY_ENTRIES"]) > 100, entry


def test_timers(site):
    server = site.server
    for name in TIERS:
        server.put(f"/etc/systemd/system/syncropy-{name}@.timer.d/soon.conf", "[Timer]\nOnCalendar=\nOnActiveSec=200ms\nAccuracySec=1ms\nRandomizedDelaySec=0\n")
    had = {tier: site.datasets(tier) for tier in TIERS.values()}
    server.run("systemctl daemon-reload && systemctl enable --now syncropy@prod.target")
    for name, tier in TIERS.items():
        server.wait_for(f"test $(ls {REPOSITORY}/web1/{tier} | wc -l) -gt {len(had[tier])}", f"the {name} timer's backup")
    server.wait_for("! systemctl list-units --no-legend 'syncropy-server@*' | grep -q activating", "the runs end")
    server.run("rm -r /etc/systemd/system/syncropy-*@.timer.d && systemctl daemon-reload")


def test_restore_needs_its_package_and_the_policy(site):
    client, server = site.both
    restore = f"syncropy -c prod restore --existing=replace web1 {DATA}"
    client.run(f"rm -r {DATA}/folder && echo changed >{DATA}/one")
    assert server.run(restore, check=False).returncode == 69
    client.apt(f"install /root/packages/{site.packages['restore'].name}")
    assert client.show("UnitFileState", "syncropy-restore.socket") == "disabled"
    client.run("echo 'restore: accept' >>/etc/syncropy/agent.yaml && systemctl enable --now syncropy-restore.socket")
    server.run(restore)
    assert client.output(f"cd {COPY} && find . -printf '%p %y %U %G %m %s %T@ %n\\n' | sort") == client.output(f"cd {DATA} && find . -printf '%p %y %U %G %m %s %T@ %n\\n' | sort")


def test_upgrade_in_the_middle_of_a_backup(site, tmp_path):
    client, server = site.both
    newer = repacked(site.packages, tmp_path, "9.9.9")
    for host in site.both:
        (host.root / "root/newer").mkdir()
        for package in newer:
            shutil.copy(package, host.root / "root/newer")
    # The client's command holds the backup where it is until we say so.
    client.put("/etc/syncropy/hooks.d/hold", "#!/bin/sh\ntouch /var/lib/syncropy-agent/held\nwhile [ -e /var/lib/syncropy-agent/held ]; do sleep 0.1; done\n", 0o755)
    server.run("cp /etc/syncropy/prod.yaml /etc/syncropy/held.yaml && echo '    pre_command: hold' >>/etc/syncropy/held.yaml")
    client.start("syncropy-agent", "reload")
    server.run("systemctl start --no-block syncropy-server@held-daily")
    client.wait_for("test -e /var/lib/syncropy-agent/held", "the backup is under way")
    run, agent = server.show("MainPID", "syncropy-server@held-daily"), client.show("MainPID", "syncropy-agent")

    site.on_both(lambda host: host.apt("install /root/newer/syncropy-common_*.deb " + ("/root/newer/syncropy-server_*.deb" if host is server else
                                       "/root/newer/syncropy-agent_*.deb /root/newer/syncropy-restore_*.deb")))
    for host in site.both:
        assert set(host.output("dpkg-query -W -f '${Version}\\n' 'syncropy-*'").split()) == {"9.9.9"}
    assert server.show("MainPID", "syncropy-server@held-daily") == run and client.show("MainPID", "syncropy-agent") == agent
    assert client.show("ActiveState", "syncropy-agent.socket") == client.show("ActiveState", "syncropy-restore.socket") == "active"
    had = len(site.datasets("day"))
    client.run("rm /var/lib/syncropy-agent/held")
    server.wait_for("! systemctl is-active -q syncropy-server@held-daily && ! systemctl show -P ActiveState syncropy-server@held-daily | grep -q activating", "the backup ends")
    assert server.show("Result", "syncropy-server@held-daily") == "success", server.output("journalctl -b -n 30 --no-pager")
    assert len(site.datasets("day")) >= min(had + 1, 2)
    # The old agent is gone with its last connection, and the new one serves.
    client.wait_for("test $(systemctl show -P MainPID syncropy-agent) = 0", "the old agent ends", 5)
    server.start("syncropy-server@prod-hourly")
    now = client.show("MainPID", "syncropy-agent")
    assert now not in ("0", agent) and client.output(f"readlink /proc/{now}/exe").strip() == "/usr/sbin/syncropy-agent"
    # One that is idle makes way at once.
    client.apt("install --reinstall /root/newer/syncropy-agent_*.deb")
    client.wait_for("test $(systemctl show -P MainPID syncropy-agent) = 0", "the idle agent makes way", 5)


def repacked(packages, folder, version):
    """The same packages with another version: what an upgrade does is told by its number."""
    made = []
    for name, package in packages.items():
        inside = folder / name
        subprocess.run(["dpkg-deb", "-R", package, inside], check=True)
        control = inside / "DEBIAN/control"
        old = re.search(r"^Version: (.*)$", control.read_text(), re.MULTILINE)[1]
        text = control.read_text().replace(f"Version: {old}\n", f"Version: {version}\n").replace(f"= {old})", f"= {version})")
        control.write_text(text)
        subprocess.run(["dpkg-deb", "-b", "-z1", inside, folder / f"{package.name.replace(old, version)}"], check=True, stdout=subprocess.DEVNULL)
        made.append(folder / package.name.replace(old, version))
    return made


def test_reboot(site):
    server = site.server
    server.run("touch -d '3 hours ago' /var/lib/systemd/timers/stamp-syncropy-hourly@prod.timer")
    server.put("/etc/systemd/system/syncropy-hourly@.timer.d/prompt.conf", "[Timer]\nRandomizedDelaySec=0\nAccuracySec=1ms\n")
    # The cable is ours to plug in, once both are there: that is when this server's network is online.
    server.put("/etc/systemd/system/cable.service", "[Unit]\nBefore=network-online.target\n[Service]\nType=oneshot\n"
               "ExecStart=/bin/sh -c 'until grep -q up /sys/class/net/net0/operstate; do sleep 0.1; done'\n[Install]\nWantedBy=network-online.target\n")
    server.run("systemctl enable cable.service")
    had = site.datasets("hour")
    site.on_both(lambda host: host.power_off())
    site.client.power_on()
    server.power_on("starting")
    site.connect()
    # What was missed while the machine was off is made up for, once.
    server.wait_for(f"test $(ls {REPOSITORY}/web1/hour | tail -n 1) != {had[-1]}", "the missed run")
    server.wait_for("! systemctl list-units --no-legend 'syncropy-server@*' | grep -q activating", "the runs end")
    assert len(set(site.datasets("hour")) - set(had)) == 1
    assert site.client.show("ActiveState", "syncropy-agent.socket") == "active"


def left(host, before):
    """What stands in the folders of the system that was not there before and that no package owns."""
    ours = set(host.output("find /etc /var/lib /run -xdev").splitlines())
    known = set(host.output("cat /var/lib/dpkg/info/*.list").splitlines())
    noise = re.compile(r"/var/lib/(dpkg|apt|systemd/(catalog|random-seed|timers|deb-systemd-helper))|/run/(systemd|udev|log|user|dbus|lock|mount|utmp|initctl|host|shm|sendsigs|motd|credentials)|"
                       r"/etc/(ld\.so\.cache|passwd-|group-|shadow-|gshadow-|subuid-|subgid-|\.pwd\.lock)")
    return {path for path in ours - before - known if not noise.match(path)} | set(
        host.output(r"find /etc /var /run /usr /root /home /lib -xdev \( -name '*syncropy*' -o -xtype l -lname '*syncropy*' \) ! -path '/root/*'").splitlines())


def test_purge(site):
    client, server = site.both
    server.run("systemctl disable cable.service && rm -r /etc/systemd/system/cable.service /etc/systemd/system/syncropy-hourly@.timer.d && systemctl daemon-reload")
    trees = server.output(f"find {REPOSITORY} | sort")
    client.apt("remove syncropy-agent syncropy-restore")
    assert client.output("systemctl list-units --no-legend 'syncropy*'") == ""
    assert client.processes() == ""
    server.run("systemctl start --no-block syncropy-server@prod-hourly")
    server.apt("remove syncropy-server")
    assert server.processes() == ""
    assert server.output("systemctl list-units --no-legend 'syncropy*'") == ""
    site.on_both(lambda host: host.apt("purge 'syncropy-*'"))
    site.on_both(lambda host: host.apt("autoremove --purge"))
    for host, before in zip(site.both, site.before):
        remains = left(host, before)
        assert not remains, "\n".join(sorted(remains))
    assert server.output(f"find {REPOSITORY} | sort") == trees
    assert client.output("getent passwd syncropy-agent") and server.output("getent passwd syncropy")
