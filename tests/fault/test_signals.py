"""Agents and servers that are told to end, and agents that end for idleness and are started again."""

import pathlib
import signal
import socket
import subprocess
import sys
import time

import harness
import stored
import trees
import wire
from harness import assert_one_line


def slow(world):
    """Enough that a run takes a while."""
    for number in range(3_000):
        trees.write(world.source / f"folder{number % 30}/file{number}", b"%d" % number)
    trees.write(world.source / "large", trees.filler(64 << 20))


def test_sigterm_to_the_agent_during_a_run(lab):
    with harness.World(lab) as world:
        slow(world)
        agent = world.agent()
        world.client("a", agent.where)
        world.init()
        for wait in (0.05, 0.2, 0.4):
            before = world.state()
            run = world.start("-c", world.configuration, "-H")
            harness.wait_until(lambda: "serving" in agent.text(), "the agent serves")
            time.sleep(wait)
            began = time.monotonic()
            assert agent.stop() == 0
            assert time.monotonic() - began < 5
            status = run.wait()
            if status != 0:
                assert status == 76
                line, = run.text().splitlines()
                assert line.startswith("syncropy-server: error: a: ") and "127.0.0.1" in line
                assert world.state() == before
            agent = world.agent()
            world.client("a", agent.where)
        before = world.snapshot()
        world.run()
        stored.check_is(world.newest(), world.source, before)
        world.check()


def test_sigterm_and_sigint_to_an_agent_at_rest(world):
    for number in (signal.SIGTERM, signal.SIGINT):
        agent = world.agent()
        harness.wait_until(lambda: agent.runs(), "it runs")
        time.sleep(0.2)
        agent.kill(number)
        assert agent.wait(5) == 0
        assert agent.text() == ""


def test_sigterm_to_the_server_during_a_run(lab):
    """Like a kill: nothing half is visible, and the next run cleans up."""
    with harness.World(lab) as world:
        slow(world)
        world.client("a", world.agent().where)
        world.init()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Whoever started the tests may have had signals ignored, as nohup(1) and a shell's & do.
            run = world.start("-c", world.configuration, "-H", prefix=["env", "--default-signal"])
            # From its first moment on, whatever it is at: the one before may have left an unfinished tree.
            harness.wait_until(lambda: pathlib.Path(f"/proc/{run.pid}/comm").read_text().startswith("syncropy"), "it has begun")
            harness.wait_until(lambda: any((world.repository / "a").glob(".staging/*")), "it has begun")
            run.kill(number)
            assert run.wait(20) == -number, run.text()
            for dataset in world.datasets():  # it may have come that far
                stored.check_whole(dataset, harness.SERVER)
        before = world.snapshot()
        left = any((world.repository / "a/.staging").iterdir())
        done = world.run()
        assert any("interrupted run" in line for line in done.lines) == left
        stored.check_is(world.newest(), world.source, before)
        world.check()


def test_sigterm_to_a_server_whose_agent_only_lives(world):
    """An agent that sends nothing but signs of life, or nothing at all, holds up a run and not its end."""
    class Lives(wire.Honest):
        def list(self, _payload):
            try:
                while True:
                    self.connection.send(wire.ALIVE)
                    time.sleep(0.2)
            except wire.Gone:
                return

    agent = world.keep(wire.FakeAgent(world.folder / "lives.socket", Lives({"": None})))
    world.client("a", {"host": str(agent.path), "ssl": False}, path="/data")
    world.init()
    for number in (signal.SIGTERM, signal.SIGINT):
        run = world.start("-c", world.configuration, "-H")
        harness.wait_until(lambda: any((world.repository / "a").glob(".staging/*")), "it has begun")
        time.sleep(0.5)
        run.kill(number)
        assert run.wait(5) == -number


def test_idle_exit_and_a_new_activation(lab):
    """As systemd does it: the socket stays open, and a connection that comes as the agent ends waits for the next."""
    with harness.World(lab) as world:
        trees.small(world.source)
        listener = world.listener()
        agent = world.agent(listener=listener, policy={"idle_exit": 1})
        world.client("a", agent.where)
        world.init().run()
        began = time.monotonic()
        assert agent.wait(10) == 0
        assert 0.5 < time.monotonic() - began < 5
        run = world.start("-c", world.configuration, "-D")
        time.sleep(0.3)
        assert run.runs()  # it waits in the listening socket
        again = world.agent(listener=listener, policy={"idle_exit": 1})
        assert run.wait() == 0, run.text()
        assert again.wait(10) == 0
        assert len(world.datasets()) == 2
        world.check()


def test_a_session_is_no_idleness(lab):
    """The time counts from the end of the last connection."""
    with harness.World(lab) as world:
        trees.small(world.source)
        agent = world.agent(policy={"idle_exit": 1, "commands": "any"})
        world.client("a", agent.where, pre_command="sleep 2.5")
        world.init().run()
        assert agent.runs()
        world.settings["clients"]["a"]["pre_command"] = ""
        world.run()
        assert agent.wait(10) == 0


def test_systemd_socket_activate(world):
    """Without systemd, the tool of its own that hands a socket over."""
    trees.small(world.source)
    policy = world.agent(policy={"idle_exit": 1, "plain": "loopback"}).policy
    path = world.folder / "activated.socket"
    world.client("a", {"host": str(path), "ssl": False})
    world.init()
    for number in range(2):
        command = ["systemd-socket-activate", "-l", path, *harness.AS_AGENT, world.lab.program("syncropy-agent"), "--policy", policy]
        program = world.keep(harness.Program(command, world.folder / f"activate{number}.log", world.environment, world.folder))
        harness.wait_until(path.exists, "it listens")
        harness.wait_until(lambda: "Listening on" in program.text(), "it listens")
        path.chmod(0o666)
        world.run()
        assert program.wait(10) == 0, program.text()
        path.unlink()
    assert len(world.datasets()) == 2
    world.check()


def test_a_socket_that_is_none(world):
    """What systemd hands over is looked at: a file or a connected socket instead of a listener."""
    one, other = socket.socketpair()
    for thing in (one, open("/dev/null", "rb")):
        with thing:
            command = [sys.executable, "-S", "-E", "-c", harness.LAUNCHER, str(thing.fileno()), *harness.AS_AGENT,
                       world.lab.program("syncropy-agent"), "--policy", world.agent().policy]
            done = subprocess.run(command, capture_output=True, text=True, env=world.environment, pass_fds=(thing.fileno(),), timeout=20)
            assert_one_line(harness.Ended(done.returncode, done.stdout, done.stderr, 0), done.returncode, program="syncropy-agent")
            assert done.returncode != 0
    other.close()
