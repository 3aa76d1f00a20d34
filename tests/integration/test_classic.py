"""The classic program's README works as it stands there: its configuration with only paths, port and password adapted, its command lines."""

import os
import shutil
import socket

import pytest

import harness
import pki
import stored
import trees
from harness import AGENT, SERVER

EXAMPLE = harness.SOURCE_ROOT / "conf/classic.cfg.example"


@pytest.fixture
def classic(lab, firebird):
    with harness.World(lab) as world:
        trees.small(world.source)
        world.settings = None  # the file is the example
        world.home = world.folder / "home"
        world.home.mkdir()
        os.chown(world.home, SERVER, SERVER)
        world.configuration = world.home / "backup.cfg"
        world.pair = pki.classic(world.home, "classic", SERVER)
        opened = pki.decrypted(world.home, "opened", world.pair, SERVER)
        shutil.copy(opened.certificate, world.home / "ssl.crt")
        opened.key.rename(world.home / "ssl.key")
        world.copy = world.folder / "copy"
        world.copy.mkdir()
        world.agent_pair = pki.Pair(world.copy, "syncropy")
        shutil.copy(opened.certificate, world.agent_pair.certificate)
        shutil.copy(world.home / "ssl.key", world.agent_pair.key)
        world.agent_pair.give_to(AGENT)
        world.locked_pair = pki.Pair(world.copy, "locked")
        shutil.copy(world.pair.certificate, world.locked_pair.certificate)
        shutil.copy(world.pair.key, world.locked_pair.key)
        world.locked_pair.give_to(AGENT)
        world.firebird = firebird
        yield world


def adapt(world, port, **more):
    """The example with its two paths, ports and the password of this machine; `more` adds keys to the client."""
    text = EXAMPLE.read_text()
    for old, new in (("/full/path/to/store/backups", str(world.repository)), ("/full/path/to/backup", str(world.source)),
                     ("3050", str(world.firebird.port)), ("masterkey", world.firebird.password), ("4444", str(port)),
                     ("dbname = syncropy.fdb", f"dbname = {world.firebird.folder}/classic{world.folder.name}.fdb")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    for key, value in more.items():
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(f"{key} =")) + f"{key} = {value}\n"
    world.configuration.write_text(text)


def classic_agent(world, *arguments):
    """By its classic command line, on a port that was free a moment ago; where somebody took it meanwhile, on another."""
    for _ in range(20):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        agent = world.start("-p", port, *arguments, program="syncropy-agent", user=harness.AS_AGENT)
        if harness.wait_until(lambda: "listening on" in agent.text() or not agent.runs(), "the agent listens") and agent.runs():
            return agent, port
    raise AssertionError(agent.text())


def test_the_example_verbatim(classic):
    world = classic
    agent, port = classic_agent(world, "-S", "--sslcert", world.agent_pair.certificate, "--sslkey", world.agent_pair.key)
    adapt(world, port)
    world.init()
    before = world.snapshot()
    for flag, tier in (("-H", "hour"), ("-D", "day"), ("-W", "week"), ("-M", "month")):
        done = world.execute("syncropy-server", f"--cfg={world.configuration}", flag)
        assert done.status == 0, done
        assert world.newest("a_server").tier == tier
        stored.check_is(world.newest("a_server"), world.source, before)
    world.check("a_server")
    assert world.list()[0]["recorded"] is True
    # The same lines as on standard error stand in its log file, beside the configuration.
    log = (world.home / "syncropy-ng.log").read_text().splitlines()
    assert len(log) == 4 and all(" info a_server: " in line and " is complete: " in line for line in log)
    done = world.execute("syncropy-server", f"--cfg={world.configuration}", "-M", "--get-last-dataset")
    assert done.out == f"a_server {world.newest('a_server').name} 4\n"
    world.execute("syncropy-server", f"--cfg={world.configuration}", "-M", "-r")
    assert [dataset.sequence for dataset in world.datasets("a_server")] == [1, 2, 3, 5]
    done = world.execute("syncropy-server", f"--cfg={world.configuration}", "-D", "--del-dataset", world.datasets("a_server")[1].name)
    assert done.status == 0 and [dataset.sequence for dataset in world.datasets("a_server")] == [1, 3, 5]
    world.check("a_server")
    assert agent.stop() == 0


def test_certificate_and_encrypted_key_in_one_file(classic):
    world = classic
    _, port = classic_agent(world, "-l", "127.0.0.1", "-S", "--sslpem", world.locked_pair.pem, "--sslpass", pki.PASSWORD)
    adapt(world, port, sslpem=world.pair.pem, sslpass=pki.PASSWORD, sslcert="", sslkey="", compress="yes")
    world.init()
    before = world.snapshot()
    done = world.execute("syncropy-server", "-c", world.configuration, "-H")
    assert done.status == 0, done
    stored.check_is(world.newest("a_server"), world.source, before)


def test_without_tls_on_loopback(classic):
    world = classic
    agent, port = classic_agent(world)
    assert "without TLS" in agent.text()
    for value in ("no", ""):
        adapt(world, port, ssl=value)
        if not world.repository.exists():
            world.init()
        done = world.execute("syncropy-server", "-c", world.configuration, "-H")
        assert done.status == 0, done
    assert len(world.datasets("a_server")) == 2


def test_a_comma_list_of_paths(classic):
    world = classic
    _, port = classic_agent(world)
    adapt(world, port, ssl="no", path=f"{world.source}/folder0, {world.source}/folder2,{world.source}/top")
    world.init()
    assert world.execute("syncropy-server", "-c", world.configuration, "-H").status == 0
    source = str(world.source)[1:] + "/"
    paths = [os.fsdecode(path) for path in world.newest("a_server").entries()]
    inside = {path.removeprefix(source).split("/")[0] for path in paths if path.startswith(source)}
    assert inside == {"folder0", "folder2", "top"}


@pytest.mark.parametrize("arguments, status, words", [
    (["-S"], 2, ["--sslcert"]),
    (["-S", "--sslcert", "/no/such/file", "--sslkey", "/no/such/key"], 66, ["/no/such/file"]),
    (["--nonsense"], 2, []),
    (["-p", "99999999"], 2, []),
])
def test_wrong_command_lines_of_the_agent(world, arguments, status, words):
    done = world.execute("syncropy-agent", "-p", "1", *arguments, user=harness.AS_AGENT)
    assert done.status == status, done
    assert not words or len(done.lines) == 1
    for word in words:
        assert word in done.err


def test_a_port_that_is_taken_or_forbidden(world):
    taken = world.listener().getsockname()[1]
    done = world.execute("syncropy-agent", "-p", taken, user=harness.AS_AGENT)
    assert done.status != 0 and len(done.lines) == 1 and str(taken) in done.err
    done = world.execute("syncropy-agent", "-p", "1", user=harness.AS_AGENT)
    assert done.status != 0 and len(done.lines) == 1


@pytest.mark.parametrize("program", ["syncropy", "syncropy-agent", "syncropy-server"])
def test_help_and_version(world, program):
    done = world.execute(program, "--help")
    assert done.status == 0 and done.err == ""
    page = {"syncropy": "syncropy.1", "syncropy-agent": "syncropy-agent.8", "syncropy-server": "syncropy-server.8"}[program]
    text = (harness.SOURCE_ROOT / "man" / page).read_text()
    # Every long option of the help is in the man page.
    for option in {word.strip(",[]").split(",")[-1] for word in done.out.split() if "--" in word}:
        name = option[option.index("--") + 2:]
        if name and name not in ("help", "version"):
            assert name in text.replace("\\", ""), f"{page} does not tell of --{name}"
    done = world.execute(program, "--version")
    assert done.status == 0 and done.out.startswith(f"{program} ") and done.err == ""


@pytest.mark.parametrize("arguments", [[], ["-H"], ["-H", "-D", "--cfg", "x"], ["--cfg", "x"], ["--instance", "x"], ["--instance", "x-hourly", "-H"],
                                       ["--cfg"], ["--nonsense"], ["-H", "--cfg", "x", "--get-last-dataset", "--del-dataset", "1"], ["-H", "--cfg", "x", "--lock-wait", "soon"]])
def test_wrong_command_lines_of_the_server(world, arguments):
    done = world.execute("syncropy-server", *arguments)
    assert done.status == 2 and done.out == "" and done.err, done


def test_a_configuration_that_is_not_there(world):
    world.settings = None
    for name in ("/no/such/file.cfg", "nosuchname"):
        harness.assert_one_line(world.execute("syncropy-server", "--cfg", name, "-H"), 66, name)
        harness.assert_one_line(world.execute("syncropy", "-c", name, "list"), 66, name, program="syncropy")
