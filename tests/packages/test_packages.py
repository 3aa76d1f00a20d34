"""The packages as files: clean for the checkers of both distributions, complete, hardened, and the same on both."""

import pathlib
import re
import subprocess

import pytest

import building
from building import SOURCE

NAMES = {"agent", "common", "restore", "server"}


def output(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def debian():
    return building.debian()


@pytest.fixture(scope="module")
def rpm():
    return building.rpm()


@pytest.fixture(scope="module")
def unpacked(debian, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    for package in debian[1].values():
        output("dpkg-deb", "-x", package, folder)
    return folder


def test_lintian(debian):
    # It reads machine code too, and finds words in it that it holds to be misspelt.
    said = subprocess.run(["lintian", "-EvIL", "+pedantic", "--suppress-tags", "spelling-error-in-binary", "--allow-root", *debian[0].glob("*.changes")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = [line for line in said.stdout.splitlines() if not line.startswith("N: ")]
    assert said.returncode == 0 and found == [], found
    assert set(debian[1]) == NAMES


def test_rpmlint(rpm):
    said = output("rpmlint", "--strict", "-c", SOURCE / "packaging/rpm/rpmlint.toml", SOURCE / "packaging/rpm/syncropy.spec", rpm[0] / "RPMS", rpm[0] / "SRPMS")
    assert " 0 errors, 0 warnings" in said and "5 packages" in said, said
    assert set(rpm[1]) == NAMES


def in_debian(package):
    """The files of a package, without what only Debian's have."""
    paths = [line.split(None, 5)[5].removeprefix(".") for line in output("dpkg-deb", "-c", package).splitlines()]
    return {path for path in paths if not path.endswith("/")}


def below(paths):
    """What of them both distributions have: each has its own folders of documents, licences and zsh functions, and its own build ids."""
    return {re.sub(r"^/lib/", "/usr/lib/", path).replace("/zsh/vendor-completions/", "/zsh/site-functions/") for path in paths
            if not re.match(r"/usr/share/(doc|licenses|lintian)/|/usr/lib/\.build-id", path)}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_both_distributions_get_the_same(debian, rpm, name):
    ours = below(in_debian(debian[1][name]))
    theirs = output("rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]", rpm[1][name]).splitlines()
    assert ours == below(line.split(" ", 1)[1] for line in theirs if line.startswith("-"))
    examples = {path.rsplit("/", 1)[1] for path in in_debian(debian[1][name]) if "/examples/" in path}
    assert examples == {line.rsplit("/", 1)[1] for line in theirs if "/examples/" in line}


def test_no_file_is_in_two_packages(debian):
    seen = {}
    for name, package in debian[1].items():
        for path in in_debian(package):
            assert seen.setdefault(path, name) == name, path
            assert not path.startswith("/etc/"), "dpkg would ask about it on every upgrade"


def test_hardened(unpacked):
    programs = [*(unpacked / "usr/sbin").iterdir(), *(unpacked / "usr/bin").iterdir()]
    assert len(programs) >= 3
    for program in programs:
        table = output("readelf", "--wide", "--file-header", "--program-headers", "--dynamic", "--dyn-syms", program)
        assert re.search(r"Type: +DYN", table) and re.search(r"FLAGS_1\) .*PIE", table) and "BIND_NOW" in table and "GNU_RELRO" in table, program
        assert re.search(r"GNU_STACK .* RW ", table) and "__stack_chk_fail" in table and "_chk@" in table, program
        assert program.stat().st_mode & 0o7777 == 0o755


def test_whatis_knows_each_page(unpacked):
    pages = sorted((unpacked / "usr/share/man").rglob("*.gz"))
    assert len(pages) >= 7
    for page in pages:
        assert re.match(rf'{page}: "{page.name.rsplit(".", 2)[0]} - \w', output("lexgrog", page)), page


@pytest.mark.parametrize("distribution", ["debian", "rpm"])
def test_scripts_are_shell(debian, rpm, tmp_path, distribution):
    """What debhelper and the macros made of them, too."""
    count = 0
    for name in NAMES:
        if distribution == "debian":
            output("dpkg-deb", "-e", debian[1][name], tmp_path / name)
            scripts = [path.read_text() for path in (tmp_path / name).iterdir() if path.name in ("preinst", "postinst", "prerm", "postrm")]
        else:
            scripts = [text for tag in ("PREIN", "POSTIN", "PREUN", "POSTUN") if (text := output("rpm", "-qp", "--qf", f"%|{tag}?{{%{{{tag}}}}}|", rpm[1][name]))]
        for script in scripts:
            assert "#DEBHELPER#" not in script and not re.search(r"(^|[^%])%\{?\w", script), script
            # SC2046, SC2086, SC3043: debhelper's and Fedora's own style.
            output("shellcheck", "--shell=dash", "--exclude=SC2046,SC2086", "-", input=script)
            count += 1
    assert count >= 6


def test_a_source_archive_makes_itself(tmp_path):
    """Who has no clone but the archive builds the same."""
    first = building.archive(SOURCE, tmp_path)
    output("tar", "-C", tmp_path, "-xf", first)
    again = tmp_path / "again"
    again.mkdir()
    assert building.archive(pathlib.Path(str(first).removesuffix(".tar.xz")), again).read_bytes() == first.read_bytes()
