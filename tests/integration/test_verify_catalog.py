"""`syncropy verify` holds the catalog against the manifests: what it shows, how it finds it, and what it is made of."""

import json
import os
import random
import subprocess

import harness
import trees
from harness import assert_one_line
from test_backup_catalog import lose_and_restore
from test_catalog import change, start


def isql(world, statement):
    """What a person with the right to do so does to the database."""
    database = world.settings.get("database")
    if database:
        command = ["isql-fb", "-q", "-bail", "-user", "SYSDBA", "-password", database["password"], f"127.0.0.1/{database['port']}:{database['dbname']}"]
        environment = dict(os.environ)
    else:
        engine = world.repository / ".syncropy/firebird"
        command = [*harness.AS_SERVER, "isql-fb", "-q", "-bail", "-user", "SYSDBA", world.repository / ".syncropy/catalog.fdb"]
        environment = {**os.environ, "FIREBIRD": str(engine), "FIREBIRD_LOCK": str(engine)}
    done = subprocess.run([str(word) for word in command], input=statement + ";\nCOMMIT;\n", capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and not done.stderr, done


def verify(world, *arguments, status=0):
    """Why the catalog is damaged, each reason once."""
    done = world.syncropy("verify", "--json", *arguments, status=status)
    return [row["why"] for row in map(json.loads, done.out.splitlines()) if row.get("problem") == "catalog"], done


def history(world):
    chance = random.Random(21)
    trees.attributes(world.source)
    with open(world.source / "sparse", "wb") as file:
        file.truncate(1 << 20)
        file.write(b"data")
    for tier in ("hour", "day", "hour", "hour", "day", "hour"):
        change(world, chance)
        world.run(tier)
    return world


def test_in_order_through_changes_and_expiry(any_world):
    world = history(start(any_world, hour=2, day=2))
    os.mkdir(world.source / ("n" * 200))
    trees.chain(world.source / "deep", 30, "f" * 60)  # paths longer than their column
    world.run()
    assert verify(world)[0] == []
    assert world.server("-D", "--del-dataset", world.datasets()[0].name).status == 0
    assert verify(world)[0] == []
    done = world.syncropy("verify")
    assert done.out.startswith("catalog: in order: ") and not done.err
    # Of a part of a client the catalog is not looked at.
    assert "catalog" not in world.syncropy("verify", "a/hour").out + world.syncropy("verify", "--no-catalog").out


WRONG = [
    ("UPDATE entry SET mode = mode + 1 WHERE path CONTAINING 'top' AND from_sequence = 1", "hour/"),
    ("UPDATE entry SET digest = x'00' || SUBSTRING(digest FROM 2) WHERE digest IS NOT NULL ROWS 1", "manifests"),
    ("UPDATE entry SET path = path || 'x' ROWS 1", "manifests"),
    ("UPDATE entry SET to_sequence = to_sequence - 1 WHERE to_sequence < 9223372036854775807 AND from_sequence < to_sequence ROWS 1", "manifests"),
    ("UPDATE entry SET owner_account = owner_account + 1 ROWS 1", "manifests"),
    ("DELETE FROM entry ROWS 1", "manifests"),
    ("INSERT INTO entry SELECT e.client, e.path || '-', e.from_sequence, e.to_sequence, e.kind, e.mode, e.owner_account, e.group_account, e.size_bytes, "
     "e.mtime, e.mtime_ns, e.ctime, e.ctime_ns, e.inode, e.filesystem, e.links, e.device_major, e.device_minor, e.flags, e.digest, e.link_target, "
     "e.access_acl, e.default_acl, e.xattrs, e.extents, e.long_path FROM entry e ROWS 1", "manifests"),
    ("UPDATE account SET name = name || 'x' ROWS 1", "account"),
    ("UPDATE acl_entry SET permissions = 7 - permissions ROWS 1", "set of attributes"),
    ("UPDATE xattr SET value_text = value_text || 'x' WHERE value_text <> '' ROWS 1", "set of attributes"),
    ("UPDATE attribute_set SET capabilities = 'all' WHERE capabilities IS NOT NULL", "set of attributes"),
    ("UPDATE extent SET start_byte = start_byte + 1 ROWS 1", "set of attributes"),
    ("UPDATE link_target SET target = target || 'x' ROWS 1", "set of attributes"),
    ("DELETE FROM attribute_set ROWS 1", "attributes"),
    ("UPDATE dataset SET bytes = bytes + 1 ROWS 1", "as a whole"),
    ("CREATE OR ALTER VIEW xattrs (client, dataset, sequence_number, path, name, value_text, long_value) AS SELECT c.name, '', 1, '', '', '', NULL "
     "FROM client c", "XATTRS"),
    ("ALTER INDEX entry_path INACTIVE", "ENTRY_PATH"),
]


def test_whatever_is_not_as_the_manifests_say(world):
    history(start(world))
    for statement, why in WRONG:
        isql(world, statement)
        told, done = verify(world, status=65)
        assert told and any(why in text for text in told), (statement, told)
        assert all("rebuild-catalog" in line for line in done.lines), done
        world.syncropy("rebuild-catalog")
    assert verify(world)[0] == []


def test_on_a_server(any_world):
    world = history(start(any_world))
    isql(world, "UPDATE entry SET size_bytes = size_bytes + 1 WHERE to_sequence < 9223372036854775807 ROWS 1")
    told, _ = verify(world, "a", status=65)
    assert len(told) == 1 and "a: the catalog shows something else than the manifests, from" in told[0]
    world.syncropy("rebuild-catalog")
    assert verify(world)[0] == []


def test_what_the_next_run_does_is_no_damage(world):
    start(world).run()
    catalog = world.repository / ".syncropy/catalog.fdb"
    kept = catalog.read_bytes()
    trees.write(world.source / "new", "new")
    world.run("day")
    world.run("week")
    newer = catalog.read_bytes()
    catalog.write_bytes(kept)
    told, done = verify(world)
    assert not told and "2 datasets are not recorded: the next run records them" in done.err
    catalog.write_bytes(newer)
    gone = world.newest().folder
    gone.rename(world.store / "gone")
    told, done = verify(world)
    assert not told and "1 recorded datasets are not in the repository" in done.err
    world.run()
    assert not verify(world)[1].err


def test_while_backups_run(any_world):
    world = start(any_world, hour=2)
    world.run()
    runs = harness.in_background(lambda: [(trees.write(world.source / "new", str(number)), world.run()) for number in range(10)])
    for _ in range(6):
        assert verify(world)[0] == []
    runs()
    assert verify(world)[0] == []


def test_in_use_by_others(world):
    """All pages are looked at only where nobody else has the database open; the rest is as ever."""
    start(world).run()
    engine = world.repository / ".syncropy/firebird"
    with subprocess.Popen([str(word) for word in (*harness.AS_SERVER, "isql-fb", "-q", "-user", "SYSDBA", world.repository / ".syncropy/catalog.fdb")],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "FIREBIRD": str(engine), "FIREBIRD_LOCK": str(engine)}) as other:
        other.stdin.write("SELECT 'attached' FROM rdb$database;\n")
        other.stdin.flush()
        while "attached" not in other.stdout.readline():
            pass
        assert verify(world)[0] == []
        other.stdin.close()


def test_restored_from_a_backup(world):
    history(start(world))
    world.syncropy("backup-catalog", world.store / "catalog.fbk")
    lose_and_restore(world, world.store / "catalog.fbk")
    assert verify(world)[0] == []


def test_bad_input(world):
    start(world).run()
    catalog = world.repository / ".syncropy/catalog.fdb"
    kept = catalog.read_bytes()
    catalog.unlink()
    done = world.syncropy("verify", status=66)
    assert_one_line(done, 66, "cannot be verified", catalog, "a backup run makes it", program="syncropy")
    assert "a: in order" in done.out
    catalog.write_bytes(b"no database" * 3_000)
    assert "not a Firebird" in verify(world, status=65)[0][0]
    catalog.write_bytes(kept)
    world.settings["database"] = {"host": "127.0.0.1", "port": 1, "password": "x", "dbname": "/x.fdb"}
    assert_one_line(world.syncropy("verify", status=69), 69, "127.0.0.1", program="syncropy")
