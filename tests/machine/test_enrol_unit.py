"""The enrolment's units on a booted system, server and client in one: as they are shipped, and as syncropy-enroll(7) has them used."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from machine import Machine

BUILD = os.environ["SYNCROPY_BUILD"]
SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent


def message_id(name):
    return re.search(rf'{name} = "(\w+)"', (SOURCE / "src/sd/message-ids.hpp").read_text())[1]


class Both(Machine):
    def explained(self, name, *words):
        """The one entry with that id, as journalctl -x explains it."""
        told = self.output(f"journalctl -q -b --no-pager -x MESSAGE_ID={message_id(name)}")
        entries = [line for line in told.splitlines() if line.strip() and not line.startswith("░░")]
        assert "Defined-By: Syncropy" in told and len(entries) == 1 and all(word in told for word in words) and "@SYNCROPY" not in told, told
        return told


@pytest.fixture(scope="module")
def machine():
    with Both() as booted:
        booted.run(f"meson install -C {BUILD} --no-rebuild --quiet && systemd-sysusers /usr/local/lib/sysusers.d/syncropy-{{agent,server}}.conf"
                   " && systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/syncropy-{agent,server}.conf && journalctl --update-catalog && systemctl daemon-reload")
        booted.run("syncropy ca init localhost && systemctl enable --now --quiet syncropy-enroll.socket syncropy-ca.timer")
        booted.put("/etc/syncropy/prod.yaml", "general: {repository: /var/lib/syncropy/prod}\nclients:\n  web1:\n    host: localhost\n    path: /etc/syncropy\n"
                   "    sslpem: credential:syncropy-server.key\n    sslca: /etc/syncropy/keys/ca.crt\n")
        booted.run("runuser -u syncropy -- syncropy -c prod init")
        yield booted


UNITS = ["syncropy-enroll.socket", "syncropy-enroll@1.service", "syncropy-renew.timer", "syncropy-renew.service", "syncropy-ca.timer", "syncropy-ca.service"]


def test_verify_has_nothing_to_say_and_exposure_is_low(machine):
    assert machine.output(f"systemd-analyze verify {' '.join(UNITS)}") == ""
    for unit, most in (("syncropy-enroll@1.service", 0.5), ("syncropy-renew.service", 2.0), ("syncropy-ca.service", 1.5)):
        said = machine.output(f"systemd-analyze security --no-pager {unit}", check=False)
        assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1]) <= most, said


def test_enrolled_renewed_and_revoked(machine):
    machine.run("syncropy enroll -q web1 >/root/token && systemctl enable --now --quiet syncropy-agent.socket syncropy-renew.timer")
    machine.run("syncropy-agent enroll localhost - </root/token")
    machine.run("systemctl start syncropy-server@prod-hourly && syncropy status")
    machine.explained("certificate_issued", "A certificate was issued to web1", "syncropy ca revoke")
    # Both renew as their units do, and the new pairs are believed; what systemd handed over before is as old as the process.
    machine.run("systemctl start syncropy-renew.service syncropy-ca.service")
    machine.run("mkdir -p /run/systemd/system/syncropy-renew.service.d /run/systemd/system/syncropy-ca.service.d"
                " && printf '[Service]\\nExecStart=\\nExecStart=/usr/local/sbin/syncropy-agent renew --force\\n' >/run/systemd/system/syncropy-renew.service.d/force.conf"
                " && printf '[Service]\\nExecStart=\\nExecStart=/usr/local/bin/syncropy ca renew --force\\n' >/run/systemd/system/syncropy-ca.service.d/force.conf"
                " && systemctl daemon-reload && systemctl start syncropy-renew.service syncropy-ca.service")
    machine.run("systemctl start syncropy-server@prod-hourly; systemctl stop syncropy-agent.service; systemctl start syncropy-server@prod-hourly")
    issued = [json.loads(line) for line in machine.output("syncropy ca list --json").splitlines()]
    assert sorted(entry["part"] for entry in issued) == ["agent", "agent", "server", "server"]
    newest = [entry for entry in issued if entry["part"] == "agent"][-1]

    assert machine.run("syncropy-agent enroll --force --keep-policy localhost - </root/token", check=False).returncode == 77
    machine.explained("enrolment_refused", "was used already")

    machine.run(f"syncropy ca revoke {newest['serial']}")
    assert machine.run("systemctl start syncropy-server@prod-hourly", check=False).returncode != 0
    assert machine.output("systemctl show -P ExecMainStatus syncropy-server@prod-hourly").strip() == "77"
    machine.explained("agent_refused", "is revoked", "do not trust each other")
    machine.explained("server_refused", "refused this agent's certificate: it is revoked")
    assert machine.run("systemctl start syncropy-renew.service", check=False).returncode != 0
    machine.explained("certificate_not_renewed", "was revoked on")
    assert machine.run("syncropy status", check=False).returncode == 1


def test_secrets_are_their_owners_alone(machine):
    assert machine.output("find /etc/syncropy /var/lib/syncropy-ca /etc/credstore -type f -name '*.key*' ! -perm 0600") == ""
    assert sorted(machine.output("grep -rl 'PRIVATE KEY' /etc/syncropy /var/lib/syncropy-ca /var/lib/syncropy /etc/credstore").split()) == [
        "/etc/credstore/syncropy-agent.key", "/etc/credstore/syncropy-server.key", "/var/lib/syncropy-ca/ca.key"]
    for user in ("syncropy", "syncropy-agent", "nobody"):
        assert machine.run(f"runuser -u {user} -- ls /var/lib/syncropy-ca", check=False).returncode != 0
    assert machine.run("runuser -u syncropy-ca -- cat /etc/credstore/syncropy-server.key", check=False).returncode != 0
    # The journal has what happened, and no token.
    assert machine.run("journalctl -b --no-pager -o verbose | grep -F -f /root/token", check=False).returncode == 1


def test_a_flood_does_not_close_the_socket(machine):
    script = "import socket\nheld = []\nfor i in range(400):\n    held.append(socket.create_connection(('127.0.0.1', 4446)))\n    held[-1].close()\n"
    machine.put("/root/flood.py", script)
    machine.run("/usr/bin/python3 -B /root/flood.py")
    assert machine.output("systemctl is-active syncropy-enroll.socket").strip() == "active"
    machine.run("syncropy enroll -q web1 >/root/token && for i in $(seq 50); do syncropy-agent enroll --force --keep-policy localhost - </root/token && exit 0; sleep 0.1; done; exit 1")
    machine.run("systemctl stop syncropy-agent.service; systemctl start syncropy-server@prod-hourly && syncropy status")
    assert machine.output("systemctl list-units --failed --plain --no-legend 'syncropy-enroll*'") == ""


def test_an_expired_token_is_one_entry_that_is_explained(machine):
    machine.run("syncropy enroll --valid 1s -q web2 >/root/expired; sleep 1.1")
    refused = machine.run("syncropy-agent enroll --force --keep-policy localhost - </root/expired", check=False)
    assert refused.returncode == 77 and "expired on" in refused.stdout and "syncropy enroll web2" in refused.stdout, refused.stdout
    told = machine.output(f"journalctl -q -b --no-pager -x -n 1 MESSAGE_ID={message_id('enrolment_refused')}")
    assert "the token for 'web2' expired on" in told and "A machine was refused a certificate" in told, told


def serial_of(machine, source):
    return machine.output(f"{source} | openssl x509 -noout -serial")


SHOWN, KEPT = "openssl s_client -connect localhost:4444 </dev/null 2>/dev/null", "cat /etc/syncropy/keys/agent.crt"


def test_an_agent_that_always_runs_takes_the_new_pair_and_cuts_nobody(machine):
    machine.run("echo 'idle_exit: 0' >>/etc/syncropy/agent.yaml && systemctl stop syncropy-agent.service")
    machine.put("/etc/syncropy/hooks.d/hold", "#!/bin/bash\ntouch /var/lib/syncropy-agent/held\nwhile [[ -e /var/lib/syncropy-agent/held ]]; do sleep 0.05; done\n", 0o755)
    machine.run("sed 's/^    path:/    pre_command: hold\\n&/' /etc/syncropy/prod.yaml >/etc/syncropy/held.yaml && systemctl start --no-block syncropy-server@held-hourly")
    machine.run("until [[ -e /var/lib/syncropy-agent/held ]]; do sleep 0.05; done", timeout=20)
    process, old = machine.output("systemctl show -P MainPID syncropy-agent"), serial_of(machine, KEPT)
    machine.run("systemctl start syncropy-renew.service")
    assert machine.output("systemctl show -P MainPID syncropy-agent") == process
    assert "activating" in machine.output("systemctl is-active syncropy-server@held-hourly", check=False)
    machine.run("rm /var/lib/syncropy-agent/held && until systemctl show -P SubState syncropy-server@held-hourly | grep -qx -e dead -e failed; do sleep 0.05; done", timeout=20)
    assert machine.output("systemctl show -P Result syncropy-server@held-hourly").strip() == "success"
    machine.run("until [[ $(systemctl show -P MainPID syncropy-agent) = 0 ]]; do sleep 0.05; done", timeout=10)
    assert serial_of(machine, SHOWN) == serial_of(machine, KEPT) != old
    # That one stays, as the policy says, and makes way at once when nobody is served.
    machine.run("systemctl start syncropy-renew.service && until [[ $(systemctl show -P MainPID syncropy-agent) = 0 ]]; do sleep 0.05; done", timeout=20)
    machine.run("systemctl start syncropy-server@prod-hourly")
    assert serial_of(machine, SHOWN) == serial_of(machine, KEPT)


def test_encrypted_keys_stay_encrypted(machine):
    """From a plain pair, as syncropy-enroll(7) has it; then renewed by both units."""
    keys = {side: f"/etc/credstore.encrypted/syncropy-{side}.key.cred" for side in ("agent", "server")}
    machine.run("mkdir -p -m 0700 /etc/credstore.encrypted && cd /etc/credstore && for key in syncropy-agent.key syncropy-server.key; do"
                " systemd-creds encrypt --with-key=host $key ../credstore.encrypted/$key.cred && rm $key*; done")
    before = {side: (machine.output(f"cat {key}"), serial_of(machine, f"cat /etc/syncropy/keys/{side}.crt")) for side, key in keys.items()}
    machine.run("systemctl start syncropy-renew.service syncropy-ca.service")
    for side, key in keys.items():
        # By the same key as the one before: the machine's.
        text = machine.output(f"cat {key}")
        assert text != before[side][0] and text[:20] == before[side][0][:20] and machine.output(f"stat -c '%a %U' {key}") == "600 root\n"
        new = serial_of(machine, f"systemd-creds decrypt --name=syncropy-{side}.key.cred {key} -")
        assert new == serial_of(machine, f"cat /etc/syncropy/keys/{side}.crt") != before[side][1]
        machine.run(f"umask 077; systemd-creds decrypt --name=syncropy-{side}.key.cred {key} - | sed -n 2p >/root/secret; test $(wc -c </root/secret) -gt 40")
        assert machine.leaks("/root/secret") == ""
        # Nor is it in any file that was written to the disk since the boot.
        disk = machine.folder / "layers/up"
        written = subprocess.run(["grep", "-r", "-s", "-l", "-a", "-F", "-f", disk / "root/secret", disk], stdout=subprocess.PIPE, text=True).stdout
        assert written.split() == [f"{disk}/root/secret"]
    assert machine.output("ls /etc/credstore; ls -A /etc/credstore.encrypted").split() == ["syncropy-agent.key.cred", "syncropy-server.key.cred"]
    # The agent that runs always was handed the plain one, and has given way.
    machine.run("systemctl start syncropy-server@prod-hourly")
    assert serial_of(machine, SHOWN) == serial_of(machine, KEPT)

    # Nothing is asked for that could not be kept.
    issued = machine.output("syncropy ca list")
    for sabotage in ("mount --bind /bin/false /usr/bin/systemd-creds", "mount --bind /dev/null /usr/bin/systemd-creds"):
        machine.run(sabotage)
        for unit in ("syncropy-renew.service", "syncropy-ca.service"):
            assert machine.run(f"systemctl reset-failed {unit}; systemctl start {unit}", check=False).returncode != 0
            assert machine.output(f"systemctl show -P ExecMainStatus {unit}").strip() == "78"
            assert "systemd-creds could not encrypt" in machine.output(
                f"journalctl --sync; journalctl -q -b --no-pager -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {unit})")
        machine.run("umount /usr/bin/systemd-creds")
    assert machine.output("syncropy ca list") == issued
    machine.run("systemctl reset-failed && systemctl start syncropy-renew.service syncropy-ca.service && systemctl start syncropy-server@prod-hourly")
    assert machine.run("syncropy-agent enroll localhost - </root/token", check=False).returncode == 6
