"""Everything a Linux filesystem holds is captured, and shown as it was."""

import os
import pathlib
import stat
import subprocess

import pytest

import alphabet
import harness
import stored
import trees


@pytest.fixture(scope="module")
def backed_up(lab):
    with harness.World(lab) as world:
        trees.features(world.source / "all")
        world.client("a", world.agent().where)
        world.init()
        world.before = world.snapshot()
        world.run("hour")
        yield world


def test_tree_is_the_source(backed_up):
    stored.check_is(backed_up.newest(), backed_up.source, backed_up.before)


def test_diff_finds_only_what_a_tree_never_holds(backed_up):
    command = ["diff", "-r", "--no-dereference", backed_up.source, backed_up.newest().under(backed_up.source)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    special = backed_up.source / "all/special"
    assert sorted(done.stdout.splitlines()) == sorted(f"Only in {special}: {name}" for name in os.listdir(special)), done


def test_nothing_is_missed_in_manifest_and_catalog(backed_up):
    backed_up.check()


def test_the_tree_belongs_to_the_server_alone(backed_up):
    for path, node in trees.scan(backed_up.newest().tree).items():
        assert (node.uid, node.gid) == (harness.SERVER, harness.SERVER), path
        if node.kind != stat.S_IFLNK:
            assert node.mode == (0o700 if node.kind == stat.S_IFDIR else 0o400), path


def test_an_ordinary_user_reads_what_is_forbidden_to_it(backed_up):
    entry = backed_up.newest().entries()[os.fsencode(str(backed_up.source / "all/secret/unreadable")[1:])]
    assert entry.stat.mode == 0 and entry.flags & alphabet.UNREAD == 0
    assert (backed_up.newest().under(backed_up.source) / "all/secret/unreadable").read_text() == "mode 000\n"
    status = pathlib.Path(f"/proc/{backed_up.made[-1].pid}/status").read_text()
    assert f"CapEff:\t{1 << 2:016x}" in status and f"CapBnd:\t{1 << 2:016x}" in status and f"Uid:\t{harness.AGENT}" in status


def test_holes_stay_holes(backed_up):
    tree = backed_up.newest().under(backed_up.source) / "all"
    assert (tree / "sparse").stat().st_blocks * 512 <= 1 << 20
    assert (tree / "one-hole").stat().st_blocks == 0
    assert (tree / "sparse").stat().st_size == 64 << 20
    entry = backed_up.newest().entries()[os.fsencode(str(backed_up.source / "all/sparse")[1:])]
    assert entry.details.sparse and [offset for offset, _ in entry.details.extents] == [1 << 20, 40 << 20]


def test_hard_links_stay_hard_links(backed_up):
    tree = backed_up.newest().under(backed_up.source) / "all"
    inodes = {(tree / name).stat().st_ino for name in ("links/first", "links/second", "third-of-first")}
    assert len(inodes) == 1


def one(world, columns, path, view="files"):
    row, = world.sql(f"SELECT {columns} FROM {view} WHERE client = 'a' AND path = '{world.source}/all/{path}'")
    return row


def test_catalog_shows_owner_mode_and_times(backed_up):
    assert one(backed_up, "mode_octal || ' ' || owner_name || ' ' || owner_number", "modes/setuid") == "4755 root 0"
    assert one(backed_up, "mode_octal || ' ' || type_letter", "modes/sticky") == "1777 d"
    assert one(backed_up, "owner_name || ' ' || group_name", "owners/nobody") == "nobody nogroup"
    assert one(backed_up, "owner_number || ' ' || group_number || ' <' || owner_name || '>'", "owners/number") == "123456 654321 <>"
    assert one(backed_up, "mode_octal", "secret/unreadable") == "0000"
    assert one(backed_up, "mtime || ' ' || mtime_ns", "times/nanoseconds") == "2009-02-13 23:31:30.1230 123456789"
    assert one(backed_up, "mtime || ' ' || mtime_ns", "times/before-1970").startswith("1969-12-31 00:00:00")
    assert one(backed_up, "mtime", "times/far").startswith("2096-10-02")
    assert one(backed_up, "link_target", "links/dangling") == "nowhere at all"
    assert one(backed_up, "CHAR_LENGTH(link_target)", "links/long-target") == "4000"
    assert one(backed_up, "sparse", "sparse") == "1"


def test_catalog_shows_acls_attributes_and_capabilities(backed_up):
    where = f"FROM acls WHERE client = 'a' AND path = '{backed_up.source}/all/attributes"
    columns = "acl_kind || ': ' || tag || ' ' || COALESCE(account_name, '-') || ' ' || COALESCE(account_number, '-') || ' ' || permissions"
    assert sorted(backed_up.sql(f"SELECT {columns} {where}/acl'")) == sorted([
        "access: owner - - rw-", "access: user nobody 65534 r--", "access: user  123456 rw-", "access: owning group - - r--", "access: group nogroup 65534 r--",
        "access: mask - - rw-", "access: other - - ---"])
    defaults = [row for row in backed_up.sql(f"SELECT {columns} {where}/acl-folder'") if row.startswith("default")]
    assert "default: user nobody 65534 r-x" in defaults and "default: other - - ---" in defaults and len(defaults) == 5
    names = backed_up.sql(f"SELECT name FROM xattrs WHERE client = 'a' AND path = '{backed_up.source}/all/attributes/xattrs'")
    assert sorted(names) == ["security.label-of-test", "user.bytes", "user.comment", "user.empty"]
    value = backed_up.sql(f"SELECT value_text FROM xattrs WHERE client = 'a' AND path = '{backed_up.source}/all/attributes/xattrs' AND name = 'user.comment'")
    assert value == ["what people write"]
    assert one(backed_up, "capabilities", "attributes/ping") == "cap_net_raw=ep"


def test_devices_fifos_and_sockets_are_entries(backed_up):
    assert one(backed_up, "type_letter || mode_octal", "special/fifo") == "p0622"
    assert one(backed_up, "type_letter || mode_octal", "special/socket") == "s0751"
    if (backed_up.source / "all/special/block").exists():
        assert one(backed_up, "type_letter || ' ' || device_major || ':' || device_minor || ' ' || group_name", "special/block") == "b 7:199 disk"
        assert one(backed_up, "type_letter || ' ' || device_major || ':' || device_minor", "special/character") == "c 1:3"


def test_device_nodes_of_this_machine(world):
    """Where no device node can be made (in a container), those of /dev are there."""
    world.client("a", world.agent().where, path="/dev/null, /dev/zero")
    world.init().run("hour")
    rows = world.sql("SELECT path || ' ' || type_letter || ' ' || device_major || ':' || device_minor || ' ' || mode_octal FROM files "
                     "WHERE type_letter = 'c' ORDER BY 1")
    assert rows == ["/dev/null c 1:3 0666", "/dev/zero c 1:5 0666"]


def test_ls_shows_it_as_ls_does(backed_up):
    def listed(path, *options):
        return backed_up.syncropy("ls", *options, "a", f"{backed_up.source}/all{path}").out.splitlines()

    folder = backed_up.source / "all"
    line, = listed("/modes/setuid")
    assert line.split()[:5] == ["-rwsr-xr-x", "1", "root", "root", "1"] and line.endswith(f"{folder}/modes/setuid")
    line, = listed("/attributes/acl")
    assert line.startswith("-rw-rw----+")
    line, = listed("/attributes/ping")
    assert line.startswith("-rwxr-xr-x@")
    line, = listed("/links/dangling")
    assert line.startswith("lrwxrwxrwx") and line.endswith("/links/dangling -> nowhere at all")
    line, = listed("/owners/number")
    assert line.split()[2:4] == ["123456", "654321"]
    assert [line.split()[0] for line in listed("/special/fifo")] == ["prw--w--w-"]
    # Names cannot move a terminal's cursor or begin a line of their own.
    names = listed("/names")
    assert len(names) == 1 + 10 and not any("\x1b" in line for line in names)
    assert any(line.endswith(r"/names/two\nlines") for line in names) and any(line.endswith(r"/names/red \x1b[31m alarm") for line in names)
    assert any(line.endswith(r"/names/caf\xe9") for line in names) and any(line.endswith("/names/" + "n" * 255) for line in names)
    everything = listed("", "-R")
    below = [path for path in backed_up.newest().entries() if path.startswith(os.fsencode(str(folder)[1:]))]
    assert len(everything) == len(below)


def test_folders_200_deep_with_names_of_255_bytes(world):
    trees.chain(world.source / "chain", 200, b"D" * 255)
    world.client("a", world.agent().where)
    world.init()
    before = world.snapshot()
    assert max(map(len, before)) > 51_000
    world.run("hour")
    stored.check_is(world.newest(), world.source, before)
    world.run("day")
    assert world.newest().new_files == 0
    stored.check_is(world.newest(), world.source, before)
    entries = stored.check_whole(world.newest(), harness.SERVER)
    rows = world.sql("SELECT OCTET_LENGTH(long_path) FROM files WHERE client = 'a' AND sequence_number = 2 AND long_path IS NOT NULL ORDER BY 1 DESC")
    assert int(rows[0]) == 1 + max(map(len, entries))
    assert world.sql("SELECT COUNT(*) FROM files WHERE client = 'a' AND sequence_number = 2") == [str(len(entries))]
    assert len(world.syncropy("ls", "-R", "a").out.splitlines()) == len(entries)


def test_without_acls_when_the_config_says_so(world):
    trees.attributes(world.source / "attributes")
    world.client("a", world.agent().where, acl=False)
    world.init().run("hour")
    entries = world.newest().entries()
    assert not any(entry.details.access_acl or entry.details.default_acl for entry in entries.values())
    assert any(entry.details.xattrs for entry in entries.values())
    # Switched on, what did not change on the client is read again.
    world.settings["clients"]["a"]["acl"] = True
    world.run("hour")
    entries = world.newest().entries()
    assert sum(1 for entry in entries.values() if entry.details.access_acl) == 2
    assert world.newest().new_files == 0
    world.check()


def test_only_what_the_config_names(world):
    for name in ("one/file", "one/cache/x", "two/file", "three/file", "two/deep/a.tmp"):
        trees.write(world.source / name, name)
    world.client("a", world.agent().where, path=[f"{world.source}/one", f"{world.source}/two"], exclude=["cache/", "*.tmp"])
    world.init().run("hour")
    inside = os.fsencode(str(world.source)[1:]) + b"/"
    paths = sorted(path[len(inside):] for path in world.newest().entries() if path.startswith(inside))
    assert paths == [b"one", b"one/file", b"two", b"two/deep", b"two/file"]


def test_one_file_system(world):
    trees.write(world.source / "here", "x")
    (world.source / "mounted").mkdir()
    world.mount("tmpfs", world.source / "mounted", "tmpfs")
    trees.write(world.source / "mounted/there", "x")
    world.client("a", world.agent().where, one_file_system=True)
    world.init().run("hour")
    source = str(world.source)[1:]
    paths = {os.fsdecode(path) for path in world.newest().entries()}
    assert f"{source}/here" in paths and f"{source}/mounted" in paths and f"{source}/mounted/there" not in paths
