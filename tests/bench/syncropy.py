"""Syncropy as it lives: the agent with its one capability, the server with none, retention full, the expired tree there to be used again."""

import contextlib
import os
import signal
import subprocess
import time

from bench import SOURCE, Stop, ended, quiet, self_signed, wait_for_port
from measure import Failed
from tool import Tool, count_files

SERVER_USER, AGENT_USER = 64_001, 64_002  # numbers without a name: nothing else on this machine belongs to them
AGENT_CAPABILITY = "-all,+dac_read_search"
AGENT_PORT, RESTORE_PORT = 4444, 4445
CLIENT = "bench"


class Syncropy(Tool):
    name = "syncropy"
    packages = {"openssl": "openssl", "setpriv": "util-linux"}
    remark = "over TLS 1.3, its own defaults but for 'hour: 2'; removing is --del-dataset, cleaning up empty-trash"
    expires = True
    settle = 1  # the third makes the first a spare, and from then on each takes the one before
    programs = {}

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.version = ()
        self.repository = self.place / "repository"
        self.config, self.policy = self.work / "bench.yaml", self.work / "agent.yaml"

    def database(self, stack):
        """The section of the configuration that says where the catalog is."""
        return ""

    def start(self, stack):
        os.chown(self.place, SERVER_USER, SERVER_USER)
        for name, user in (("agent", AGENT_USER), ("server", SERVER_USER)):
            quiet(*self_signed(name, self.work / name), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
            os.chown(self.work / f"{name}.key", user, user)
        self.policy.write_text(f"sslcert: {self.work}/agent.crt\nsslkey: {self.work}/agent.key\nsslpin: [{self.work}/server.crt]\n"
                               f"read: [{self.corpus}]\nrestore: accept\n")
        self.config.write_text(
            f"general:\n  repository: {self.repository}\n{self.database(stack)}dataset:\n  hour: {self.keeps}\nclients:\n  {CLIENT}:\n"
            f"    host: 127.0.0.1\n"
            f"    port: {AGENT_PORT}\n    restore_port: {RESTORE_PORT}\n    sslcert: {self.work}/server.crt\n    sslkey: {self.work}/server.key\n"
            f"    sslpin: [{self.work}/agent.crt]\n    path: [{self.corpus}]\n")
        as_agent = ["setpriv", f"--reuid={AGENT_USER}", f"--regid={AGENT_USER}", "--clear-groups", "--no-new-privs",
                    *[f"--{kind}={AGENT_CAPABILITY}" for kind in ("bounding-set", "inh-caps", "ambient-caps")]]
        self.agent(stack, AGENT_PORT, as_agent)
        self.scale.ask(self.as_server("syncropy", "-c", self.config, "init"))

    def agent(self, stack, port, before=(), options=()):
        log = self.work / f"agent-{port}.log"
        command = [*before, self.programs["syncropy-agent"], *options, "-p", port, "-l", "127.0.0.1", "--policy", self.policy]
        agent = self.scale.sides["client"].start(command, stderr=open(log, "wb"), env=self.scale.environment, cwd="/")
        stack.enter_context(ended(agent))
        wait_for_port(port, agent, "the agent", log)

    def as_server(self, program, *arguments):
        return ["setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups", "--no-new-privs", "--bounding-set=-all",
                "--inh-caps=-all", self.programs[program], *arguments]

    def back_up(self):
        return self.scale.weigh("server", self.as_server("syncropy-server", "--cfg", self.config, "-H"))

    def steady(self):
        if not any((self.repository / CLIENT / ".spare").iterdir()):
            raise Failed("there is no spare after a dataset expired")

    def datasets(self):
        return sorted(path for path in (self.repository / CLIENT / "hour").iterdir() if path.is_dir())

    def backups(self):
        return len(self.datasets())

    def files(self):
        return count_files((self.repository / CLIENT / "latest").resolve() / "tree")

    def catalog_bytes(self):
        return (self.repository / ".syncropy/catalog.fdb").stat().st_size

    def restore(self, target):
        """Through the restore worker, which runs as root, as its unit has it, and only then."""
        with contextlib.ExitStack() as stack:
            self.agent(stack, RESTORE_PORT, options=["--restore"])
            return self.scale.weigh("server", self.as_server("syncropy", "-c", self.config, "restore", "--target", target, CLIENT))

    def restore_local(self, target):
        """As root: the repository's owner may set no owners."""
        return self.scale.weigh("server", [self.programs["syncropy"], "-c", self.config, "restore", "--local", target, CLIENT])

    def restored(self, target):
        return target / str(self.corpus).lstrip("/")

    def remove_oldest(self):
        oldest = f"{CLIENT}/hour/{self.datasets()[0].name}"
        return self.scale.weigh("server", self.as_server("syncropy-server", "--cfg", self.config, "-H", "--del-dataset", oldest))

    def clean_up(self):
        return self.scale.weigh("server", self.as_server("syncropy", "-c", self.config, "empty-trash"))


class SyncropyFirebird(Syncropy):
    """The catalog on a Firebird server of its own, over TCP; that counts for the server's side, and on the wire."""

    name = "syncropy-firebird"
    packages = {**Syncropy.packages, "firebird": "firebird3.0-server", "isql-fb": "firebird3.0-utils"}
    remark = "its catalog on a networked Firebird server, which counts as the server's side and on the wire"

    def database(self, stack):
        ready = self.work / "firebird"
        log = self.work / "firebird.log"
        tell = f'(echo SLEEPER=$$; env) >"{ready}.part" && mv "{ready}.part" "{ready}" && exec sleep infinity'
        server = self.scale.sides["server"].start([SOURCE / "tests/support/firebird-server", "sh", "-c", tell], stdout=open(log, "wb"),
                                                  stderr=subprocess.STDOUT, env=self.scale.environment, cwd="/")
        stack.enter_context(ended(server))
        wait_for_file(ready, server, log)
        told = dict(line.split("=", 1) for line in ready.read_text().splitlines() if "=" in line)
        stack.callback(end, int(told["SLEEPER"]))  # the script ends its server when what it runs has ended
        return (f"database:\n  host: {told['FIREBIRD_TEST_HOST']}\n  port: {told['FIREBIRD_TEST_PORT']}\n  user: {told['FIREBIRD_TEST_USER']}\n"
                f"  password: {told['FIREBIRD_TEST_PASSWORD']}\n  dbname: {told['FIREBIRD_TEST_FOLDER']}/bench.fdb\n")


def end(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def wait_for_file(path, process, log):
    for _ in range(600):
        if path.exists():
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise Stop(f"the Firebird server does not start\n{log.read_text(errors='replace')[-2000:]}")
