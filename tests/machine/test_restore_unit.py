"""syncropy-restore.socket: a restore through its hardened unit, on a booted system."""

import os
import pathlib

import pytest

from machine import Machine

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
QUICKSTART = f"{SOURCE}/packaging/quickstart"
BUILD = os.environ["SYNCROPY_BUILD"]
DATA, COPY = "/srv/data", "/srv/copy"
RESTORE = "runuser -u syncropy -- /usr/local/bin/syncropy -c quickstart restore"
# What a restore needs its capabilities for: owners, set-id bits, ACLs, attributes, capabilities, hard links, a FIFO.
MAKE = f"""mkdir -p {DATA}/folder {DATA}/private && cd {DATA} && echo one >one && ln one folder/two && cp /usr/bin/env program && mkfifo fifo &&
chown 1234:4321 one && chown nobody program && chmod 6755 program && setfacl -m u:nobody:rwx,d:u:nobody:rx folder && setfattr -n user.a -v b one &&
cp program capable && setcap cap_net_raw=ep capable && ln -s one link && chown -h nobody link &&
truncate -s 10M sparse && chmod 700 private && echo x >private/file && chown -R nobody private && touch -d 2001-02-03 folder private one &&
cp -a {DATA} {COPY}"""


@pytest.fixture(scope="module")
def machine():
    with Machine() as booted:
        booted.run(MAKE)
        booted.run(f"{QUICKSTART} --build {BUILD} {DATA}")
        booted.client = booted.output("ls /var/lib/syncropy-quickstart | grep -v '^[.]' | head -n 1").strip()
        yield booted


def test_it_is_off_until_it_is_enabled(machine):
    assert machine.output("systemctl is-enabled syncropy-restore.socket", check=False).strip() == "disabled"
    done = machine.run(f"{RESTORE} {machine.client}", check=False)
    assert done.returncode == 69 and "4445" in done.stdout, done.stdout


def test_a_policy_that_accepts_nothing_is_told_to_the_server(machine):
    machine.run("systemctl start syncropy-restore.socket")
    done = machine.run(f"{RESTORE} {machine.client}", check=False)
    assert done.returncode == 77 and "restore: accept" in done.stdout, done.stdout


def test_everything_comes_back_through_the_unit(machine):
    machine.run("echo 'restore: accept' >>/etc/syncropy/agent.yaml && systemctl start syncropy-restore.socket")
    machine.run(f"rm -rf {DATA}")
    machine.run(f"{RESTORE} {machine.client} {DATA}")
    assert machine.output(f"rsync -naHAXc --delete --itemize-changes {COPY}/ {DATA}/") == ""
    assert "cap_net_raw=ep" in machine.output(f"getcap {DATA}/capable")
    journal = machine.output("journalctl --no-pager -q -u 'syncropy-restore@*' -t syncropy-agent")
    assert "served" in journal, journal
    # One process a connection, gone with it.
    machine.run("for i in $(seq 100); do [[ -n $(systemctl list-units --no-legend 'syncropy-restore@*') ]] || exit 0; sleep 0.05; done; exit 1")


def test_home_and_the_temporary_folders_can_be_written(machine):
    for place in ("/root/back", "/home/back", "/tmp/back", "/var/tmp/back", "/usr/lib/modules/back"):
        machine.run(f"mkdir -p {os.path.dirname(place)}")
        machine.run(f"{RESTORE} --target {place} {machine.client} {DATA}/one")
        assert machine.output(f"cat {place}{DATA}/one") == "one\n"
        assert machine.output(f"stat -c '%u %g' {place}{DATA}/one") == "1234 4321\n"


def test_a_drop_in_confines_it(machine):
    machine.put("/etc/systemd/system/syncropy-restore@.service.d/place.conf", "[Service]\nProtectSystem=strict\nReadWritePaths=/srv\n")
    machine.run("systemctl daemon-reload")
    machine.run(f"{RESTORE} --target /srv/confined {machine.client} {DATA}/one")
    done = machine.run(f"{RESTORE} --target /var/lib/confined {machine.client} {DATA}/one", check=False)
    assert done.returncode == 74 and "Read-only" in done.stdout, done.stdout
