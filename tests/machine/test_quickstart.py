"""packaging/quickstart: what it promises a newcomer, and that --purge leaves the machine as it was."""

import os
import pathlib
import re

import pytest

from machine import Machine

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
QUICKSTART = f"{SOURCE}/packaging/quickstart"
BUILD = os.environ["SYNCROPY_BUILD"]
FOLDER = "/usr/include"
STORE = "/var/lib/syncropy-quickstart"

# Written by the system itself while we look: the journal, the copies useradd keeps of the previous passwd, systemd's own notes.
OTHERS = re.compile(r"/(proc|sys|dev|run|tmp|var/tmp|var/log/journal|var/lib/systemd|var/cache/ldconfig)(/|$)|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$"
                    r"|/etc/\.pwd\.lock$|/var/log/(wtmp|btmp|lastlog|faillog)$")


def left_behind(machine):
    """What differs from the machine that was booted. A build folder named with --build is the caller's: meson logs its installations there."""
    return {line for line in machine.changed() if not OTHERS.match(line.split(" ")[0]) and not line.startswith(f"{BUILD}/")}


@pytest.fixture(scope="module")
def machine():
    with Machine() as booted:
        booted.before = left_behind(booted)
        booted.first = booted.output(f"{QUICKSTART} --build {BUILD} {FOLDER}")
        yield booted


def trees(machine):
    return machine.output(f"ls -d {STORE}/*/hour/*/tree").split()


def test_shows_two_trees_and_that_the_second_is_made_of_links(machine):
    for tree in trees(machine):
        assert tree in machine.first
    rows = re.findall(r"^  (first|second) +([\d.]+) +(\d+) +(\d+) +(\d+) +(.*)$", machine.first.replace(",", ""), re.MULTILINE)
    assert [row[0] for row in rows] == ["first", "second"], machine.first
    (_, _, entries, files, linked, _), (_, _, entries2, files2, linked2, _) = rows
    assert int(entries) > 1000 and int(files) > 1000 and linked == "0"
    assert (entries2, files2, linked2) == (entries, files, files)


def test_both_trees_are_the_source(machine):
    for tree in trees(machine):
        assert machine.output(f"diff -r --no-dereference {FOLDER} {tree}{FOLDER}") == ""


def test_shows_the_catalog(machine):
    listed = machine.output("runuser -u syncropy -- syncropy -c quickstart list")
    for tree in trees(machine):
        name = tree.split("/")[-2]
        assert name in listed and name in machine.first
    assert "OWNER" in machine.first.upper() and "root" in machine.first


def test_the_programs_run_without_privileges(machine):
    assert machine.output(f"stat -c %U {trees(machine)[0]}").strip() == "syncropy"
    process = machine.output("systemctl show -P MainPID syncropy-agent.service").strip()
    status = machine.output(f"cat /proc/{process}/status")
    assert re.search(r"^CapEff:\t0000000000000004$", status, re.MULTILINE), status  # CAP_DAC_READ_SEARCH
    assert re.search(r"^CapBnd:\t0000000000000004$", status, re.MULTILINE), status
    assert machine.output(f"stat -c %U /proc/{process}").strip() == "syncropy-agent"


def test_keys_are_nobody_elses(machine):
    assert machine.output("stat -c '%a %U %G' /etc/syncropy/quickstart/ca.key").strip() == "600 root root"
    assert machine.output("stat -c '%a %U %G' /etc/syncropy/quickstart/server.key").strip() == "640 root syncropy"
    assert machine.output("stat -c '%a %U %G' /etc/syncropy/quickstart/agent.key").strip() == "640 root syncropy-agent"


def test_leaves_timers_that_nothing_enabled(machine):
    for tier in ("hourly", "daily", "weekly", "monthly"):
        assert machine.output(f"systemctl is-enabled syncropy-{tier}@quickstart.timer", check=False).strip() == "disabled"
        machine.run(f"systemctl start syncropy-{tier}@quickstart.timer")
        assert f"syncropy-server@quickstart-{tier}.service" in machine.output(f"systemctl show -P Unit syncropy-{tier}@quickstart.timer")
        machine.run(f"systemctl stop syncropy-{tier}@quickstart.timer")


def test_another_tier_by_its_unit(machine):
    machine.run("systemctl start syncropy-server@quickstart-daily")
    tree, = machine.output(f"ls -d {STORE}/*/day/*/tree").split()
    newest = trees(machine)[-1]
    shared = machine.output(f"stat -c %i {tree}{FOLDER}/stdio.h {newest}{FOLDER}/stdio.h").split()
    assert shared[0] == shared[1]


def test_runs_again(machine):
    had = trees(machine)
    again = machine.output(f"{QUICKSTART} --build {BUILD} {FOLDER}")
    assert len(trees(machine)) == len(had) + 2
    assert re.search(r"^  first +[\d.]+ +([\d,]+) +([\d,]+) +\2 ", again, re.MULTILINE), again  # linked to the older dataset


def test_refuses_a_configuration_changed_by_hand(machine):
    machine.run("cp -p /etc/syncropy/quickstart.yaml /root/kept && echo '# mine' >>/etc/syncropy/quickstart.yaml")
    refused = machine.run(f"{QUICKSTART} --build {BUILD} {FOLDER}", check=False)
    assert refused.returncode == 73 and "/etc/syncropy/quickstart.yaml was changed by hand" in refused.stdout
    assert "# mine" in machine.output("cat /etc/syncropy/quickstart.yaml")
    machine.run("mv /root/kept /etc/syncropy/quickstart.yaml")


def test_without_systemd_running(machine):
    had = trees(machine)
    hidden = f"mount -t tmpfs tmpfs /run/systemd && {QUICKSTART} --port 4445 --build {BUILD} {FOLDER}"
    shown = machine.output(f"unshare -m bash -c '{hidden}'")
    assert "systemd does not run here" in shown
    assert len(trees(machine)) == len(had) + 2
    assert machine.run("(exec 3<>/dev/tcp/127.0.0.1/4445) 2>/dev/null", check=False).returncode != 0  # nothing is left behind


def test_refuses_files_of_others(machine):
    machine.run("mv /etc/syncropy/quickstart/made /root/made")
    refused = machine.run(f"{QUICKSTART} --build {BUILD} {FOLDER}", check=False)
    machine.run("mv /root/made /etc/syncropy/quickstart/made")
    assert refused.returncode == 73 and "not of a quickstart's making" in refused.stdout


@pytest.mark.parametrize("arguments, status, word", [
    ("--no-such-option", 2, "--help"), ("/no/such/folder", 66, "/no/such/folder"), ("--port 70000", 2, "--port"), ("--port", 2, "value"),
    ("/usr/include /usr/share", 2, "one folder"), ("--packages", 2, "--purge"), (STORE, 2, STORE)])
def test_refuses_bad_arguments(machine, arguments, status, word):
    refused = machine.run(f"{QUICKSTART} {arguments}", check=False)
    assert refused.returncode == status and word in refused.stdout, refused.stdout


def test_names_its_remedy_when_the_port_is_taken(machine):
    taken = machine.run("systemd-socket-activate -l 127.0.0.1:4446 /bin/true & sleep 0.3; "
                        f"{QUICKSTART} --port 4446 --build {BUILD} {FOLDER}; status=$?; kill %1; exit $status", check=False)
    assert taken.returncode == 69 and "--port" in taken.stdout, taken.stdout


def test_purge_leaves_the_machine_as_it_was(machine):
    assert len(left_behind(machine)) > 1000  # the comparison does see what a quickstart makes
    machine.run("systemctl enable --now syncropy-hourly@quickstart.timer")
    machine.run(f"{QUICKSTART} --purge")
    assert sorted(left_behind(machine) ^ machine.before) == []
    assert "nothing of a quickstart" in machine.output(f"{QUICKSTART} --purge")
    assert machine.output("systemctl list-units --all --no-legend 'syncropy*'") == ""
