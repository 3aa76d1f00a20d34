"""What a shell offers after `syncropy VERB`, asked of a real bash and a real zsh."""

import os
import re
import subprocess

import pytest

import harness
import trees
from harness import SOURCE_ROOT


COMPLETION = SOURCE_ROOT / "packaging/completion"
# What the shell would offer for the last word: the functions are the shipped ones, and only what shows their answer is ours.
BASH = (f'source {COMPLETION}/syncropy.bash; compopt() {{ :; }}; COMP_WORDS=(syncropy "$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _syncropy; '
        'printf "%s\\n" "${COMPREPLY[@]}"')
ZSH = (r'compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -rl -- ${(M)@:#${(b)${(Q)words[CURRENT]}}*}; }; '
       r'_describe() { compadd -- ${${(P)4}%%:*}; }; words=(syncropy "$@"); CURRENT=$#words; set --; ' + f'source {COMPLETION}/syncropy.zsh')


@pytest.fixture(scope="module")
def world(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        trees.write(world.source / "with blank", "x")
        trees.write(world.source / "with\nnewline", "x")
        for name in ("web1", "web2"):
            world.client(name, world.agent().where)
        world.init().run("hour")
        world.run("day")
        yield world


@pytest.fixture(params=["bash", "zsh"])
def asked(world, request):
    def ask(*words):
        """What the shell would offer for the last word."""
        path = f"{world.lab.folder}/bin:{world.environment['PATH']}"
        command = ["bash", "-c", BASH, "bash"] if request.param == "bash" else ["zsh", "-f", "-c", ZSH, "zsh"]
        done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, env={**world.environment, "PATH": path})
        assert done.returncode == 0 and done.stderr == "", done
        return [line for line in done.stdout.split("\n") if line]

    world.ask, world.shell = ask, request.param
    return world


def test_verbs_and_options(asked):
    """They are those of the program: no list that grows stale."""
    verbs = set(asked.ask(""))
    said = subprocess.run([asked.lab.folder / "bin/syncropy", "--help"], capture_output=True, text=True, env=asked.environment).stdout
    assert {"restore", "verify", "check-config"} <= set(re.findall(r"^  ([a-z-]+)  ", said.split("Subcommands:")[1], re.MULTILINE)) <= verbs
    assert asked.ask("resto") == ["restore"]
    assert asked.ask("restore", "--ex")[-1] == "--exclude" and asked.ask("restore", "--exis") == ["--existing=" if asked.shell == "bash" else "--existing"]
    assert asked.ask("verify", "--sam") == ["--sample"]
    assert asked.ask("ca", "re") == ["renew", "revoke"] and asked.ask("ca", "renew", "--f") == ["--force"]


def test_datasets(asked):
    config = ("-c", asked.configuration)
    assert asked.ask(*config, "restore", "") == ["web1", "web2"]
    assert asked.ask(*config, "restore", "w") == ["web1", "web2"]
    assert asked.ask(*config, "ls", "web2/") == ["web2/day/", "web2/hour/"]
    name = asked.newest("web2").name
    assert asked.ask(*config, "restore", "--dry-run", "web2/day/") == [f"web2/day/{name}"]
    assert asked.ask(*config, "ls", "nobody/") == []
    assert asked.ask(*config, "verify", "--sample", "5%", "web2/d") == ["web2/day/"]  # the value of an option is no dataset
    assert asked.ask(*config, "enroll", "w") == ["web1", "web2"]


def test_paths_in_a_dataset(asked):
    config, source = ("-c", asked.configuration), str(asked.source)
    assert asked.ask(*config, "cat", "web1", source + "/fold") == [f"{source}/folder{number}/" for number in range(4)]
    assert asked.ask(*config, "cat", "web1", source + "/to") == [source + "/top"]
    assert asked.ask(*config, "restore", "web1/hour", source + "/top", source + "/folder0/l") == [source + "/folder0/link"]
    # What has a blank bash is handed quoted, and zsh quotes itself.
    assert asked.ask(*config, "cat", "web1", source + "/with") == [source + ("/with\\ blank" if asked.shell == "bash" else "/with blank")]
    assert asked.ask(*config, "cat", "web1", "/no/such") == []


TYPED = r"""
zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell "PS1='' COLUMNS=300; unsetopt beep; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; print rea''dy"
zpty -r shell said "*ready*"
zpty -n -w shell "$2"$'\t'
zpty -r shell said "*$3*"
print -r -- "$said"
zpty -d shell
"""


def test_zsh_at_a_terminal(world, tmp_path):
    """The function under the name and in the folder that zsh finds it by, and a key that is pressed."""
    (tmp_path / "_syncropy").write_bytes((COMPLETION / "syncropy.zsh").read_bytes())
    path = f"{world.lab.folder}/bin:{world.environment['PATH']}"
    done = subprocess.run(["timeout", "30", "zsh", "-f", "-c", TYPED, "zsh", tmp_path, f"syncropy -c {world.configuration} ls web2/h", "web2/hour/"],
                          capture_output=True, text=True, env={**world.environment, "PATH": path, "TERM": "dumb"})
    assert "ls web2/hour/" in done.stdout, done


@pytest.mark.parametrize("program, option", [("syncropy-agent", "--sslcert"), ("syncropy-server", "--lock-wait")])
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_daemons(world, program, option, shell):
    completion = f"{os.environ['SYNCROPY_BUILD']}/packaging/{'_' if shell == 'zsh' else ''}{program}"
    if shell == "bash":
        script = f'source {completion}; COMP_WORDS=({program} --); COMP_CWORD=1; _{program.replace("-", "_")} {program}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    else:
        script = f'compadd() {{ shift; print -rl -- "$@"; }}; words=({program} --); CURRENT=2; source {completion}'
    path = f"{world.lab.folder}/bin:{world.environment['PATH']}"
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, env={**world.environment, "PATH": path})
    assert done.stderr == "" and {option, "--help", "--version"} <= set(done.stdout.split()), done
