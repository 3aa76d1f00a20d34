"""Enrolment by the real programs: tokens that are good, wrong, used, expired; who stands between; renewal, revocation; and the same by hand."""

import concurrent.futures
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

import harness
import pki
import trees
from harness import AGENT, AS_AGENT, AS_SERVER, LAUNCHER, SERVER, SOURCE_ROOT, as_user, assert_one_line
from proxy import Proxy

CLIENT_USER = as_user(AGENT)


class Service:
    """syncropy-enroll.socket: a process for each connection."""

    def __init__(self, ca):
        self.ca, self.log = ca, ca.world.folder / "enrolment.log"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.processes = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            command = [sys.executable, "-S", "-E", "-c", LAUNCHER, connection.fileno(), *AS_SERVER, self.ca.program("syncropy"), "serve-enrolment", "--ca", self.ca.folder]
            with connection, open(self.log, "ab") as log:
                self.processes.append(subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(connection.fileno(),),
                                                       env=self.ca.world.environment))

    def said(self):
        """Its lines, once it has served everybody."""
        for process in self.processes:
            assert process.wait(30) == 0, self.log.read_text()
        return self.log.read_text().splitlines() if self.log.exists() else []

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        self.said()


class Machine:
    """A client with a folder of its own."""

    def __init__(self, ca, name):
        self.ca, self.name = ca, name
        self.folder = ca.world.folder / name
        self.folder.mkdir()
        os.chown(self.folder, AGENT, AGENT)
        self.keys, self.policy = self.folder / "keys", self.folder / "agent.yaml"
        self.certificate, self.key = self.keys / "agent.crt", self.keys / "agent.key"

    def execute(self, *arguments, given=None, prefix=()):
        command = [*prefix, *CLIENT_USER, self.ca.program("syncropy-agent"), *arguments, "--keys", self.keys]
        done = subprocess.run([str(word) for word in command], input=given, capture_output=True, text=True, timeout=60, env={**self.ca.world.environment, "SYNCROPY_CONFIG_FOLDER": str(self.folder)})
        return harness.Ended(done.returncode, done.stdout, done.stderr, 0)

    def enrol(self, token, *arguments, port=None, **options):
        return self.execute("enroll", f"127.0.0.1:{port or self.ca.service.port}", token, *arguments, **options)

    def enrolled(self, *arguments):
        done = self.enrol(self.ca.token(self.name), *arguments)
        assert done.status == 0, done
        return self

    def refused(self, done, status, *words):
        """One line, and nothing there."""
        assert_one_line(done, status, *words, program="syncropy-agent")
        assert not self.keys.exists() or not list(self.keys.iterdir())
        assert not self.policy.exists()

    def serial(self):
        return openssl("x509", "-noout", "-serial", "-in", self.certificate).split("=")[1].strip().lower()

    def files(self):
        return {str(path): (path.read_bytes(), path.stat().st_mode) for path in sorted(self.folder.rglob("*")) if path.is_file()}

    def agent(self, policy=None):
        """The agent with the policy that enrolment wrote."""
        world = self.ca.world
        listener = world.listener()
        log = world.folder / f"agent-{self.name}{world.counted()}.log"
        command = [sys.executable, "-S", "-E", "-c", LAUNCHER, listener.fileno(), *AS_AGENT, self.ca.program("syncropy-agent"), "--policy", policy or self.policy]
        running = world.keep(harness.Program(command, log, world.environment, world.folder, pass_fds=(listener.fileno(),)))
        world.client(self.name, {"host": "127.0.0.1", "port": listener.getsockname()[1], "sslpem": str(self.ca.keys / "server.key"), "sslca": str(self.ca.keys / "ca.crt")})
        return running


class Ca:
    """What `syncropy ca init` made, and the service that goes with it."""

    def __init__(self, world, service=True):
        self.world = world
        home = world.folder / f"server{world.counted()}"
        home.mkdir()
        os.chown(home, SERVER, SERVER)
        self.folder, self.keys = home / "ca", home / "keys"
        done = self.ask("ca", "--keys", self.keys, "init", "backup.test", "127.0.0.1")
        assert done.status == 0, done
        self.service = world.keep(Service(self)) if service else None

    def program(self, name):
        return self.world.lab.program(name)

    def ask(self, *words):
        return self.world.execute("syncropy", *words, "--ca", self.folder)

    def token(self, name, *arguments):
        done = self.ask("enroll", name, "--name", "127.0.0.1", "-q", *arguments)
        assert done.status == 0, done
        return done.out.strip()

    def list(self):
        return [json.loads(line) for line in self.ask("ca", "list", "--json").out.splitlines()]

    def revoke(self, *names, status=0):
        done = self.ask("ca", "--keys", self.keys, "revoke", *names)
        assert done.status == status, done
        return done

    def machine(self, name):
        return Machine(self, name)


@pytest.fixture
def ca(world):
    trees.small(world.source)
    return Ca(world)


def openssl(*arguments, **options):
    done = subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    assert done.returncode == 0, done
    return done.stdout


def test_a_machine_is_enrolled_and_backed_up(ca):
    machine, token = ca.machine("web1"), ca.token("web1")
    # From standard input, small letters and with what a mail made of it.
    done = machine.enrol("-", given=" " + token.lower().replace("-", " ") + "\n")
    assert done.status == 0 and "enrolled as web1" in done.out, done
    assert token not in done.out + done.err

    names = {path.name: path.stat().st_mode & 0o777 for path in machine.keys.iterdir()}
    assert names == {"agent.key": 0o600, "agent.crt": 0o644, "agent-ca.crt": 0o644, "agent-ca.crl": 0o644, "enrolment": 0o644}
    told = openssl("x509", "-noout", "-text", "-in", machine.certificate)
    assert "DNS:web1, IP Address:127.0.0.1" in told and "TLS Web Server Authentication" in told and "CA:FALSE" in told and "Client Authentication" not in told
    assert openssl("verify", "-purpose", "sslserver", "-CAfile", ca.keys / "ca.crt", machine.certificate)
    assert "TLS Web Client Authentication" in openssl("x509", "-noout", "-text", "-in", ca.keys / "server.crt")
    # The key was made there: nothing of the server's has it.
    secret = machine.key.read_text().split("-----")[2].strip().encode()
    assert all(secret not in path.read_bytes() for folder in (ca.folder, ca.keys) for path in folder.iterdir())

    machine.agent()
    ca.world.init().run()
    assert [line for line in ca.service.said() if "enrolled 'web1'" in line and machine.serial() in line]
    # The policy admits this server only: another CA's with the same name is a stranger, and so is the agent itself.
    other = Ca(ca.world, service=False)
    client = ca.world.settings["clients"]["web1"]
    for pem in (other.keys / "server.key", machine.key):
        client["sslpem"] = str(pem)
        if pem == machine.key:
            os.chown(machine.key, SERVER, SERVER)
        ca.world.fail(77, "refuse")


def test_a_token_is_good_once_for_a_while_and_with_its_own_server(ca):
    machine = ca.machine("web1")
    wrong = ca.token("web1")
    good = ca.token("web1")  # makes the one before worthless
    machine.refused(machine.enrol(wrong), 77, "not known", "syncropy enroll")
    machine.refused(machine.enrol(good[:-1] + ("A" if good[-1] != "A" else "B")), 2, "mistyped")
    other = Ca(ca.world, service=False)
    machine.refused(machine.enrol(other.token("web1")), 77, "its CA has another key, and nothing was sent to it")

    assert machine.enrol(good).status == 0
    second = ca.machine("second")
    second.refused(second.enrol(good), 77, "was used already", "syncropy ca revoke web1")

    late = ca.token("late")
    tokens = ca.folder / "tokens"
    tokens.write_text(re.sub(r"^(\w+) \d+ - late", r"\1 1000000000 - late", tokens.read_text(), flags=re.MULTILINE))
    second.refused(second.enrol(late), 77, "expired on 2001-09-09", "syncropy enroll late")
    # Whoever is refused is refused in one line there too.
    warnings = [line for line in ca.service.said() if "warning" in line]
    assert len(warnings) == 4, warnings
    assert [entry["name"] for entry in ca.list() if entry["part"] == "agent"] == ["web1"]


def test_nothing_that_is_there_is_overwritten_unasked(ca):
    machine = ca.machine("web1").enrolled()
    before, token = machine.files(), ca.token("web1")
    done = machine.enrol(token)
    assert_one_line(done, 6, "agent.key already", "--force", program="syncropy-agent")
    assert machine.files() == before and len(ca.service.processes) == 1
    machine.policy.write_text("# mine\n" + machine.policy.read_text())
    assert machine.enrol(token, "--force", "--keep-policy").status == 0
    assert machine.policy.read_text().startswith("# mine\n")
    assert (machine.keys / "agent.key.old").read_bytes() == before[str(machine.key)][0]
    assert machine.enrol(ca.token("web1"), "--force").status == 0
    assert (machine.folder / "agent.yaml.old").read_text().startswith("# mine\n")
    machine.agent()
    ca.world.init().run()


def test_who_stands_between_learns_and_changes_nothing(ca):
    machine, token = ca.machine("web1"), ca.token("web1")
    # He has the CA's certificate, which everybody may read, and a key of his own; and takes down what he is told.
    folder = ca.world.folder / "between"
    folder.mkdir()
    forged = pki.Authority(folder, "forged").sign("leaf", AGENT, "DNS:backup.test,IP:127.0.0.1")
    chain = folder / "chain.pem"
    chain.write_bytes(forged.certificate.read_bytes() + (ca.keys / "ca.crt").read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, forged.key)
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def listen():
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as stream:
                    heard.append(stream.recv(65536))
            except OSError as error:
                heard.append(str(error))
        thread = threading.Thread(target=listen)
        thread.start()
        machine.refused(machine.enrol(token, port=listener.getsockname()[1]), 77, "not one of an enrolment service")
        thread.join()
    assert isinstance(heard[0], str), heard  # the handshake failed: an alert, and no byte of what would have come after it

    # He hands on what he cannot read, and at last keeps the end of it: more than the goodbye that may have come with it.
    seen = bytearray()

    def look(direction, count, piece):
        seen.extend(piece)
        return len(piece) - 100 if direction == "in" and count > 0 and len(piece) > 700 else len(piece)

    between = ca.world.keep(Proxy(("127.0.0.1", ca.service.port), cut=look))
    machine.refused(machine.enrol(token, port=between.port), 76)
    assert between.cuts == 1 and len(seen) > 2000
    secret = bytes(int("".join(format("0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(c), "05b") for c in token if c != "-")[i * 8:i * 8 + 8], 2) for i in range(16, 32))
    assert secret not in seen and token.encode() not in seen


def test_a_flood_of_wrong_tokens_keeps_nobody_out(ca):
    good = ca.token("web1")
    wrong = [Ca.token(ca, "guess") for _ in range(9)][:-1]  # each makes the one before worthless
    machines = [ca.machine(f"flood{i}") for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        flood = [pool.submit(machine.enrol, token) for machine, token in zip(machines, wrong)]
        machine = ca.machine("web1")
        assert machine.enrol(good).status == 0
        for guesser, ended in zip(machines, flood):
            guesser.refused(ended.result(), 77, "not known")
    assert len([line for line in ca.service.said() if "not known" in line]) == 8


def test_rubbish_at_the_service(ca):
    for bytes_sent in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 100, os.urandom(3000)):
        with socket.create_connection(("127.0.0.1", ca.service.port)) as connection:
            connection.sendall(bytes_sent)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(20)
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    said = ca.service.said()
    assert len(said) == 4 and not [line for line in said if re.search(r"[\x00-\x1f]|defect", line)], said
    ca.machine("web1").enrolled()


def test_where_no_service_answers(ca):
    ca.service.close()
    machine = ca.machine("web1")
    machine.refused(machine.enrol(ca.token("web1")), 69, "syncropy-enroll.socket")
    ca.world.made.remove(ca.service)


def test_the_token_does_not_stay_in_the_list_of_processes(ca):
    machine, token = ca.machine("web1"), ca.token("web1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [*CLIENT_USER, ca.program("syncropy-agent"), "enroll", f"127.0.0.1:{silent.getsockname()[1]}", token, "--keys", machine.keys, "--policy", machine.policy]
        running = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
        connection, _ = silent.accept()
        shown = pathlib.Path(f"/proc/{running.pid}/cmdline").read_bytes()
        assert b"enroll" in shown and token.encode() not in shown and b"***" in shown, shown
        connection.close()
        assert running.wait(20) == 76


def test_renewal(ca):
    machine = ca.machine("web1").enrolled()
    before = machine.files()
    done = machine.execute("renew")
    assert done.status == 0 and "not due" in done.err, done
    assert machine.files() == before and len(ca.service.processes) == 1
    first = machine.serial()
    done = machine.execute("renew", "--force")
    assert done.status == 0 and machine.serial() != first and machine.key.read_bytes() != before[str(machine.key)][0], done
    assert machine.serial() in done.err and not list(machine.keys.glob("*.old"))
    machine.agent()
    ca.world.init().run()
    # The server's own: the next run has it, and nothing has to be told to the client.
    serial = openssl("x509", "-noout", "-serial", "-in", ca.keys / "server.crt")
    assert ca.ask("ca", "--keys", ca.keys, "renew").status == 0 and openssl("x509", "-noout", "-serial", "-in", ca.keys / "server.crt") == serial
    assert ca.ask("ca", "--keys", ca.keys, "renew", "--force").status == 0 and openssl("x509", "-noout", "-serial", "-in", ca.keys / "server.crt") != serial
    ca.world.run()
    stranger = ca.machine("stranger")
    assert_one_line(stranger.execute("renew"), 66, "never enrolled", program="syncropy-agent")


def expired_pair(ca, name):
    """What this CA signed by hand for a day that is over."""
    authority = pki.Authority.__new__(pki.Authority)
    authority.folder = ca.world.folder / f"by-hand-{name}"
    authority.folder.mkdir()
    authority.certificate, authority.key = ca.keys / "ca.crt", ca.folder / "ca.key"
    (authority.folder / "index.txt").touch()
    (authority.folder / "config").write_text(pki.CA_CONFIG.format(folder=authority.folder))
    return authority.sign(name, AGENT, "DNS:web1,IP:127.0.0.1", -10 * pki.DAY, -pki.DAY)


def test_what_has_expired_is_not_renewed(ca):
    machine = ca.machine("web1").enrolled()
    pair = expired_pair(ca, "web1")
    machine.key.write_bytes(pair.pem.read_bytes())
    machine.certificate.write_bytes(pair.certificate.read_bytes())
    done = machine.execute("renew")
    assert_one_line(done, 77, "expired on", program="syncropy-agent")


def test_revoked_certificates_are_refused_in_both_directions(ca):
    world = ca.world
    machine, other = ca.machine("web1").enrolled(), ca.machine("web2").enrolled()
    agents = machine.agent(), other.agent()
    world.init().run("hour", "--client", "web1")

    # A client's: the server refuses it, says so in one line, and goes on with the others.
    done = ca.revoke("web1")
    assert machine.serial() in done.err, done
    assert "web1" in [entry["name"] for entry in ca.list() if entry["state"] == "revoked"]
    world.fail(77, "web1", "is revoked", arguments=("--client", "web1"))
    world.run("hour", "--client", "web2")
    lines = [line for line in harness.wait_until(lambda: [line for line in agents[0].text().splitlines() if "revoked" in line], "the agent says so")]
    assert len(lines) == 1 and "refused this agent's certificate" in lines[0], lines
    before = machine.files()
    assert_one_line(machine.execute("renew", "--force"), 77, "was revoked on", "enrol the machine anew", program="syncropy-agent")
    assert machine.files() == before
    assert_one_line(ca.revoke("nobody", status=66), 66, "nobody", program="syncropy")

    # The server's own: an agent that has the list refuses it.
    serial = openssl("x509", "-noout", "-serial", "-in", ca.keys / "server.crt").split("=")[1].strip().lower()
    ca.revoke(serial)
    (other.keys / "agent-ca.crl").write_bytes((ca.keys / "ca.crl").read_bytes())
    agents[1].stop()
    running = other.agent()
    world.fail(77, "web2", "the agent", "refused this server's certificate: it is revoked", arguments=("--client", "web2"))
    lines = harness.wait_until(lambda: [line for line in running.text().splitlines() if "warning" in line], "the agent says so")
    assert len(lines) == 1 and "is revoked" in lines[0], lines
    assert ca.ask("ca", "--keys", ca.keys, "renew", "--force").status == 0
    world.run("hour", "--client", "web2")

    # A machine that was revoked may come back, with a new token.
    agents[0].stop()
    assert machine.enrol(ca.token("web1"), "--force", "--keep-policy").status == 0
    machine.agent()
    world.run("hour", "--client", "web1")


def test_a_list_that_a_configuration_names_is_written_too(ca):
    machine = ca.machine("web1").enrolled()
    machine.agent()
    elsewhere = ca.keys / "elsewhere.crl"
    elsewhere.write_bytes((ca.keys / "ca.crl").read_bytes())
    ca.world.client("web1", ca.world.settings["clients"]["web1"], sslcrl=str(elsewhere))
    ca.world.init().run()
    os.chown(elsewhere, SERVER, SERVER)
    assert str(elsewhere) in ca.revoke("web1").out
    ca.world.fail(77, "is revoked")
    # One that is another CA's would do nothing, and nobody would know.
    elsewhere.write_bytes((Ca(ca.world, service=False).keys / "ca.crl").read_bytes())
    ca.world.fail(77, "elsewhere.crl", "is not one of this CA's")


def test_the_certificate_has_the_names_that_the_configuration_wants(ca):
    ours = {"sslpem": str(ca.keys / "server.key"), "sslca": str(ca.keys / "ca.crt")}
    ca.world.client("web1", {"host": "web1.example.org", "restore_host": "192.0.2.9", "sslidentity": "id.example.org", **ours})
    ca.world.client("web2", {"host": "/run/agent.socket", "ssl": False})
    assert ca.ask("enroll", "web1").status == 0 and ca.ask("enroll", "web2").status == 0
    names = {entry["name"]: entry["names"] for entry in ca.list()}
    assert names["web1"] == ["web1", "id.example.org", "web1.example.org", "192.0.2.9"] and names["web2"] == ["web2"]


def test_mistakes(ca):
    ca.world.client("web1", {"host": "/run/agent.socket", "ssl": False})

    def one_line(status, *words, said):
        assert_one_line(ca.world.execute("syncropy", *words), status, *said, program="syncropy")

    one_line(6, "ca", "init", "--ca", ca.folder, "--keys", ca.keys, said=["server.key", "--force"])
    one_line(6, "ca", "init", "--force", "--ca", ca.folder, "--keys", ca.keys, said=["there is a CA", "syncropy ca list"])
    one_line(66, "enroll", "web1", "--ca", ca.world.folder / "none", said=["there is no CA", "syncropy ca init"])
    for life in ("0h", "1", "31d", "h", "-1h", "99999999999999999999d"):
        one_line(2, "enroll", "web1", "--ca", ca.folder, f"--valid={life}", said=["--valid"])
    one_line(2, "enroll", "a b", "--ca", ca.folder, said=["cannot stand in a certificate"])
    one_line(2, "ca", "init", "--ca", ca.folder / "new", "--keys", ca.keys / "new", "x" * 300, said=["cannot stand in a certificate"])
    one_line(2, "serve-enrolment", "--ca", ca.folder, said=["syncropy-enroll.socket"])
    assert not (ca.folder / "new").exists()
    machine = ca.machine("web1")
    for address in ("a b", "host:0", ""):
        machine.refused(machine.execute("enroll", address, ca.token("web1")), 2)
    # The CA's folder is opened by its own user alone.
    os.chmod(ca.folder, 0o755)
    one_line(77, "enroll", "web1", "--ca", ca.folder, said=["0700"])


def documented_commands():
    """The blocks of syncropy-enroll(7), BY HAND, that begin with a prompt, each as a script."""
    page = (SOURCE_ROOT / "man/syncropy-enroll.7").read_text()
    section = page[page.index(".Sh BY HAND"):page.index(".Sh FILES")]
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", section, re.MULTILINE | re.DOTALL)
    scripts = [re.sub(r"^[$#] ", "", block, flags=re.MULTILINE).replace("\\e\n", "\\\n") for block in blocks]
    return [(block[0], script) for block, script in zip(blocks, scripts)]


def test_by_hand_as_documented(world):
    trees.small(world.source)
    ca, client = world.folder / "ca", world.folder / "client"
    for folder in (ca, client):
        folder.mkdir()

    def execute(script, folder):
        # Whoever reads the page has other names and addresses.
        script = script.replace("DNS:web1.example.org,IP:192.0.2.7", "DNS:web1.example.org,IP:127.0.0.1")
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"

    blocks = documented_commands()
    assert [prompt for prompt, _ in blocks] == list("$$$$##$"), "the page has other blocks than this test knows"
    scripts = [script for _, script in blocks]
    execute(scripts[0], ca)
    execute(scripts[1], ca)
    execute(scripts[2], client)
    (ca / "agent.csr").write_bytes((client / "agent.csr").read_bytes())
    execute(scripts[3], ca)
    for name in ("agent.crt", "ca.crt"):
        (client / name).write_bytes((ca / name).read_bytes())

    # What root then puts into place, here below a folder and for users without a name.
    root = world.folder / "root"
    root.mkdir()
    for script, folder in ((scripts[4], client), (scripts[5], ca)):
        (root / "etc/credstore").mkdir(parents=True, exist_ok=True)
        execute(script.replace("/etc/", f"{root}/etc/"), folder)
    policy = root / "etc/syncropy/agent.yaml"
    policy.write_text(policy.read_text().replace("credential:syncropy-agent.key", f"{root}/etc/credstore/syncropy-agent.key"))
    for name, owner in (("agent", AGENT), ("server", SERVER)):
        os.chown(root / f"etc/credstore/syncropy-{name}.key", owner, owner)
    for folder in (root, root / "etc", root / "etc/credstore", root / "etc/syncropy", root / "etc/syncropy/keys"):
        folder.chmod(0o755)

    listener = world.listener()
    command = [sys.executable, "-S", "-E", "-c", LAUNCHER, listener.fileno(), *AS_AGENT, world.lab.program("syncropy-agent"), "--policy", policy]
    policy.chmod(0o644)
    world.keep(harness.Program(command, world.folder / "agent.log", world.environment, world.folder, pass_fds=(listener.fileno(),)))
    world.client("a", {"host": "127.0.0.1", "port": listener.getsockname()[1], "sslpem": f"{root}/etc/credstore/syncropy-server.key", "sslca": f"{root}/etc/syncropy/keys/ca.crt"})
    world.init().run()
    execute(scripts[6], ca)
    listed = root / "etc/syncropy/keys/ca.crl"
    listed.write_bytes((ca / "ca.crl").read_bytes())
    listed.chmod(0o644)
    world.fail(77, "is revoked")
