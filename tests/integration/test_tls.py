"""Who is believed by whom, over real TLS, and what a person reads when it is refused."""

import os
import shutil
import socket
import subprocess
import time

import pytest

import harness
import pki
import stored
import trees
from harness import AGENT, SERVER
from proxy import Proxy


@pytest.fixture(scope="module")
def made(lab):
    """Certificates that are wrong in one way each, and pairs for pinning."""
    folder = lab.folder / "tls"
    folder.mkdir()
    ca, foreign = lab.pki.ca, lab.pki.foreign

    class Made:
        server_expired = ca.sign("server-expired", SERVER, pki.SERVER_NAMES, -10 * pki.DAY, -pki.DAY)
        server_early = ca.sign("server-early", SERVER, pki.SERVER_NAMES, pki.DAY, 10 * pki.DAY)
        server_foreign = foreign.sign("server-foreign", SERVER, pki.SERVER_NAMES)
        server_misnamed = ca.sign("server-misnamed", SERVER, "DNS:other.test")
        agent_expired = ca.sign("agent-expired", AGENT, pki.AGENT_NAMES, -10 * pki.DAY, -pki.DAY)
        agent_early = ca.sign("agent-early", AGENT, pki.AGENT_NAMES, pki.DAY, 10 * pki.DAY)
        agent_foreign = foreign.sign("agent-foreign", AGENT, pki.AGENT_NAMES)
        agent_misnamed = ca.sign("agent-misnamed", AGENT, "DNS:other.test")
        server_pinned = pki.self_signed(folder, "server-pinned", SERVER)
        agent_pinned = pki.self_signed(folder, "agent-pinned", AGENT)

    return Made


@pytest.fixture
def tls(world):
    trees.small(world.source)
    world.init_done = False

    def set_up(policy=None, **client):
        world.running = world.agent(policy=policy)
        world.client("a", world.running.where | {key: str(value) for key, value in client.items()})
        if not world.init_done:
            world.init()
            world.init_done = True
        return world

    world.set_up = set_up
    return world


def works(world):
    before = world.snapshot()
    world.run()
    stored.check_is(world.newest(), world.source, before)


def of_agent(pair):
    return {"sslcert": str(pair.certificate), "sslkey": str(pair.key)}


def of_server(pair):
    return {"sslcert": pair.certificate, "sslkey": pair.key}


def test_private_ca_and_nothing_readable_on_the_way(tls):
    trees.write(tls.source / "known", "a text that would be seen " * 100)
    tls.set_up()
    seen = bytearray()

    def look(_direction, _count, piece):
        seen.extend(piece)
        return len(piece)

    proxy = tls.keep(Proxy(tls.running.address, cut=look))
    tls.settings["clients"]["a"]["port"] = proxy.port
    works(tls)
    assert len(seen) > 20_000 and b"would be seen" not in seen and b"SYNCROPY" not in seen
    assert "serving backup.test from 127.0.0.1" in tls.running.text()


def test_by_name_and_by_identity(tls):
    tls.set_up(host="localhost")
    works(tls)
    tls.set_up(sslidentity="agent.test")
    works(tls)
    tls.set_up(sslidentity="another.test")
    tls.fail(77, "another.test", "sslidentity")


def share(pair, folder, owner):
    """A copy of a pair for the other side's user."""
    folder.mkdir(exist_ok=True)
    copy = pki.Pair(folder, pair.certificate.stem)
    for source, target in ((pair.certificate, copy.certificate), (pair.key, copy.key)):
        shutil.copy(source, target)
    return copy.give_to(owner)


def pinned_policy(**files):
    return {"sslcert": None, "sslkey": None, "sslca": None, "servers": None} | {key: str(value) for key, value in files.items()}


def pin_only(world):
    del world.settings["clients"]["a"]["sslca"]
    return world


def test_a_self_signed_pair_of_each_side(tls, made):
    policy = pinned_policy(**of_agent(made.agent_pinned), sslpin=made.server_pinned.certificate)
    tls.set_up(policy, **of_server(made.server_pinned), sslpin=made.agent_pinned.certificate)
    works(pin_only(tls))
    tls.set_up(policy, **of_server(made.server_foreign), sslpin=made.agent_pinned.certificate)
    pin_only(tls).fail(77, "refused this server's certificate", "sslpin")
    assert "not the pinned one" in tls.running.text()
    tls.set_up(policy, **of_server(made.server_pinned), sslpin=made.agent_foreign.certificate)
    pin_only(tls).fail(77, "not the pinned one", "127.0.0.1")


def test_one_self_signed_pair_on_both_sides(tls, made):
    copy = share(made.server_pinned, tls.folder / "copy", AGENT)
    tls.set_up(pinned_policy(sslcert=copy.certificate, sslkey=copy.key), **of_server(made.server_pinned))
    works(pin_only(tls))


def test_one_file_with_both(tls, made):
    """sslpem, as the classic program has it, on both sides."""
    copy = share(made.server_pinned, tls.folder / "copy", AGENT)
    tls.set_up(pinned_policy(sslpem=copy.pem), sslpem=made.server_pinned.pem)
    for key in ("sslca", "sslcert", "sslkey"):
        del tls.settings["clients"]["a"][key]
    works(tls)


@pytest.fixture(scope="module")
def locked(lab, made):
    """One identity with its key encrypted in both forms, for both sides."""
    folder = lab.folder / "locked"
    folder.mkdir()
    traditional = pki.classic(folder, "traditional", SERVER)
    plain = pki.decrypted(folder, "plain", traditional, SERVER)
    return {"traditional": traditional, "pkcs8": pki.encrypted(folder, "pkcs8", plain, SERVER)}


@pytest.mark.parametrize("form", ["traditional", "pkcs8"])
def test_encrypted_key(tls, locked, form):
    pair = locked[form]
    copy = share(pair, tls.folder / "copy", AGENT)
    policy = pinned_policy(sslcert=copy.certificate, sslkey=copy.key, sslpass=pki.PASSWORD)
    tls.set_up(policy, **of_server(pair), sslpass=pki.PASSWORD)
    works(pin_only(tls))
    client = tls.settings["clients"]["a"]
    # The password may be a credential.
    credentials = tls.folder / "credentials"
    credentials.mkdir()
    (credentials / "pair").write_text(pki.PASSWORD + "\n")
    client["sslpass"] = "credential:pair"
    tls.run(environment={"CREDENTIALS_DIRECTORY": str(credentials)})
    tls.fail(78, "credential", "pair")
    client["sslpass"] = "not the password"
    done = tls.fail(77, str(pair.key), "password", "sslpass")
    assert "not the password" not in done.err
    del client["sslpass"]
    tls.fail(77, str(pair.key), "encrypted", "sslpass")
    for wrong in ({"sslpass": "not the password"}, {"sslpass": None}):
        agent = tls.agent(policy=policy | wrong)
        assert agent.wait() == 77
        line, = agent.text().splitlines()
        assert line.startswith("syncropy-agent: error: ") and str(copy.key) in line and "sslpass" in line and "not the password" not in line


def test_the_agents_log_says_whom_it_refused(tls, made):
    for pair, word in ((made.server_expired, "expired"), (made.server_early, "not valid before"), (made.server_foreign, "foreign"),
                       (made.server_misnamed, "other.test")):
        tls.set_up(**of_server(pair))
        if pair in (made.server_foreign, made.server_misnamed):
            # The server's own look at its certificate finds nothing wrong with it: the agent's word reaches it.
            tls.fail(77, "refused this server's certificate")
            log = tls.running.text().splitlines()
            assert any("warning" in line and word in line and "127.0.0.1" in line for line in log), log
        else:
            tls.fail(77, str(pair.certificate), word)
    tls.set_up()
    works(tls)


def openssl_client(world, *arguments):
    """What openssl says when it is the server, which does what syncropy-server would not."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{world.running.address[1]}", "-ign_eof", *map(str, arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)


def test_an_expired_certificate_of_the_server_is_seen_by_the_agent_too(tls, made):
    tls.set_up()
    done = openssl_client(tls, "-cert", made.server_expired.certificate, "-key", made.server_expired.key, "-tls1_3")
    assert "alert certificate expired" in done.stderr
    harness.wait_until(lambda: "expired" in tls.running.text(), "the agent says so")


@pytest.mark.parametrize("which, word", [("agent_foreign", "foreign"), ("agent_misnamed", "other.test")])
def test_an_agent_that_is_not_believed(tls, made, which, word):
    tls.set_up(of_agent(getattr(made, which)))
    done = tls.fail(77, word, "127.0.0.1")
    assert "certificate" in done.err
    harness.wait_until(lambda: "refused this agent's certificate" in tls.running.text(), "the agent is told")


@pytest.mark.parametrize("which, word", [("agent_expired", "expired"), ("agent_early", "not valid before")])
def test_an_agent_with_an_untimely_certificate_does_not_start(tls, made, which, word):
    agent = tls.agent(policy=of_agent(getattr(made, which)))
    assert agent.wait() == 77
    line, = agent.text().splitlines()
    assert word in line and str(getattr(made, which).certificate) in line


def test_an_agents_certificate_that_runs_out_while_it_serves(tls, made):
    """It started with a good one."""
    brief = tls.lab.pki.ca.sign("agent-brief", AGENT, pki.AGENT_NAMES, -pki.DAY, 2)
    end = time.time() + 3.1  # whole seconds count, to the end of the last
    tls.set_up(of_agent(brief))
    works(tls)
    time.sleep(end - time.time())
    tls.fail(77, "expired", "127.0.0.1")


def test_no_certificate_from_the_server(tls):
    tls.set_up()
    done = openssl_client(tls, "-tls1_3")
    assert "alert certificate required" in done.stderr
    harness.wait_until(lambda: any("certificate" in line for line in tls.running.text().splitlines() if "warning" in line), "the agent's word about the certificate")
    works(tls)


def test_older_tls_is_refused(tls):
    tls.set_up()
    done = openssl_client(tls, "-cert", tls.lab.pki.server.certificate, "-key", tls.lab.pki.server.key, "-tls1_2")
    assert done.returncode != 0 and "Cipher is (NONE)" in done.stdout
    works(tls)


def test_without_tls_is_refused_by_an_agent_with_tls(tls):
    tls.set_up(ssl="no")
    done = tls.fail(77, "no connection without TLS", "ssl: yes", "plain")
    assert "127.0.0.1" in done.err
    tls.set_up({"plain": "loopback"}, ssl="no")
    works(tls)


def test_tls_to_an_agent_without(tls):
    """Cannot be an agent: what answers does not speak TLS."""
    tls.set_up()
    agent = tls.agent(tls=False, policy={"plain": "loopback"})
    tls.settings["clients"]["a"]["port"] = agent.where["port"]
    tls.fail(76, "127.0.0.1")


def test_something_else_listens_there(tls):
    """A service that is no agent: it talks at once, or closes, or answers garbage."""
    tls.set_up()
    for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", os.urandom(1_000)):
        listener = tls.listener()

        def play(listener=listener, answer=answer):
            sock, _ = listener.accept()
            with sock:
                sock.sendall(answer)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass

        join = harness.in_background(play)
        tls.settings["clients"]["a"]["port"] = listener.getsockname()[1]
        tls.fail(76, "127.0.0.1")
        join()


def test_files_of_keys_that_cannot_be_used(tls, made):
    tls.set_up()
    client = tls.settings["clients"]["a"]
    pair = tls.lab.pki.server
    for key in ("sslcert", "sslkey", "sslca"):
        good = client[key]
        client[key] = str(tls.folder / "missing.pem")
        tls.fail(66, client[key])
        unreadable = tls.folder / "unreadable.pem"
        shutil.copy(good, unreadable)
        unreadable.chmod(0)
        client[key] = str(unreadable)
        tls.fail(77, client[key])
        nonsense = trees.write(tls.folder / "nonsense.pem", "not PEM at all\n")
        client[key] = str(nonsense)
        tls.fail(77, client[key])
        client[key] = str(tls.folder)
        tls.fail(77, client[key])
        client[key] = good
    client["sslkey"] = str(made.server_pinned.key)
    tls.fail(77, client["sslkey"], str(pair.certificate), "does not belong")
    client["sslkey"] = str(pair.key)
    works(tls)
    # check-config reads them as a run does.
    assert tls.syncropy("check-config", tls.configuration).status == 0
    client["sslkey"] = str(made.server_pinned.key)
    harness.assert_one_line(tls.syncropy("check-config", tls.configuration, status=77), 77, client["sslkey"], program="syncropy")


@pytest.mark.parametrize("key", ["sslcert", "sslkey", "sslca"])
def test_files_of_keys_that_the_agent_cannot_use(tls, key):
    unreadable = tls.folder / "unreadable.pem"
    shutil.copy(tls.lab.pki.agent.key if key == "sslkey" else tls.lab.pki.ca.certificate, unreadable)
    unreadable.chmod(0)
    for file, status, caps in ((tls.folder / "missing.pem", 66, True), (unreadable, 77, False)):
        agent = tls.agent(policy={key: str(file)}, caps=caps)
        assert agent.wait() == status
        line, = agent.text().splitlines()
        assert line.startswith("syncropy-agent: error: ") and str(file) in line


def test_a_policy_that_others_may_write_is_refused(tls):
    agent = tls.agent(listener=tls.listener())
    agent.stop()
    agent.policy.chmod(0o666)
    done = tls.execute("syncropy-agent", "-p", "1", "--policy", agent.policy, user=harness.AS_AGENT)
    harness.assert_one_line(done, 77, str(agent.policy), "chmod", program="syncropy-agent")
    agent.policy.chmod(0o644)
    os.chown(agent.policy, SERVER, SERVER)
    done = tls.execute("syncropy-agent", "-p", "1", "--policy", agent.policy, user=harness.AS_AGENT)
    harness.assert_one_line(done, 77, str(agent.policy), "chown", program="syncropy-agent")


def test_who_may_connect_is_the_agents_list(tls):
    tls.set_up({"servers": ["another.test"]})
    tls.fail(77, "its name is not accepted there")
    assert "backup.test" in tls.running.text()
    tls.set_up({"servers": ["another.test", "BACKUP.test"]})
    works(tls)
