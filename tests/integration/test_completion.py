"""What a shell offers after `syncropy VERB`, asked of a real bash."""

import subprocess

import pytest

import harness
import trees
from harness import SOURCE_ROOT


@pytest.fixture(scope="module")
def asked(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        trees.write(world.source / "with blank", "x")
        trees.write(world.source / "with\nnewline", "x")
        for name in ("web1", "web2"):
            world.client(name, world.agent().where)
        world.init().run("hour")
        world.run("day")

        def ask(*words):
            """What bash would offer for the last word."""
            script = (f'source {SOURCE_ROOT}/packaging/completion/syncropy.bash; compopt() {{ :; }}; COMP_WORDS=(syncropy "$@"); '
                      'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _syncropy; printf "%s\\n" "${COMPREPLY[@]}"')
            path = f"{world.lab.folder}/bin:{world.environment['PATH']}"
            done = subprocess.run(["bash", "-c", script, "bash", *map(str, words)], capture_output=True, text=True, env={**world.environment, "PATH": path})
            assert done.returncode == 0 and done.stderr == "", done
            return done.stdout.split("\n")[:-1]

        world.ask = ask
        yield world


def test_verbs_and_options(asked):
    assert "restore" in asked.ask("re") and "--existing=" in asked.ask("restore", "--ex")


def test_datasets(asked):
    config = ("-c", asked.configuration)
    assert asked.ask(*config, "restore", "") == ["web1", "web2"]
    assert asked.ask(*config, "restore", "w") == ["web1", "web2"]
    assert asked.ask(*config, "ls", "web2/") == ["web2/day/", "web2/hour/"]
    name = asked.newest("web2").name
    assert asked.ask(*config, "restore", "--dry-run", "web2/day/") == [f"web2/day/{name}"]
    assert asked.ask(*config, "ls", "nobody/") == [""]


def test_paths_in_a_dataset(asked):
    config, source = ("-c", asked.configuration), str(asked.source)
    assert asked.ask(*config, "cat", "web1", source + "/fold") == [f"{source}/folder{number}/" for number in range(4)]
    assert asked.ask(*config, "cat", "web1", source + "/to") == [source + "/top"]
    assert asked.ask(*config, "restore", "web1/hour", source + "/top", source + "/folder0/l") == [source + "/folder0/link"]
    assert asked.ask(*config, "cat", "web1", source + "/with") == [source + "/with\\ blank"]
    assert asked.ask(*config, "cat", "web1", "/no/such") == [""]
