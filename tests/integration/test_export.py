"""A tar of a dataset: what GNU tar and bsdtar make of it is what was backed up."""

import dataclasses
import hashlib
import os
import pathlib
import pty
import shutil
import stat
import subprocess

import pytest

import alphabet
import harness
import trees
from harness import assert_one_line

GNU_TAR = ["tar", "--acls", "--xattrs", "--xattrs-include=*", "-xpf", "-"]
BSDTAR = ["bsdtar", "--acls", "--xattrs", "-xpf", "-"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
LOCALES = ["C.UTF-8", "C"]


def shape(found):
    """All that lstat, the attributes (with ACLs and capabilities), a digest and the hard links say."""
    leaders = {}
    for path in sorted(found):
        leaders.setdefault(found[path].inode, path)
    seen = {}
    for path, node in found.items():
        if node.kind == stat.S_IFSOCK:
            continue
        size = node.size if node.kind in (stat.S_IFREG, stat.S_IFLNK) else 0
        is_sparse = node.kind == stat.S_IFREG and node.blocks * 512 < node.size
        seen[path] = dataclasses.replace(node, inode=leaders[node.inode], size=size, links=0 if node.kind == stat.S_IFDIR else node.links, blocks=is_sparse)
    return seen


def without_fraction_before_1970(seen):
    """libarchive reads -1.25 as -0.75: it takes the fraction for one that counts upwards, whatever the sign."""
    return {path: dataclasses.replace(node, mtime=node.mtime // 10**9 if node.mtime > 0 else 0) if node.mtime < 0 else node for path, node in seen.items()}


def assert_same(before, folder, extractor=GNU_TAR):
    left, right = shape(before), shape(trees.scan(folder))
    if extractor is BSDTAR:
        left, right = without_fraction_before_1970(left), without_fraction_before_1970(right)
    paths = sorted(path for path in left.keys() | right.keys() if left.get(path) != right.get(path))
    assert not paths, "\n".join(f"{path}:\n  was {left.get(path)}\n  is  {right.get(path)}" for path in paths[:10])


def said(folder, *command):
    """What a program that looks at attributes says of a whole tree."""
    done = subprocess.run([*command, "."], cwd=folder, capture_output=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    return sorted(block for block in done.stdout.split(b"\n\n" if command[0] != "getcap" else b"\n") if b"special/socket" not in block)


def command(world, *arguments):
    return [*map(str, (*harness.AS_SERVER, world.lab.program("syncropy"), "-c", world.configuration, "export", *arguments))]


def export(world, *arguments, status=0):
    """The tar in a file, and what was said."""
    archive = world.folder / f"export{world.counted()}.tar"
    with open(archive, "wb") as file:
        done = subprocess.run(command(world, *arguments), stdout=file, stderr=subprocess.PIPE, env=world.environment, cwd=world.folder)
    assert done.returncode == status, done
    return archive, done.stderr.decode().splitlines()


def extract(archive, folder, extractor=GNU_TAR, user=(), locale="C.UTF-8", quiet=False):
    folder.mkdir()
    if user:
        os.chown(folder, 65534, 65534)
    with open(archive, "rb") as file:
        done = subprocess.run([*user, *extractor], stdin=file, cwd=folder, capture_output=True, env={"PATH": os.environ["PATH"], "LC_ALL": locale})
    assert done.returncode == 0, done
    wrong = [line for line in done.stderr.decode(errors="replace").splitlines() if "implausibly old" not in line and "in the future" not in line]
    assert quiet or not wrong, done
    return folder


def under(folder, world):
    return pathlib.Path(str(folder) + str(world.source))


def names(archive):
    return subprocess.run(["tar", "--quoting-style=literal", "-tf", archive], capture_output=True, check=True).stdout.decode(errors="replace").splitlines()


def more_features(source):
    """What only an archive could lose."""
    trees.write(source / "attributes/acl-folder/plain-below", "inherits nothing", 0o640)
    (source / "attributes/acl-folder/folder-below").mkdir()
    many = source / "attributes/odd-names"
    trees.write(many, "x")
    for name in ("user.a=b", "user.100%", "user.%3Dx", "user.new\nline"):
        os.setxattr(many, name, b"value of\n" + name.encode())
    os.setxattr(many, "user.large", trees.filler(1_500, 3))
    os.link(source / "special/fifo", source / "special/second-fifo")
    os.link(source / "links/relative", source / "links/relative-again", follow_symlinks=False)
    deep = os.fsencode(source) + b"/" + b"/".join([trees.LATIN1 * 30] * 3)
    os.makedirs(deep)
    with open(deep + b"/" + trees.LONGEST, "wb") as file:
        file.write(b"a long way\n")
    os.link(deep + b"/" + trees.LONGEST, deep + b"/linked")
    os.symlink(b"\xe9" * 150, deep + b"/to")
    with open(deep + b"/" + b"\xfe" * 200, "wb") as file:
        file.truncate(2 << 20)
        file.seek(1 << 20)
        file.write(b"in a hole")
    for length in range(94, 106):
        trees.write(source / "lengths" / ("l" * length), str(length))
        trees.write(source / "lengths" / "p" / ("l" * (length + 60)) / ("m" * 90), str(length))
    big = source / "ids"
    trees.write(big, "x")
    os.chown(big, 4_000_000_000, 3_000_000)
    with open(source / "data-at-both-ends", "wb") as file:
        file.write(b"start")
        file.seek(8 << 20)
        file.write(b"end")
    for name, when in (("whole-before-1970", -5 * 10**9), ("before-1900", -2_500_000_000 * 10**9)):
        trees.write(source / "times" / name, name)
        os.utime(source / "times" / name, ns=(when, when))


@pytest.fixture(scope="module")
def featured(lab):
    with harness.World(lab) as world:
        trees.features(world.source)
        more_features(world.source)
        world.client("a", world.agent().where)
        world.before = world.snapshot()
        world.init().run()
        world.archive, world.said = export(world, "a")
        yield world


@pytest.fixture
def place(featured):
    folder = featured.folder / f"place{featured.counted()}"
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def little(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        world.client("a", world.agent().where)
        world.init().run()
        yield world


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("extractor", [GNU_TAR, BSDTAR], ids=["GNU", "bsdtar"])
def test_everything_comes_back(featured, place, extractor, locale):
    extract(featured.archive, place, extractor, locale=locale)
    before = dict(featured.before)
    if extractor is BSDTAR:  # it does not know how GNU tar writes an attribute's name with '=' in it
        path = b"attributes/odd-names"
        xattrs = {{"user.a=b": "user.a%3Db", "user.%3Dx": "user.%253Dx"}.get(name, name): value for name, value in before[path].xattrs.items()}
        before[path] = dataclasses.replace(before[path], xattrs=xattrs)
    assert_same(before, under(place, featured), extractor)


@pytest.mark.parametrize("extractor", [GNU_TAR, BSDTAR], ids=["GNU", "bsdtar"])
def test_programs_that_show_attributes_agree(featured, place, extractor):
    extract(featured.archive, place, extractor)
    for program in (("getfacl", "-R", "-P", "-n"), ("getcap", "-r"), ("getfattr", "-R", "-P", "-h", "-d", "-m-", "-e", "hex")):
        left, right = said(featured.source, *program), said(under(place, featured), *program)
        assert len(left) > (0 if program[0] == "getcap" else 1)
        odd = [block for block in left if b"odd-names" in block] if extractor is BSDTAR else []
        assert [block for block in left if block not in odd] == [block for block in right if block not in odd and not (odd and b"odd-names" in block)]


def test_sockets_are_named(featured):
    first, last = featured.said
    assert "special/socket: a socket" in first and "1 socket" in last


def test_no_member_has_a_leading_slash(featured):
    listed = names(featured.archive)
    assert listed[0] == "./" and not any(name.startswith("/") for name in listed)


def test_five_gigabytes_of_hole(world):
    with open(world.source / "sparse", "wb") as file:
        file.truncate(5 << 30)
        file.seek(3 << 30)
        file.write(b"here")
    world.client("a", world.agent().where)
    world.init().run()
    archive, _ = export(world, "a")
    assert archive.stat().st_size < 100_000
    for number, extractor in enumerate((GNU_TAR, BSDTAR)):
        file = under(extract(archive, world.folder / f"place{number}", extractor), world) / "sparse"
        assert file.stat().st_size == 5 << 30 and file.stat().st_blocks * 512 < 1 << 20
        with open(file, "rb") as data:
            start = os.lseek(data.fileno(), 0, os.SEEK_DATA)
            assert 0 < start <= 3 << 30 and os.pread(data.fileno(), 8192, start).rstrip(b"\0").lstrip(b"\0") == b"here"
            assert os.pread(data.fileno(), 4, 3 << 30) == b"here"


def test_an_ordinary_user_extracts(featured, place):
    """What that user may do, it can; nothing in the tar stops it."""
    archive, _ = export(featured, "a", featured.source / "plain", featured.source / "names", featured.source / "links", featured.source / "sparse")
    place.parent.chmod(0o755)
    extract(archive, place, ["tar", "-xf", "-"], user=NOBODY)
    for path, node in trees.scan(under(place, featured)).items():
        was = featured.before[path]
        assert (node.kind, node.target, node.digest) == (was.kind, was.target, was.digest)


def test_python_reads_it(featured):
    """A third reader, which knows no attributes but all names, types and sizes."""
    import tarfile
    with tarfile.open(featured.archive, encoding="utf-8", errors="surrogateescape") as tar:
        members = {os.fsencode(member.name).rstrip(b"/"): member for member in tar.getmembers()}
    inside = os.fsencode(str(featured.source))[1:]
    for path, node in featured.before.items():
        if node.kind != stat.S_IFSOCK:
            member = members[inside + b"/" + path if path else inside]
            assert member.size == node.size or node.kind != stat.S_IFREG or node.links > 1


# --- What is chosen

def test_paths(little, lab):
    source = str(little.source)[1:]
    archive, _ = export(little, "a", f"/{source}/folder1", f"{source}/folder0/sub0/", f"/{source}/folder0/link")
    listed = names(archive)
    above = [str(parent) + "/" for parent in reversed(pathlib.PurePath(source).parents) if str(parent) != "."]
    assert listed[:len(above) + 2] == [*above, f"{source}/", f"{source}/folder0/"]
    assert f"{source}/folder0/link" in listed and f"{source}/top" not in listed and f"{source}/folder0/sub1/" not in listed
    assert len(listed) == len(set(listed))
    place = extract(archive, little.folder / "place")
    before = {path: node for path, node in little.snapshot().items()
              if path in (b"", b"folder0", b"folder0/link", b"folder1", b"folder0/sub0") or path.startswith((b"folder1/", b"folder0/sub0/"))}
    for path, node in before.items():
        if node.links > 1:
            before[path] = dataclasses.replace(node, links=1)  # its other name was not chosen
    after = trees.scan(under(place, little))
    assert shape(after) == {path: dataclasses.replace(node, links=0 if node.kind == stat.S_IFDIR else 1) for path, node in shape(before).items()}


def test_patterns(little):
    source = str(little.source)[1:]
    archive, _ = export(little, "a", "--include", "file00*", "--include", "top", "--exclude", "sub1")
    listed = names(archive)
    assert f"{source}/top" in listed and f"{source}/folder0/sub0/file000" in listed
    assert not any("/sub1" in name or "file01" in name for name in listed) and "./" not in listed
    archive, _ = export(little, "a", "--include", "matches nothing")
    assert names(archive) == []


def test_from_a_folder_alone(little):
    alone = little.folder / "alone"
    shutil.copytree(little.newest().folder, alone, symlinks=True)
    words = [str(little.lab.program("syncropy")), "export", "--from", str(alone), str(little.source)]
    archive = little.folder / "alone.tar"
    with open(archive, "wb") as file:
        done = subprocess.run(words, stdout=file, stderr=subprocess.PIPE, env={"PATH": os.environ["PATH"], "SYNCROPY_CONFIG_FOLDER": "/nonexistent"}, cwd="/")
    assert done.returncode == 0 and not done.stderr, done
    assert_same(little.snapshot(), under(extract(archive, little.folder / "place"), little))


def test_numeric(featured, place):
    archive, _ = export(featured, "--numeric", "a", featured.source / "owners", featured.source / "attributes")
    listed = subprocess.run(["tar", "-tvf", archive], capture_output=True, text=True, errors="replace", check=True).stdout
    assert b"\0nobody" not in archive.read_bytes() and b"user:nobody" not in archive.read_bytes() and listed
    extract(archive, place, [*GNU_TAR, "--numeric-owner"])
    for path in (b"owners/nobody", b"attributes/acl", b"attributes/acl-folder"):
        was, now = featured.before[path], trees.scan(under(place, featured))[path]
        assert (was.uid, was.gid, was.xattrs) == (now.uid, now.gid, now.xattrs)


# --- Damage

def stored_file(world, path):
    return pathlib.Path(str(world.newest().tree) + str(world.source)) / path


def spoil(file):
    kept = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)
    file.chmod(0o400)
    os.utime(file, ns=(kept.st_mtime_ns, kept.st_mtime_ns))


def test_damaged_files_are_named_and_the_rest_is_exported(little):
    for name in ("large", "large-2", "missing", "short", "corrupt"):
        trees.write(little.source / name, trees.filler((3 << 20) + 7 if "large" in name else 5_000, len(name)))
    os.link(little.source / "large", little.source / "large-linked")
    little.run()
    before = little.snapshot()
    stored_file(little, "missing").unlink()
    os.truncate(stored_file(little, "short"), 4_999)
    spoil(stored_file(little, "corrupt"))
    spoil(stored_file(little, "large"))
    archive, said_lines = export(little, "a", status=65)
    for name, word in (("missing", "missing"), ("short", "size"), ("corrupt", "not what was backed up"), ("large", "in the stream"), ("large-linked", "another name")):
        line, = (line for line in said_lines if f"{little.source}/{name}:" in line)
        assert word in line
    assert "5 damaged" in said_lines[-1]
    place = under(extract(archive, little.folder / "place"), little)
    for name in ("missing", "short", "corrupt"):
        assert not (place / name).exists()
        del before[name.encode()]
    assert (place / "large").stat().st_size == (3 << 20) + 7
    for name in (b"large", b"large-linked"):
        before[name] = dataclasses.replace(before[name], digest=hashlib.sha256((place / "large").read_bytes()).digest())
    assert_same(before, place)


def test_a_leader_that_is_left_out(little):
    """The next name of its inode is the member then."""
    for name in ("first", "second", "third"):
        if name == "first":
            trees.write(little.source / name, "one content")
        else:
            os.link(little.source / "first", little.source / name)
    little.run()
    stored_file(little, "first").unlink()
    archive, _ = export(little, "a", status=65)
    place = under(extract(archive, little.folder / "place"), little)
    assert not (place / "first").exists() and (place / "second").read_text() == "one content"
    assert (place / "second").stat().st_ino == (place / "third").stat().st_ino


def test_what_was_not_read(lab):
    with harness.World(lab) as world:
        trees.write(world.source / "readable", "x")
        trees.write(world.source / "forbidden", "secret", 0o600)
        trees.write(world.source / "closed/in", "x")
        (world.source / "closed").chmod(0o700)
        world.client("a", world.agent(caps=False).where)
        world.init().run(status=3)
        archive, said_lines = export(world, "a", world.source, status=3)
        assert any(f"{world.source}/forbidden: left out" in line for line in said_lines)
        assert any(f"{world.source}/closed: not all" in line for line in said_lines)
        place = under(extract(archive, world.folder / "place"), world)
        assert (place / "readable").read_text() == "x" and not (place / "forbidden").exists() and not list((place / "closed").iterdir())


def test_a_damaged_manifest(little):
    spoil(next((little.newest().folder / "manifest").glob("*.zst")))
    done = subprocess.run(command(little, "a"), capture_output=True, env=little.environment)
    assert_one_line(harness.Ended(done.returncode, "", done.stderr.decode(), 0), 65, "manifest", program="syncropy")


# --- Where it goes

def test_the_reader_ends_early(little):
    trees.write(little.source / "large", trees.filler(3 << 20))
    little.run()
    with subprocess.Popen(command(little, "a"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=little.environment) as sent:
        sent.stdout.read(1_000)
        sent.stdout.close()
        words = sent.stderr.read().decode()
    assert_one_line(harness.Ended(sent.returncode, "", words, 0), 74, "standard output was closed", program="syncropy")


def test_a_full_disk(little):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(little, "a"), stdout=full, stderr=subprocess.PIPE, env=little.environment)
    assert_one_line(harness.Ended(done.returncode, "", done.stderr.decode(), 0), 74, "standard output", program="syncropy")


def test_not_to_a_terminal(little):
    ours, theirs = pty.openpty()
    done = subprocess.run(command(little, "a"), stdout=theirs, stderr=subprocess.PIPE, env=little.environment)
    os.close(ours)
    os.close(theirs)
    assert_one_line(harness.Ended(done.returncode, "", done.stderr.decode(), 0), 2, "terminal", "tar -xpf", program="syncropy")


@pytest.mark.parametrize("arguments, status, words", [
    ((), 2, ["dataset"]), (("nobody",), 66, []), (("a", "/no/such"), 66, ["nearest"]), (("a", "../x"), 2, ["cannot be a path"]),
    (("--from", "/etc"), 66, ["tree"]), (("--include", "/", "a"), 78, ["pattern"])])
def test_wrong_command_lines(little, arguments, status, words):
    done = little.execute("syncropy", "-c", little.configuration, "export", *arguments)
    assert_one_line(done, status, *words, program="syncropy")
    assert not done.out
