"""Certificates that must not be believed: each kind is shown to one agent by servers, and to one server by agents. Nobody is told a word before."""

import re
import ssl
import time

import certificates
import harness
import trees
import wire
from harness import AGENT, SERVER
from peers import TlsAgent, connect, context
from test_attack import MiB_MORE
from test_flood import memory_of

LEAST = 40


def loosely(pair, authority, as_server):
    """The peer's own library looks at nothing."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if as_server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    made.verify_mode = ssl.CERT_OPTIONAL if as_server else ssl.CERT_NONE
    made.load_verify_locations(authority.certificate)
    made.load_cert_chain(pair.certificate, pair.key)
    return made


def greeted(address, tls):
    """Whether the agent answers a greeting."""
    try:
        connection = connect(address, tls)
    except OSError:
        return False
    try:
        connection.send(wire.HELLO, wire.hello())
        return connection.receive()[0] == wire.HELLO
    except wire.Gone:
        return False
    finally:
        connection.close()


def test_servers_that_an_agent_must_not_believe(lab):
    with harness.World(lab) as world:
        agent = world.agent()
        forge = certificates.Forge(world.folder / "forged", lab.pki.ca, lab.pki.foreign, SERVER, "backup.test", "clientAuth")
        assert greeted(agent.address, loosely(certificates.good_is_believed(forge), lab.pki.ca, False)), "even the good one is refused"
        kinds, normal = forge.kinds(time.time()), memory_of(agent.pid)
        shown, believed, unshown = 0, [], []
        for name, pair in kinds.items():
            try:
                tls = loosely(pair, lab.pki.ca, False)
            except ssl.SSLError as failure:
                unshown.append(f"{name}: {failure}")
                continue
            shown += 1
            if greeted(agent.address, tls):
                believed.append(name)
        print(f"{shown} bad certificates shown to the agent; not shown: {unshown}")
        assert not believed
        assert shown >= LEAST
        assert memory_of(agent.pid) <= normal + MiB_MORE
        assert agent.runs() and greeted(agent.address, context(lab.pki.server, lab.pki.ca, as_server=False))


def test_agents_that_a_server_must_not_believe(lab):
    """All in one run, each a client's agent."""
    with harness.World(lab) as world:
        trees.small(world.source)
        forge = certificates.Forge(world.folder / "forged", lab.pki.ca, lab.pki.foreign, AGENT, "agent.test", "serverAuth")
        heard = []

        class Hears(wire.Honest):
            def __init__(self, name):
                super().__init__({"": None, "data": None})
                self.name = name

            def greet(self):
                super().greet()
                heard.append(self.name)

        def client(name, tls, play):
            agent = world.keep(TlsAgent(tls, play))
            world.client(name, {"host": "127.0.0.1", "port": agent.port, "sslidentity": "agent.test", "sslca": str(lab.pki.ca.certificate), "sslcert": str(lab.pki.server.certificate),
                                "sslkey": str(lab.pki.server.key)}, path="/data", stall_timeout=10)

        client("good", loosely(certificates.good_is_believed(forge), lab.pki.ca, True), Hears("good"))
        names, unshown = {}, []
        for number, (name, pair) in enumerate(forge.kinds(time.time()).items()):
            try:
                client(f"c{number:02}", loosely(pair, lab.pki.ca, True), Hears(name))
                names[f"c{number:02}"] = name
            except ssl.SSLError as failure:
                unshown.append(f"{name}: {failure}")
        world.init()
        done = world.server("-H")
        print(f"{len(names)} bad certificates shown to the server; not shown: {unshown}")
        assert heard == ["good"], "somebody was believed"
        lines = {found[1]: line for line in done.lines if (found := re.match(r"syncropy-server: error: (c\d\d): ", line))}
        assert done.status == 1, done
        for client_name, name in names.items():
            # A key of 512 bits is too short for any signature of TLS 1.3.
            assert ("certificate" if name != "RSA of 512 bits" else "no common ground") in lines.get(client_name, "") and not world.datasets(client_name), f"{name}: {lines.get(client_name)}"
        assert world.datasets("good") and len(names) >= LEAST
