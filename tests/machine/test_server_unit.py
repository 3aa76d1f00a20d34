"""The server's units on a booted system: runs, timers, the target, reports of failures, and what the journal can be asked."""

import collections
import json
import os
import pathlib
import re
import subprocess
import time

import pytest

from machine import Machine

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = os.environ["SYNCROPY_BUILD"]
KEYS, DATA, STORE = "/etc/syncropy/quickstart", "/srv/data", "/var/lib/syncropy-quickstart"
TIERS = ("hourly", "daily", "weekly", "monthly")
TIMERS = [f"syncropy-{kind}@prod.timer" for kind in (*TIERS, "empty-trash", "verify")]
UNITS = ["syncropy@prod.target", *TIMERS, "syncropy-server@prod-hourly.service", "syncropy-empty-trash@prod.service", "syncropy-verify@prod.service",
         "syncropy-failure@syncropy-server@prod-hourly.service", "syncropy-inhibit.socket", "syncropy-inhibit@1.service"]
HEADER = (SOURCE / "src/sd/message-ids.hpp").read_text()
IDS = dict(re.findall(r'std::string_view (\w+) = "(\w{32})"', HEADER))
Failed = collections.namedtuple("Failed", "status result entries")


class Server(Machine):
    def config(self, name, path=DATA, general="", **keys):
        """A config with one client of its own name, in the quickstart's repository unless `general` says another."""
        settings = {"host": "127.0.0.1", "port": 4444, "sslca": f"{KEYS}/ca.crt", "sslcert": f"{KEYS}/server.crt", "sslkey": f"{KEYS}/server.key",
                    "path": f"[{path}]"} | keys
        self.put(f"/etc/syncropy/{name}.yaml", f"general: {{{general or 'repository: ' + STORE}}}\nclients:\n  {name}:\n"
                 + "".join(f"    {key}: {value}\n" for key, value in settings.items()))

    def drop_in(self, unit, text):
        self.put(f"/run/systemd/system/{unit}.d/test.conf", text)
        self.run("systemctl daemon-reload")

    def without_drop_in(self, unit):
        self.run(f"rm -r /run/systemd/system/{unit}.d && systemctl daemon-reload")

    def show(self, prop, unit):
        return self.output(f"systemctl show -P {prop} {unit}").strip()

    def entries(self, *matches):
        """What the journal has, as the programs sent it."""
        lines = self.output(f"journalctl --sync; journalctl -q -b --no-pager -o json --all {' '.join(matches)}").splitlines()
        return [json.loads(line) for line in lines]

    def last_run(self, instance):
        """What syncropy-server said in the instance's last run, of which the manager knows nothing any more where it ended well."""
        said = self.entries(f"_SYSTEMD_UNIT=syncropy-server@{instance}.service", "SYSLOG_IDENTIFIER=syncropy-server")
        return [entry for entry in said if entry["_SYSTEMD_INVOCATION_ID"] == said[-1]["_SYSTEMD_INVOCATION_ID"]]

    def fail(self, instance):
        assert self.run(f"systemctl start syncropy-server@{instance}", check=False).returncode != 0
        unit = f"syncropy-server@{instance}.service"
        return Failed(int(self.show("ExecMainStatus", unit)), self.show("Result", unit), self.last_run(instance))

    def datasets(self, client, tier="hour"):
        return self.output(f"ls {STORE}/{client}/{tier} 2>/dev/null", check=False).split()

    def background(self, line):
        return subprocess.Popen(["nsenter", "-t", self.leader, "-m", "-p", "-u", "-i", "-n", "-C", "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
                                 "bash", "-c", f"cd / && exec {line}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait_for(self, line, what, seconds=60):
        deadline = time.monotonic() + seconds
        while self.run(line, check=False).returncode != 0:
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
            time.sleep(0.05)

    def begin(self, instance, client):
        """A run that is in the middle of its first dataset (what an earlier one left in staging says nothing)."""
        run = self.background(f"systemctl start syncropy-server@{instance}")
        self.wait_for(f"systemctl show -P StatusText syncropy-server@{instance} | grep -E '^{client}: (listing|receiving).* [1-9][0-9]* files' && "
                      f"ls -d {STORE}/{client}/.staging/*", "a dataset is being written")
        return run


@pytest.fixture(scope="module")
def machine():
    with Server() as booted:
        booted.run(f"mkdir -p {DATA}/folder && echo one >{DATA}/one && echo two >{DATA}/folder/two")
        booted.run(f"{SOURCE}/packaging/quickstart --build {BUILD} {DATA}")
        booted.put("/usr/sbin/sendmail", '#!/bin/bash\n[[ ! -e /run/no-mail ]] || { echo "no such host"; exit 75; }\ncat >"/var/spool/mails/$$"\n', 0o755)
        booted.run("mkdir -m 1777 /var/spool/mails")
        # As long as /run/hold is there the client is in its pre-command.
        booted.put("/etc/syncropy/hooks.d/hold", "#!/bin/bash\nwhile [[ -e /run/hold ]]; do sleep 0.05; done\n", 0o755)
        booted.config("prod")
        booted.config("big", "/usr")
        yield booted


# --- What the manager thinks of the units

def test_verify_has_nothing_to_say(machine):
    assert machine.output(f"systemd-analyze verify {' '.join(UNITS)}") == ""


def test_exposure(machine):
    for unit, most in (("syncropy-server@prod-hourly", 1.5), ("syncropy-empty-trash@prod", 1.5), ("syncropy-verify@prod", 1.5), ("syncropy-inhibit@1", 2.0)):
        said = machine.output(f"systemd-analyze security --no-pager {unit}.service", check=False)
        assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1]) <= most, unit


# --- The target and its timers

def test_the_target_is_all_that_is_enabled(machine):
    machine.run("systemctl enable --now syncropy@prod.target")
    assert machine.output(f"systemctl is-active {' '.join(TIMERS)}").split() == 6 * ["active"]
    for tier in TIERS:
        assert machine.show("Unit", f"syncropy-{tier}@prod.timer") == f"syncropy-server@prod-{tier}.service"
    machine.run("systemctl disable --now syncropy@prod.target")
    assert machine.output(f"systemctl is-active {' '.join(TIMERS)}", check=False).split() == 6 * ["inactive"]
    assert machine.output("ls /etc/systemd/system/timers.target.wants").find("syncropy") < 0


def test_a_target_without_a_configuration_starts_nothing(machine):
    said = machine.run("systemctl start syncropy@typo.target", check=False)
    assert said.returncode != 0 and "Assertion failed" in said.stdout
    assert machine.output("systemctl list-units --no-legend --state=active 'syncropy-*@typo.timer'") == ""


def test_a_missed_timer_is_made_up_for(machine):
    machine.drop_in("syncropy-weekly@prod.timer", "[Timer]\nRandomizedDelaySec=0\n")
    before = machine.datasets("prod", "week")
    machine.run("touch -d '10 days ago' /var/lib/systemd/timers/stamp-syncropy-weekly@prod.timer && systemctl start syncropy-weekly@prod.timer")
    machine.wait_for(f"[ $(ls {STORE}/prod/week 2>/dev/null | wc -l) -gt {len(before)} ]", "the missed run")
    machine.wait_for("! systemctl is-active syncropy-server@prod-weekly", "its end")
    machine.run("systemctl stop syncropy-weekly@prod.timer")
    machine.without_drop_in("syncropy-weekly@prod.timer")


# --- A run

def test_a_run_is_found_by_id_and_field_and_explained(machine):
    machine.run("systemctl start syncropy-hourly@prod.timer")  # as long as it waits the manager remembers how the last run ended
    machine.run("systemctl start syncropy-server@prod-hourly")
    entry, = machine.entries(f"MESSAGE_ID={IDS['dataset_complete']}", "SYNCROPY_CLIENT=prod", "SYNCROPY_TIER=hour")
    assert entry["PRIORITY"] == "6" and entry["SYNCROPY_CONFIG"] == "prod" and entry["SYNCROPY_SEQUENCE"].isdigit()
    assert entry["SYNCROPY_DATASET"] == f"hour/{machine.datasets('prod')[-1]}"
    assert machine.show("StatusText", "syncropy-server@prod-hourly") == "prod: backed up"
    machine.run("systemctl stop syncropy-hourly@prod.timer")
    explained = machine.output(f"journalctl -x -b --no-pager MESSAGE_ID={IDS['dataset_complete']} SYNCROPY_CLIENT=prod SYNCROPY_TIER=hour")
    assert f"prod is backed up: {entry['SYNCROPY_DATASET']}" in explained and "syncropy -c prod list prod" in explained and "@" not in explained.split("Subject")[1]


def test_two_instances_queue_and_the_wait_is_no_timeout(machine):
    machine.config("prod", pre_command="hold")
    machine.drop_in("syncropy-server@.service", "[Service]\nTimeoutStartSec=2\nEnvironment=SYNCROPY_PATIENCE=2\n")
    machine.run("touch /run/hold")
    first = machine.background("systemctl start syncropy-server@prod-hourly")
    machine.wait_for("systemctl show -P StatusText syncropy-server@prod-hourly | grep 'running the pre-command'", "the pre-command")
    second = machine.background("systemctl start syncropy-server@prod-daily")
    machine.wait_for("systemctl show -P StatusText syncropy-server@prod-daily | grep 'prod: waiting for another run'", "it waits and says so")
    time.sleep(3)
    machine.run("rm /run/hold")
    assert (first.wait(20), second.wait(20)) == (0, 0)
    assert [entry["MESSAGE_ID"] for entry in machine.last_run("prod-daily")] == [IDS["waiting"], IDS["dataset_complete"]]
    machine.without_drop_in("syncropy-server@.service")
    machine.config("prod")


def test_a_run_without_progress_is_ended_by_its_timeout(machine):
    machine.drop_in("syncropy-server@.service", "[Service]\nTimeoutStartSec=2\nEnvironment=SYNCROPY_PATIENCE=2\n")
    run = machine.begin("big-hourly", "big")
    machine.run("systemctl kill --kill-who=main -s STOP syncropy-agent.service")
    try:
        assert run.wait(20) != 0
        assert machine.show("Result", "syncropy-server@big-hourly") == "timeout"
    finally:
        machine.run("systemctl kill --kill-who=main -s KILL syncropy-agent.service; systemctl reset-failed syncropy-agent.service")
        machine.without_drop_in("syncropy-server@.service")


def test_status_and_inhibitor_while_a_dataset_is_written(machine):
    run = machine.begin("big-hourly", "big")
    machine.wait_for("systemctl show -P StatusText syncropy-server@big-hourly | grep -E '^big: (listing|receiving).* files, .* [KMG]iB, .*/s, .* entries'", "the live line")
    machine.wait_for("systemd-inhibit --list --no-legend | grep -E '^Syncropy.*shutdown:sleep.*A backup is being written.*block'", "an inhibitor")
    # SIGTERM in mid-run: within five seconds, and the journal says so.
    began = time.monotonic()
    machine.run("systemctl stop syncropy-server@big-hourly")
    assert time.monotonic() - began < 5 and run.wait(5) != 0
    entry = machine.last_run("big-hourly")[-1]
    assert (entry["MESSAGE_ID"], entry["PRIORITY"], entry["SYNCROPY_SIGNAL"]) == (IDS["interrupted"], "4", "15")
    assert machine.show("StatusText", "syncropy-server@big-hourly") == "ended by SIGTERM" and machine.datasets("big") == []
    machine.wait_for("[ -z \"$(systemd-inhibit --list --no-legend | grep Syncropy)\" ]", "no inhibitor any more")


def test_a_client_killed_in_mid_run_fails_the_unit_and_is_mailed(machine):
    reported = "systemctl show -P ActiveState syncropy-failure@syncropy-server@big-hourly | grep -qx inactive"
    machine.wait_for(reported, "the report of the run before")
    machine.run("rm -f /var/spool/mails/*")
    run = machine.begin("big-hourly", "big")
    machine.run("systemctl kill --kill-who=main -s KILL syncropy-agent.service; systemctl reset-failed syncropy-agent.service")
    assert run.wait(20) != 0
    unit = "syncropy-server@big-hourly.service"
    assert (machine.show("Result", unit), machine.show("ExecMainStatus", unit)) == ("exit-code", "76")
    assert machine.last_run("big-hourly")[-1]["MESSAGE_ID"] == IDS["connection_lost"]
    machine.wait_for(f"ls /var/spool/mails/* && {reported}", "the mail")
    mail = machine.output("cat /var/spool/mails/*")
    invocation = machine.show("InvocationID", unit)
    assert mail.startswith("To: root\nSubject: Syncropy: syncropy-server@big-hourly failed on ") and "exit status 76" in mail
    assert machine.last_run("big-hourly")[-1]["MESSAGE"] in mail and f"journalctl -x _SYSTEMD_INVOCATION_ID={invocation}" in mail
    assert "systemctl start syncropy-server@big-hourly\n" in mail
    entry = machine.entries(f"MESSAGE_ID={IDS['unit_failed']}", f"SYNCROPY_UNIT={unit}", "-n", "1")[0]
    assert entry["SYNCROPY_STATUS"] == "76" and entry["SYNCROPY_INVOCATION"] == invocation and entry["PRIORITY"] == "3"


def test_a_mail_that_is_refused_is_told_and_one_that_nobody_wants_is_not_sent(machine):
    machine.run("touch /run/no-mail; rm -f /var/spool/mails/*")
    report = "syncropy-failure@syncropy-server@big-hourly.service"
    assert machine.run(f"systemctl start {report}", check=False).returncode != 0
    assert "no such host" in machine.entries(f"MESSAGE_ID={IDS['not_mailed']}")[-1]["MESSAGE"]
    machine.run(f"rm /run/no-mail; systemctl reset-failed {report}")
    machine.drop_in("syncropy-failure@.service", "[Service]\nEnvironment=MAILTO=\n")
    machine.run(f"systemctl start {report}")
    machine.without_drop_in("syncropy-failure@.service")
    assert machine.output("ls /var/spool/mails") == ""


# --- Many unreadable files

def test_thousands_of_unreadable_files_are_named_in_few_entries(machine):
    machine.run("mkdir -p /srv/closed && cd /srv/closed && seq -f 'file%04g' 0 4998 | xargs touch && touch $'red\\e[31m' && chmod 000 *")
    machine.config("closed", "/srv/closed")
    machine.drop_in("syncropy-agent.service", "[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n")
    machine.run("systemctl stop syncropy-agent.service")
    before = int(machine.output("journalctl --sync; du -sb /run/log/journal /var/log/journal 2>/dev/null | awk '{ sum += $1 } END { print sum }'"))
    failed = machine.fail("closed-hourly")
    machine.without_drop_in("syncropy-agent.service")
    machine.run("systemctl stop syncropy-agent.service")
    assert failed.status == 3 and len(failed.entries) < 100
    named = collections.Counter()
    for entry in failed.entries:
        if entry["MESSAGE_ID"] == IDS["file_unread"]:
            paths = entry["SYNCROPY_PATH"]
            named.update([paths] if isinstance(paths, str) else paths)
    wanted = {f"/srv/closed/file{number:04}" for number in range(4_999)} | {"/srv/closed/red\\x1b[31m"}
    assert set(named) == wanted and set(named.values()) == {1}
    assert (failed.entries[-1]["MESSAGE_ID"], failed.entries[-1]["SYNCROPY_UNREAD"]) == (IDS["dataset_partial"], "5000")
    # Each is found by its name, wherever among the others it is.
    assert len(machine.entries("SYNCROPY_CLIENT=closed", "SYNCROPY_PATH=/srv/closed/file3000")) == 1
    after = int(machine.output("journalctl --sync; du -sb /run/log/journal /var/log/journal 2>/dev/null | awk '{ sum += $1 } END { print sum }'"))
    assert after - before < 16 << 20


# --- Credentials

def test_keys_are_credentials_plain_or_encrypted(machine):
    machine.config("secret", sslkey="credential:syncropy-server.key")
    failed = machine.fail("secret-hourly")
    assert failed.status == 78 and len(failed.entries) == 1 and failed.entries[0]["MESSAGE_ID"] == IDS["configuration_wrong"]
    assert "/etc/credstore/syncropy-server.key" in failed.entries[0]["MESSAGE"]
    machine.run(f"install -d -m 0700 /etc/credstore /etc/credstore.encrypted && install -m 0600 {KEYS}/server.key /etc/credstore/syncropy-server.key")
    machine.run("systemctl start syncropy-server@secret-hourly")
    machine.run("rm /etc/credstore/syncropy-server.key")
    machine.run(f"systemd-creds encrypt --with-key=host --name=syncropy-server.key.cred {KEYS}/server.key /etc/credstore.encrypted/syncropy-server.key.cred")
    # While a run holds the key: in no argument, in no environment, and in no file that everybody can read.
    machine.config("secret", sslkey="credential:syncropy-server.key", pre_command="hold")
    machine.run(f"umask 077; touch /run/hold; sed -n 2p {KEYS}/server.key >/root/secret; test $(wc -c </root/secret) -gt 40; mv {KEYS}/server.key /root")
    run = machine.background("systemctl start syncropy-server@secret-hourly")
    try:
        machine.wait_for("systemctl show -P StatusText syncropy-server@secret-hourly | grep 'running the pre-command'", "the pre-command")
        assert machine.leaks("/root/secret") == ""
        held = "/run/credentials/syncropy-server@secret-hourly.service/syncropy-server.key.cred"
        assert machine.output(f"nsenter -t $(systemctl show -P MainPID syncropy-server@secret-hourly) -m cat {held} | grep -c -F -f /root/secret").strip() == "1"
        assert machine.run(f"runuser -u nobody -- cat {held}", check=False).returncode != 0
    finally:
        machine.run(f"rm /run/hold; mv /root/server.key {KEYS}")
    assert run.wait(20) == 0 and len(machine.datasets("secret")) == 2
    machine.config("secret", sslkey="credential:syncropy-server.key")


def test_root_has_them_by_hand_and_gives_up_its_privileges(machine):
    """With the encrypted key of the test before."""
    machine.run("syncropy-server -c secret -D")
    day, = machine.datasets("secret", "day")
    assert machine.output(f"stat -c %U {STORE}/secret/day/{day}/tree{DATA}/one") == "syncropy\n"
    refused = machine.run("runuser -u syncropy -- syncropy-server -c secret -D", check=False)
    assert refused.returncode == 78 and "CREDENTIALS_DIRECTORY" in refused.stdout
    # Who only looks needs no key.
    assert day in machine.output("runuser -u syncropy -- syncropy -c secret list secret/day")
    machine.run("systemctl start syncropy-verify@secret syncropy-empty-trash@secret")


# --- Bad input: one entry, with an id that journalctl -x explains

def test_bad_input_is_one_entry_that_is_explained(machine):
    machine.config("twice")
    machine.run("cp /etc/syncropy/twice.yaml /etc/syncropy/twice.cfg")
    machine.config("web-daily")
    machine.config("unmounted", general="repository: /srv/unmounted")
    machine.run("mkdir /srv/unmounted && chown syncropy /srv/unmounted")
    machine.run(f"openssl req -x509 -newkey ed25519 -nodes -subj /CN=stranger -days 2 -keyout {KEYS}/stranger.key -out {KEYS}/stranger.crt && "
                f"chmod 0640 {KEYS}/stranger.key && chgrp syncropy {KEYS}/stranger.key")
    machine.config("stranger", sslcert=f"{KEYS}/stranger.crt", sslkey=f"{KEYS}/stranger.key")
    machine.config("deceived", sslca=f"{KEYS}/stranger.crt")
    machine.config("bare", sslkey="credential:syncropy-database")
    machine.config("unknown", pth="/srv")
    cases = [("nothing-hourly", 78, "configuration_wrong", "no configuration 'nothing'"), ("twice-hourly", 78, "configuration_wrong", "twice.cfg exist"),
             ("web-hourly", 78, "configuration_wrong", "web-daily-hourly"), ("prod", 2, "configuration_wrong", "NAME-hourly"),
             ("unmounted-hourly", 73, "repository_missing", "mount the disk"), ("unknown-hourly", 78, "configuration_wrong", "pth"),
             ("stranger-hourly", 77, "agent_refused", "certificate"), ("deceived-hourly", 77, "agent_refused", "certificate"),
             ("bare-hourly", 78, "configuration_wrong", "credential")]
    for instance, status, name, words in cases:
        failed = machine.fail(instance)
        assert failed.status == status, (instance, failed)
        entry, = failed.entries
        assert entry["MESSAGE_ID"] == IDS[name] and words in entry["MESSAGE"] and entry["PRIORITY"] == "3", (instance, entry)
        explained = machine.output(f"journalctl -x -b --no-pager _SYSTEMD_INVOCATION_ID={machine.show('InvocationID', f'syncropy-server@{instance}')}")
        assert "Defined-By: Syncropy" in explained, instance
    assert machine.output("ls -A /srv/unmounted") == ""
    # The whole of what comes before the tier is the name, even if it ends like one.
    machine.run("systemctl start syncropy-server@web-daily-hourly")
    assert len(machine.datasets("web-daily")) == 1


# --- The two jobs beside the runs

def test_trash_and_verification(machine):
    machine.run(f"runuser -u syncropy -- mkdir -p {STORE}/prod/.trash/1/folder && runuser -u syncropy -- touch {STORE}/prod/.trash/1/folder/file")
    machine.run("touch /run/hold")
    machine.config("prod", pre_command="hold")
    held = machine.background("systemctl start syncropy-server@prod-hourly")  # whose lock is not waited for
    machine.wait_for("systemctl show -P StatusText syncropy-server@prod-hourly | grep 'running the pre-command'", "the pre-command")
    machine.run("systemctl start syncropy-empty-trash@prod", timeout=20)
    assert machine.output(f"ls -A {STORE}/prod/.trash") == ""
    assert machine.entries(f"MESSAGE_ID={IDS['trash_emptied']}", "SYNCROPY_CONFIG=prod")
    machine.run("rm /run/hold")
    assert held.wait(20) == 0
    machine.config("prod")
    machine.run("systemctl start syncropy-verify@prod")
    assert machine.entries(f"MESSAGE_ID={IDS['verified']}", "SYNCROPY_CONFIG=prod", "SYNCROPY_CLIENT=prod")
    assert machine.show("CPUSchedulingPolicy", "syncropy-verify@prod") == machine.show("CPUSchedulingPolicy", "syncropy-empty-trash@prod") == "5"
