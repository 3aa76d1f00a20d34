"""The client's units on a booted system: syncropy-agent, syncropy-restore and syncropy-hook as they are shipped."""

import os
import pathlib
import re
import subprocess
import time

import pytest

from machine import Machine

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = os.environ["SYNCROPY_BUILD"]
DATA = "/srv/data"
KEYS = "/etc/syncropy/quickstart"
ASKING = f"/usr/bin/python3 -B {SOURCE}/tests/machine/asking.py"
UNITS = ["syncropy-agent.socket", "syncropy-agent.service", "syncropy-restore.socket", "syncropy-restore@1.service", "syncropy-hook.socket",
         "syncropy-hook@1.service"]
NOT_STARTED, RELOAD_REFUSED, HOOK_REFUSED = "1244675480f84ced9de5061eb54fe46d", "a2be964b2e444cdc8b0f7497662d4dea", "a18691d6eda0456aa71f3d9efa1778c6"


class Client(Machine):
    def policy(self, **keys):
        """Writes the quickstart's policy with these keys; the agent ends, and the next connection starts one."""
        settings = {"sslca": f"{KEYS}/ca.crt", "sslcert": f"{KEYS}/agent.crt", "sslkey": f"{KEYS}/agent.key", "servers": "[syncropy-quickstart]"} | keys
        self.put("/etc/syncropy/agent.yaml", "".join(f"{key}: {value}\n" for key, value in settings.items()))
        self.run("systemctl stop syncropy-agent.service; systemctl reset-failed syncropy-agent.service; systemctl start syncropy-agent.socket")

    def config(self, name, paths, **keys):
        settings = {"host": "127.0.0.1", "port": 4444, "sslca": f"{KEYS}/ca.crt", "sslcert": f"{KEYS}/server.crt", "sslkey": f"{KEYS}/server.key",
                    "path": f"[{', '.join(paths)}]"} | keys
        self.put(f"/etc/syncropy/{name}.yaml", "general: {repository: /var/lib/syncropy-quickstart}\nclients:\n  " + name + ":\n"
                 + "".join(f"    {key}: {value}\n" for key, value in settings.items()))

    def backup(self, name):
        self.run(f"systemctl start syncropy-server@{name}-hourly")
        return self.output(f"ls -d /var/lib/syncropy-quickstart/{name}/hour/*/tree").split()[-1]

    def show(self, prop, unit="syncropy-agent.service"):
        return self.output(f"systemctl show -P {prop} {unit}").strip()

    def entries(self, message_id):
        """The journal's messages with that id, of this boot."""
        return self.output(f"journalctl -q -b --no-pager -o cat MESSAGE_ID={message_id}").splitlines()

    def asking(self, *words, check=True):
        return self.output(f"{ASKING} {' '.join(map(str, words))}", check=check)

    def background(self, line):
        return subprocess.Popen(["nsenter", "-t", self.leader, "-m", "-p", "-u", "-i", "-n", "-C", "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
                                 "bash", "-c", f"cd / && exec {line}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_for(self, line, what, seconds=10):
        deadline = time.monotonic() + seconds
        while self.run(line, check=False).returncode != 0:
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def machine():
    with Client() as booted:
        booted.run(f"mkdir -p {DATA}/folder && echo one >{DATA}/one && echo two >{DATA}/folder/two")
        booted.run(f"{SOURCE}/packaging/quickstart --build {BUILD} {DATA}")
        yield booted


# --- What the manager thinks of the units

def test_verify_has_nothing_to_say(machine):
    assert machine.output(f"systemd-analyze verify {' '.join(UNITS)}") == ""


def test_exposure(machine, capsys):
    for unit, most in (("syncropy-agent.service", 1.5), ("syncropy-restore@1.service", 2.6)):
        said = machine.output(f"systemd-analyze security --no-pager {unit}", check=False)
        figure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])
        with capsys.disabled():
            print(f"\n{unit}: exposure {figure}, at most {most}", end="")
        assert 0 < figure <= most, said


EXAMPLES = sorted((SOURCE / "conf").glob("agent-*.conf"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_drop_ins(machine, example):
    """Each says in its first line where it goes; there the manager takes it, and it does what it says."""
    machine.policy(plain="loopback")
    place = example.read_text().splitlines()[0].removeprefix("# ")
    text = example.read_text().replace("192.0.2.10", "127.0.0.2").replace("192.0.2.0/28 2001:db8:1::/64", "127.0.0.2")
    kept = machine.output("cat /etc/systemd/system/syncropy-agent.socket.d/*.conf")  # the quickstart's: 127.0.0.1 alone
    machine.run("mkdir /root/kept; mv /etc/systemd/system/syncropy-agent.socket.d/* /root/kept/")
    machine.put(place, text)
    try:
        assert kept and machine.output("systemctl daemon-reload; systemd-analyze verify syncropy-agent.socket") == ""
        machine.run("systemctl restart syncropy-agent.socket")
        listening = machine.output("systemctl show -P Listen syncropy-agent.socket").split()
        if example.stem == "agent-port":
            assert listening == ["[::]:14444", "(Stream)"]
            works, fails = "127.0.0.1 127.0.0.1 14444", "127.0.0.1 127.0.0.1 4444"
        elif example.stem == "agent-listen-address":
            assert listening == ["127.0.0.2:4444", "(Stream)"]
            works, fails = "127.0.0.2 127.0.0.2 4444", "127.0.0.1 127.0.0.1 4444"
        else:
            assert example.stem == "agent-allowed-addresses"
            assert machine.show("IPAddressAllow", "syncropy-agent.socket") == "127.0.0.2/32"
            assert set(machine.show("IPAddressDeny", "syncropy-agent.socket").split()) == {"0.0.0.0/0", "::/0"}
            works, fails = "127.0.0.2 127.0.0.2 4444", "127.0.0.2 127.0.0.3 4444"
        machine.asking("connect", works)
        # systemd filters by cgroup, and only where all of these are of the second version.
        filters = machine.run("test -e /sys/fs/cgroup/cgroup.controllers", check=False).returncode == 0
        if filters or example.stem != "agent-allowed-addresses":
            assert machine.run(f"{ASKING} connect {fails}", check=False).returncode != 0
    finally:
        machine.run(f"rm {place}; mv /root/kept/* /etc/systemd/system/syncropy-agent.socket.d/; rmdir /root/kept; systemctl daemon-reload; systemctl restart syncropy-agent.socket")


# --- What is read through the unit

def test_canaries(machine):
    """Where hardening makes a service blind: each of these would be missing, or empty, without a word."""
    places = ["/home", "/root", "/tmp", "/var/tmp", "/usr/lib/modules", "/srv/closed"]
    for place in places:
        machine.run(f"mkdir -p {place}/canary && echo {place} >{place}/canary/bird && chown nobody {place}/canary/bird && chmod 000 {place}/canary/bird")
    machine.run("chmod 000 /srv/closed/canary /srv/closed")
    machine.policy()
    machine.config("canaries", [f"{place}/canary" for place in places[:-1]] + ["/srv/closed"])
    tree = machine.backup("canaries")
    for place in places:
        assert machine.output(f"cat {tree}{place}/canary/bird").strip() == place
    listed = machine.output("runuser -u syncropy -- /usr/local/bin/syncropy -c canaries ls canaries/hour /srv/closed/canary")
    assert "nobody" in listed and "bird" in listed, listed  # an owner that PrivateUsers= would have hidden


# --- Idle exits, reload, status, end

def test_idle_exits_lose_no_connection(machine):
    machine.policy(plain="loopback", idle_exit=1, connections=200)
    since = time.time()
    failed, *first = machine.asking("idle_exits", 10, 50).splitlines()
    assert failed == "0", first
    exits = machine.output(f"journalctl -q -b --no-pager -o cat -u syncropy-agent --since @{int(since)} _PID=1 | grep -c 'Deactivated successfully'")
    assert int(exits) >= 6, "it hardly ever ended"
    assert machine.show("ActiveState", "syncropy-agent.socket") == "active"


def test_reload_is_for_new_connections(machine):
    machine.policy(plain="loopback")
    asking = machine.background(f"{ASKING} ask etc/hostname")
    assert asking.stdout.readline() == "yes\n"
    process = machine.show("MainPID")
    machine.run("echo 'read: [/srv]' >>/etc/syncropy/agent.yaml && systemctl reload syncropy-agent")
    machine.wait_for("journalctl -q -b -u syncropy-agent | grep -q 'anew'", "it reads its policy")
    assert asking.communicate("\n")[0] == "yes 77\n"
    # A new certificate is shown, by the same process.
    presented = "openssl s_client -connect 127.0.0.1:4444 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint"
    before = machine.output(presented)
    machine.run(f"cp {KEYS}/agent.crt /root/agent.crt; cp {KEYS}/server.crt {KEYS}/agent.crt; cp -p {KEYS}/agent.key /root/agent.key; cat {KEYS}/server.key >{KEYS}/agent.key")
    machine.run("systemctl reload syncropy-agent")
    machine.wait_for(f"test \"$({presented})\" != '{before.strip()}'", "it shows its new certificate")
    machine.run(f"cp /root/agent.crt {KEYS}/agent.crt; cat /root/agent.key >{KEYS}/agent.key; systemctl reload syncropy-agent")
    machine.wait_for(f"test \"$({presented})\" = '{before.strip()}'", "it shows its own again")
    assert machine.show("MainPID") == process


def test_a_reload_of_a_broken_policy_fails_and_changes_nothing(machine):
    machine.policy(plain="loopback")
    machine.asking("converse")
    process, refusals = machine.show("MainPID"), len(machine.entries(RELOAD_REFUSED))
    machine.run("echo 'raed: [/srv]' >>/etc/syncropy/agent.yaml")
    assert machine.run("systemctl reload syncropy-agent", check=False).returncode != 0
    assert len(machine.entries(RELOAD_REFUSED)) == refusals + 1
    machine.run("systemctl kill -s HUP --kill-who=main syncropy-agent")
    machine.wait_for(f"test $(journalctl -q -b -o cat MESSAGE_ID={RELOAD_REFUSED} | wc -l) = {refusals + 2}", "the agent says so too")
    assert all("agent.yaml:6: unknown key 'raed'" in line for line in machine.entries(RELOAD_REFUSED)[refusals:])
    machine.asking("converse")
    assert machine.show("MainPID") == process and machine.show("ActiveState") == "active"


def test_status_says_who_is_served_and_sigterm_ends_it(machine):
    machine.policy()
    machine.config("large", ["/usr/lib", "/usr/share"])
    machine.run("systemctl start --no-block syncropy-server@large-hourly")
    seen, deadline = set(), time.monotonic() + 30
    full = re.compile(r"syncropy-quickstart: (listing|reading|listing and reading), [\d,]+ entries listed, [\d,]+ files, [\d.]+ [KMG]iB, [\d.]+ [KM]iB/s")
    while not any(full.fullmatch(line) for line in seen):
        assert time.monotonic() < deadline, seen
        seen.add(machine.show("StatusText"))
        time.sleep(0.1)
    began = time.monotonic()
    machine.run("systemctl stop syncropy-agent.service")
    assert time.monotonic() - began < 5
    assert machine.show("Result") == "success" and machine.show("ExecMainStatus") == "0"
    machine.wait_for("systemctl is-failed -q syncropy-server@large-hourly", "the run fails")
    assert machine.show("ExecMainStatus", "syncropy-server@large-hourly") == "76"


def test_watchdog(machine):
    """An agent whose loop stands still is replaced, and the next connection finds one."""
    assert machine.show("WatchdogUSec") == "1min"
    machine.policy(plain="loopback")
    machine.put("/etc/systemd/system/syncropy-agent.service.d/watchdog.conf", "[Service]\nWatchdogSec=1\nTimeoutAbortSec=1\n")
    machine.run("systemctl daemon-reload")
    machine.asking("converse")
    time.sleep(1.5)
    assert machine.show("ActiveState") == "active", "it lives"
    machine.run("systemctl kill -s STOP syncropy-agent.service")
    machine.wait_for("systemctl is-failed -q syncropy-agent.service", "the watchdog bites")
    assert machine.show("Result") == "watchdog"
    machine.asking("converse")
    machine.run("rm -r /etc/systemd/system/syncropy-agent.service.d; systemctl daemon-reload")


# --- What is wrong with it

def test_a_wrong_policy_is_told_once_and_costs_no_socket(machine):
    machine.policy(plain="loopback", raed="[/srv]")
    told = len(machine.entries(NOT_STARTED))
    assert machine.run("systemctl start syncropy-agent.service", check=False).returncode != 0
    assert machine.show("ExecMainStatus") == "78"
    assert len(machine.entries(NOT_STARTED)) == told + 1
    # Servers come, again and again: they are sent away, by one agent.
    for _ in range(30):
        assert machine.run(f"{ASKING} converse", check=False).returncode != 0
    assert len(machine.entries(NOT_STARTED)) <= told + 3
    assert machine.show("ActiveState", "syncropy-agent.socket") == "active"
    machine.policy(plain="loopback")
    machine.asking("converse")


def test_missing_credential(machine):
    machine.policy(sslkey="credential:syncropy-agent.key")
    told = len(machine.entries(NOT_STARTED))
    assert machine.run("systemctl start syncropy-agent.service", check=False).returncode != 0
    assert machine.show("ExecMainStatus") == "78"
    line, = machine.entries(NOT_STARTED)[told:]
    assert "credential 'syncropy-agent.key'" in line and "/etc/credstore/syncropy-agent.key" in line


@pytest.mark.parametrize("kind", ["plain", "encrypted"])
def test_keys_as_credentials(machine, kind):
    """For the agent and the restore worker, by the names in the shipped units; and nobody else comes to see them."""
    machine.policy(sslkey="credential:syncropy-agent.key", restore="accept")
    machine.run(f"umask 077; sed -n 2p {KEYS}/agent.key >/root/secret; test $(wc -c </root/secret) -gt 40")
    if kind == "plain":
        machine.run(f"install -D -m 0600 {KEYS}/agent.key /etc/credstore/syncropy-agent.key")
    else:
        machine.run(f"mkdir -m 0700 /etc/credstore.encrypted && systemd-creds encrypt {KEYS}/agent.key /etc/credstore.encrypted/syncropy-agent.key.cred")
    machine.run(f"mv {KEYS}/agent.key /root/agent.key && systemctl start syncropy-restore.socket")
    try:
        client = machine.output("ls /var/lib/syncropy-quickstart | grep -v -e '^[.]' -e canaries -e large | head -n 1").strip()
        machine.run("systemctl start syncropy-server@quickstart-hourly")
        machine.run(f"runuser -u syncropy -- /usr/local/bin/syncropy -c quickstart restore --target /srv/back-{kind} {client} {DATA}/one")
        assert machine.output(f"cat /srv/back-{kind}{DATA}/one") == "one\n"
        process = machine.show("MainPID")
        assert "syncropy-agent.key" in machine.output(f"ls /proc/{process}/root/run/credentials/syncropy-agent.service")
        # No argument, no environment, no file that everybody can read, of whatever runs or has run here.
        assert machine.leaks("/root/secret") == ""
        assert machine.run(f"runuser -u nobody -- cat /run/credentials/syncropy-agent.service/syncropy-agent.key*", check=False).returncode != 0
        # Reloaded, an agent that serves nobody makes way for one that is handed what is there now.
        machine.run("systemctl reload syncropy-agent.service")
        machine.wait_for("test $(systemctl show -P MainPID syncropy-agent.service) = 0", "it makes way")
        machine.run("systemctl start syncropy-server@quickstart-hourly")
    finally:
        machine.run(f"mv /root/agent.key {KEYS}/agent.key; rm -rf /etc/credstore /etc/credstore.encrypted; systemctl stop syncropy-restore.socket")


# --- Hooks as root

@pytest.fixture(scope="module")
def hooks(machine):
    """`hook(name, script)` puts a program into the hooks folder; the policy has commands run as root."""
    def hook(name, script):
        machine.put(f"/etc/syncropy/hooks.d/{name}", f"#!/bin/sh\n{script}\n", 0o755)

    machine.hook = hook
    hook("who", "id -un; env | sort; umask")
    yield machine
    machine.run("systemctl stop syncropy-hook.socket")


def test_hooks_as_root_are_off_until_enabled(hooks):
    """And nobody else runs them then."""
    hooks.policy(plain="loopback", commands_as="root")
    assert hooks.output("systemctl is-enabled syncropy-hook.socket", check=False).strip() == "disabled"
    assert re.match(r"4 5 .*syncropy-hook\.socket", hooks.asking("run who 10")), "not run"


@pytest.fixture
def as_root(hooks):
    hooks.run("systemctl start syncropy-hook.socket")
    hooks.policy(plain="loopback", commands_as="root")
    return hooks


def test_hooks_run_as_root_and_what_they_mount_is_backed_up(as_root):
    said = as_root.asking("run who 10").splitlines()
    assert said[0] == "root" and said[-1] == "1 0  " and said[-2] == "0077"
    # What /bin/sh adds by itself is no part of it.
    assert [line for line in said[1:-2] if not line.startswith(("PWD=", "_=", "SHLVL=", "OLDPWD="))] == [
        "HOME=/root", "LANG=C.UTF-8", "LOGNAME=root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SYNCROPY_COMMAND=pre", "SYNCROPY_RESULT=success", "SYNCROPY_SERVER=loopback", "USER=root"]
    as_root.hook("snapshot", "mkdir -p /srv/snapshot && mount -t tmpfs -o mode=700 tmpfs /srv/snapshot && mkdir /srv/snapshot/deep && echo frozen >/srv/snapshot/deep/file")
    as_root.hook("release", "umount /srv/snapshot && echo released")
    as_root.config("mounted", ["/srv/snapshot"], pre_command="snapshot", post_command="release")
    tree = as_root.backup("mounted")
    assert as_root.output(f"cat {tree}/srv/snapshot/deep/file") == "frozen\n"
    assert as_root.run("mountpoint -q /srv/snapshot", check=False).returncode != 0, "the agent holds nothing that is in its way"
    assert "post-command: released" in as_root.output("journalctl -q -b -o cat -u syncropy-server@mounted-hourly")


def test_what_a_hook_leaves_running_ends_with_it(as_root):
    as_root.hook("leaves", "setsid sleep 98765 & echo left")
    assert as_root.asking("run leaves 10") == "left\n1 0  \n"
    as_root.wait_for("! pgrep -f '[s]leep 98765'", "it ends")


def test_only_what_root_put_there_runs_as_root(as_root):
    for name in ("../../../bin/id", "'id x'", "/bin/id"):
        assert as_root.asking(f'run "{name}" 10').startswith("4 77 ")
    as_root.hook("theirs", "id")
    for spoil, mend in (("chown nobody {0}", "chown root {0}"), ("chmod g+w {0}", "chmod g-w {0}"), ("chmod o+w {1}", "chmod o-w {1}"),
                        ("chown nobody {1}", "chown root {1}"), ("chown syncropy-agent {0}", "chown root {0}"), ("chmod o+w /etc/syncropy", "chmod o-w /etc/syncropy")):
        as_root.run(spoil.format("/etc/syncropy/hooks.d/theirs", "/etc/syncropy/hooks.d"))
        told = len(as_root.entries(HOOK_REFUSED))
        assert as_root.asking("run theirs 10").startswith("4 77 "), spoil
        assert len(as_root.entries(HOOK_REFUSED)) == told + 1
        as_root.run(mend.format("/etc/syncropy/hooks.d/theirs", "/etc/syncropy/hooks.d"))
    assert as_root.asking("run theirs 10").startswith("uid=0(root)")


def test_nobody_else_asks(as_root):
    knock = "/usr/bin/python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"/run/syncropy-hook.socket\"); print(s.recv(1000))'"
    assert "PermissionError" in as_root.output(f"runuser -u nobody -- {knock}", check=False)
    # And were the socket open, the worker asks the kernel.
    as_root.run("chmod 666 /run/syncropy-hook.socket")
    told = len(as_root.entries(HOOK_REFUSED))
    assert "may not" in as_root.output(f"runuser -u nobody -- {knock}")
    assert len(as_root.entries(HOOK_REFUSED)) == told + 1
    as_root.run("chmod 600 /run/syncropy-hook.socket")
    # The worker goes by the policy and not by being asked.
    as_root.policy(plain="loopback")
    assert "commands_as: root" in as_root.output(f"runuser -u syncropy-agent -- {knock}")


@pytest.mark.parametrize("if_cut", ["end", "finish"])
def test_a_cut_connection(as_root, if_cut):
    as_root.policy(plain="loopback", commands_as="root", commands_if_cut=if_cut)
    as_root.run("rm -f /run/finished")
    as_root.hook("slow", "echo begun; sleep 1.5; echo yes >/run/finished")
    assert as_root.asking("run slow 60 yes") == "begun\n"
    as_root.wait_for("test -z \"$(systemctl list-units --no-legend 'syncropy-hook@*')\"", "the worker ends")
    assert as_root.run("test -e /run/finished", check=False).returncode == (0 if if_cut == "finish" else 1)
    # Nor does the agent go on without its server.
    as_root.policy(plain="loopback", commands_if_cut=if_cut)
    as_root.run("rm -f /var/lib/syncropy-agent/finished")
    as_root.hook("slow", "echo begun; sleep 1.5; echo yes >/var/lib/syncropy-agent/finished")
    assert as_root.asking("run slow 60 yes") == "begun\n"
    as_root.wait_for("! pgrep -f [h]ooks.d/slow", "the command ends")
    assert as_root.run("test -e /var/lib/syncropy-agent/finished", check=False).returncode == (0 if if_cut == "finish" else 1)


def test_an_agent_that_is_stopped_ends_its_commands_in_time(as_root):
    as_root.hook("stubborn", "trap '' TERM; echo begun; while :; do sleep 1; done")
    asking = as_root.background(f"{ASKING} run stubborn 60")
    assert asking.stdout.readline() == "begun\n"
    began = time.monotonic()
    as_root.run("systemctl stop syncropy-agent.service")
    assert time.monotonic() - began < 5
    as_root.wait_for("! pgrep -f [h]ooks.d/stubborn", "the hook ends")
    asking.communicate()
