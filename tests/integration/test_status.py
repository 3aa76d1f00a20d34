"""`syncropy status`: what a person sees of good, failing, overdue and expiring backups, and what the exit status says of it."""

import json
import os
import re
import socket
import time

import pytest

import harness
import pki
import trees
from harness import AGENT, SERVER


@pytest.fixture
def backed_up(world):
    trees.small(world.source)
    world.agent_of_a = world.agent()
    world.client("a", world.agent_of_a.where)
    world.init().run()
    return world


def status(world, expected=0):
    """Of the configuration and of its clients by name, after a look at the table too: both say the same is wrong."""
    objects = [json.loads(line) for line in world.syncropy("status", "--json", status=expected).out.splitlines()]
    table = world.syncropy("status", status=expected).out
    wrong = [line for entry in objects for line in entry["attention"]]
    assert [line for line in table.splitlines() if line.startswith("! ")] == [f"! {entry['client']}: {line}" if "client" in entry else f"! {line}" for entry in objects for line in entry["attention"]]
    assert bool(wrong) == bool(expected)
    clients = {entry["client"]: entry for entry in objects if "client" in entry}
    return objects[0], clients, table


def test_good(backed_up):
    backed_up.run("day")
    general, clients, table = status(backed_up)
    a = clients["a"]
    assert general["bytes_total"] >= general["bytes_free"] > 0 and general["config"] == "config" and general["repository"] == str(backed_up.repository)
    assert a["tiers"]["hour"]["name"] == backed_up.datasets()[0].name and a["tiers"]["day"]["sequence"] == 2 and a["tiers"]["week"] is None and a["tiers"]["month"] is None
    assert a["tiers"]["day"]["complete"] and 0 <= a["tiers"]["hour"]["age_seconds"] < 60 and a["last_failure"] is None
    end = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 60 * pki.DAY))
    assert a["certificate_expires"].startswith(end) and general["certificate_expires"].startswith(end)
    rows = table.splitlines()
    assert rows[1].split() == ["CLIENT", "HOUR", "DAY", "WEEK", "MONTH", "CERTIFICATE", "LAST", "FAILURE"] and len(rows) == 3
    assert rows[2].split()[0] == "a" and re.search(" (59|60) d", rows[2]) and len(max(rows[1:], key=len)) < 80
    assert backed_up.syncropy("status", user=()).out.splitlines()[1:] == rows[1:], "root sees the same"


def test_a_failure_shows_until_a_run_is_good_again(backed_up):
    deaf = backed_up.keep(socket.socket())  # bound, and nobody listens
    deaf.bind(("127.0.0.1", 0))
    backed_up.client("a", {**backed_up.agent_of_a.where, "port": deaf.getsockname()[1]})
    backed_up.run(status=69)
    _, clients, table = status(backed_up, 1)
    a = clients["a"]
    assert a["last_failure"]["status"] == 69 and a["last_failure"]["tier"] == "hour" and a["tiers"]["hour"]["complete"]
    assert "ended with status 69" in a["attention"][0] and "syncropy-agent.socket" in a["attention"][0]
    assert "ago, status 69" in table
    backed_up.client("a", backed_up.agent().where)
    backed_up.run()
    _, clients, table = status(backed_up)
    assert clients["a"]["last_failure"]["status"] == 69 and "ago, status 69" in table, "it is remembered"


def test_a_command_that_failed(backed_up):
    backed_up.client("a", backed_up.agent_of_a.where, pre_command="no-such-hook")
    backed_up.run(status=5)
    _, clients, _ = status(backed_up, 1)
    assert clients["a"]["last_failure"]["status"] == 5 and "pre-command 'no-such-hook'" in clients["a"]["last_failure"]["why"]


def test_partial_and_never(backed_up):
    unread = backed_up.source / "unread"
    unread.write_text("x")
    unread.chmod(0)
    backed_up.client("b", backed_up.agent(caps=False).where)
    backed_up.client("c", backed_up.agent_of_a.where)
    backed_up.run("hour", "--client", "b", status=3)
    _, clients, table = status(backed_up, 1)
    assert clients["b"]["attention"] == ["its newest dataset is partial: 1 files could not be read"] and not clients["b"]["tiers"]["hour"]["complete"]
    assert ", partial" in table and clients["a"]["attention"] == [] and clients["c"]["attention"] == ["it was never backed up"]


def test_certificates_that_expire(backed_up):
    ca = backed_up.lab.pki.ca
    agent = ca.sign("agent-28-days", AGENT, pki.AGENT_NAMES, end=28.5 * pki.DAY)
    server = ca.sign("server-9-days", SERVER, pki.SERVER_NAMES, end=9.5 * pki.DAY)
    running = backed_up.agent(policy={"sslcert": str(agent.certificate), "sslkey": str(agent.key)})
    backed_up.client("a", {**running.where, "sslcert": str(server.certificate), "sslkey": str(server.key)})
    done = backed_up.run()
    assert len([line for line in done.lines if "certificate expires on" in line]) == 1
    general, clients, table = status(backed_up, 1)
    assert "this server's certificate expires on" in general["attention"][0] and re.search(r", in 9 d:", general["attention"][0])
    assert len(clients["a"]["attention"]) == 1 and "its certificate expires on" in clients["a"]["attention"][0] and re.search(", in 28 d$", clients["a"]["attention"][0])
    assert re.search(" 28 d !", table)
    # What was seen last counts, and not that a run was good then.
    notes = backed_up.repository / "a/.notes"
    notes.write_text(re.sub(r"^connected (\d+) \d+", rf"connected \1 {int(time.time()) - 100}", notes.read_text()))
    _, clients, table = status(backed_up, 1)
    assert "its certificate expired on" in clients["a"]["attention"][0] and " expired " in table


@pytest.mark.parametrize("text", ["", "nonsense\n", "failed x\n", "failed 1 hour 69", "connected 99999999999999999999 1\n", "ended 5\nfailed 7 never 3 x\n", "\0" * 100, "x" * 10_000])
def test_notes_that_are_not_ours(backed_up, text):
    notes = backed_up.repository / "a/.notes"
    notes.write_text(text)
    os.chown(notes, SERVER, SERVER)
    _, clients, _ = status(backed_up)
    assert clients["a"]["tiers"]["hour"]["complete"] and clients["a"]["certificate_expires"] is None
    backed_up.run()
    assert status(backed_up)[1]["a"]["certificate_expires"] is not None


def test_several_configurations(backed_up):
    folder = backed_up.folder / "configurations"
    folder.mkdir()
    (folder / "one.yaml").write_text(backed_up.configuration.read_text())
    settings = json.loads(backed_up.configuration.read_text())
    settings["general"]["repository"] = str(backed_up.folder / "nowhere")
    (folder / "two.yaml").write_text(json.dumps(settings))
    (folder / "agent.yaml").write_text("read: [/]")
    here = {"environment": {"SYNCROPY_CONFIG_FOLDER": str(folder)}}
    done = backed_up.execute("syncropy", "status", **here)
    assert done.status == 73 and len(done.lines) == 1 and "nowhere" in done.err, done
    assert done.out.splitlines()[0].startswith("one: ") and done.out.splitlines()[2].split()[0] == "a"
    root = backed_up.execute("syncropy", "status", user=(), **here)
    assert root.status == 73 and root.out.splitlines()[1:] == done.out.splitlines()[1:]
    assert backed_up.execute("syncropy", "-c", "one", "status", **here).status == 0
