"""The RPM packages, installed by rpm for real: on a copy of this Debian, whose own rpm knows of nothing. What is shown are their scripts and files;
Fedora's macros are those that packaging/rpm/debian.macros has in their place."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from machine import Machine

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(SOURCE / "tests/packages"))

import building  # noqa: E402

PLACES = "/etc /var/lib /run /usr/lib /usr/share /usr/sbin /usr/bin"
# Of rpm, systemd and the accounts, which every installation changes; and of programs in general.
OTHERS = re.compile(r"/(var/lib/(rpm|systemd/(catalog|random-seed))|run/(systemd|credentials|log|user))(/|$)|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|"
                    r"/etc/\.pwd\.lock$|/usr/lib/\.build-id")


def paths(machine):
    return {path for path in machine.output(f"find {PLACES} -xdev 2>/dev/null", check=False).splitlines() if not OTHERS.search(path)}


@pytest.fixture(scope="module")
def machine():
    packages = building.rpm()[1]
    with Machine() as booted:
        upper = booted.folder / "layers/root/root/rpm"
        upper.mkdir(parents=True)
        for package in packages.values():
            shutil.copy(package, upper)
        booted.before = paths(booted)
        # What it says, but for the accounts that are made.
        booted.rpm = lambda words: re.sub(r"^Creating .*\n", "", booted.output(f"cd /root/rpm && rpm --force-debian {words}"), flags=re.MULTILINE)
        yield booted


def wait_for(machine, line, seconds=10):
    machine.run(f"for i in $(seq {seconds * 20}); do {line} && exit 0; sleep 0.05; done; echo 'not within {seconds} s'; exit 1")


def test_installs_upgrades_and_goes(machine):
    said = machine.rpm("-i --nodeps syncropy-*.rpm")
    assert said == "", said
    # Nothing is enabled or runs; users, folders and explanations are there.
    assert machine.output("systemctl list-units --all --no-legend 'syncropy*'") == ""
    assert machine.output("find /etc/systemd -name '*syncropy*'") == ""
    assert machine.output("stat -c '%a %U' /etc/syncropy/hooks.d /var/lib/syncropy /var/lib/syncropy-ca").splitlines() == ["755 root", "700 syncropy", "700 syncropy-ca"]
    assert "syncropy-agent" in machine.output("getent passwd syncropy-agent") and "Syncropy agent" in machine.output("journalctl --list-catalog --no-pager")
    assert machine.output("rpm -V --nodeps syncropy-agent syncropy-server syncropy-common syncropy-restore") == ""

    # A backup that a hook holds where it is.
    machine.put("/etc/syncropy/prod.yaml", "general: {repository: /srv/backup}\nclients:\n  web1:\n    host: localhost\n    path: /etc/syncropy\n    pre_command: hold\n"
                "    sslpem: credential:syncropy-server.key\n    sslca: /etc/syncropy/keys/ca.crt\n")
    machine.put("/etc/syncropy/hooks.d/hold", "#!/bin/bash\ntouch /var/lib/syncropy-agent/held\nwhile [[ -e /var/lib/syncropy-agent/held ]]; do sleep 0.05; done\n", 0o755)
    machine.run("install -d -o syncropy -m 0700 /srv/backup && runuser -u syncropy -- syncropy -c prod init")
    machine.run("syncropy ca init localhost && systemctl enable --now --quiet syncropy-enroll.socket syncropy-ca.timer syncropy-agent.socket && "
                "syncropy enroll -q web1 | syncropy-agent enroll localhost -")
    machine.run("systemctl enable --now --quiet syncropy@prod.target && systemctl start --no-block syncropy-server@prod-hourly")
    wait_for(machine, "[[ -e /var/lib/syncropy-agent/held ]]")
    show = "systemctl show -P MainPID syncropy-agent.service syncropy-server@prod-hourly.service"
    processes = machine.output(show)

    # To an upgrade, the same packages once more are no different.
    said = machine.rpm("-U --force --nodeps syncropy-*.rpm")
    assert said == "" and machine.output(show) == processes and "0" not in processes.split()
    assert machine.output("systemctl is-enabled syncropy-agent.socket syncropy@prod.target").split() == 2 * ["enabled"]
    assert machine.output("systemctl is-active syncropy-agent.socket syncropy-hourly@prod.timer").split() == 2 * ["active"]
    machine.run("rm /var/lib/syncropy-agent/held")
    wait_for(machine, "ls -d /srv/backup/web1/hour/*/tree")
    # With its last connection the old agent is gone.
    wait_for(machine, "[[ $(systemctl show -P MainPID syncropy-agent.service) = 0 ]]")
    machine.run("systemctl start --no-block syncropy-server@prod-daily")
    wait_for(machine, "[[ -e /var/lib/syncropy-agent/held ]]")

    # Removed in the middle of a backup: nothing is left running, failed, enabled or owned. What people made stays.
    said = machine.rpm("-e --nodeps syncropy-agent syncropy-restore syncropy-server syncropy-common")
    assert said == "", said
    assert machine.output("systemctl list-units --no-legend 'syncropy*'") == "" and machine.output("systemctl list-units --failed --no-legend 'syncropy*'") == ""
    assert machine.output("readlink /proc/[0-9]*/exe | grep syncropy", check=False) == ""
    assert machine.output("find /etc/systemd /var/lib/systemd/timers -name '*syncropy*'") == ""
    # The first three are folders of Fedora's own packages.
    kept = re.compile(r"/usr/share/(licenses|zsh/site-functions)$|/var/lib/systemd/timers$|/etc/(syncropy|credstore)(/|$)|/var/lib/syncropy-(ca|agent)(/|$)")
    left = {path for path in paths(machine) - machine.before if not kept.match(path)}
    assert left == set(), sorted(left)
    for path in ("/etc/syncropy/agent.yaml", "/etc/syncropy/prod.yaml", "/etc/credstore/syncropy-agent.key", "/var/lib/syncropy-ca/ca.key", "/srv/backup/web1/hour"):
        machine.run(f"test -e {path}")
