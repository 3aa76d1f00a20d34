"""The catalog is an index of the repository: it shows what the manifests say, and a backup does not fail for it."""

import os
import random
import subprocess
import threading

import pytest

import harness
import stored
import trees
from harness import assert_one_line
from proxy import Proxy


def start(world, **keep):
    trees.small(world.source)
    world.client("a", world.agent(policy={"commands": "any"}).where)
    world.settings["dataset"].update(keep)
    return world.init()


def change(world, chance):
    """A few random changes of every kind."""
    paths = sorted(path for path in world.source.rglob("*"))
    for _ in range(6):
        path, kind = chance.choice(paths), chance.randrange(7)
        if not os.path.lexists(path):
            continue
        if kind == 0:
            trees.write(world.source / f"new{chance.randrange(1_000)}/x", chance.randbytes(50))
        elif kind == 1 and not path.is_dir():
            path.unlink()
        elif kind == 2 and path.is_file() and not path.is_symlink():
            path.write_bytes(chance.randbytes(100))
        elif kind == 3 and not path.is_symlink():
            path.chmod(chance.choice((0o600, 0o700, 0o755)))
        elif kind == 4:
            os.lchown(path, chance.randrange(5), chance.randrange(5))
        elif kind == 5 and not path.is_dir():
            path.rename(path.with_name(f"moved{chance.randrange(1_000)}"))
        elif kind == 6 and path.is_file() and not path.is_symlink():
            os.setxattr(path, "user.test", chance.randbytes(3))


def test_equals_the_manifests_through_changes_and_expiry(any_world):
    world, chance = start(any_world, hour=4, day=2), random.Random(5)
    for tier in ("hour", "day", "hour", "hour", "hour", "day", "hour", "month", "hour", "day", "hour"):
        change(world, chance)
        before = world.snapshot()
        world.run(tier)
        stored.check_is(world.newest(), world.source, before)
        world.check_catalog()
    world.check()
    assert len(world.datasets()) == 7
    # One in the middle and the first are deleted.
    for dataset in (world.datasets()[3], world.datasets()[0]):
        assert world.server(harness.FLAGS[dataset.tier], "--del-dataset", dataset.name).status == 0
        world.check_catalog()
    # What only these two had is shown no more, and the next run deletes it.
    uncovered = ("SELECT COUNT(*) FROM entry e WHERE NOT EXISTS (SELECT 1 FROM dataset d "
                 "WHERE d.client = e.client AND d.sequence_number BETWEEN e.from_sequence AND e.to_sequence)")
    assert world.sql("SELECT COUNT(*) FROM removed_dataset") == ["2"] and int(world.sql(uncovered)[0]) > 0
    world.run("month")
    assert world.sql("SELECT COUNT(*) FROM removed_dataset") == ["0"] and world.sql(uncovered) == ["0"]
    world.check_catalog()
    # The history of one file, as people ask for it.
    rows = world.sql(f"SELECT first_dataset FROM file_history WHERE client = 'a' AND path = '{world.source}'")
    assert rows and all("/" in row for row in rows)
    # A client that is gone from the repository is gone from the catalog only when it runs again: `list` shows what there is.
    assert {row["recorded"] for row in world.list()} == {True}


def test_manifest_ls_and_catalog_agree(world):
    start(world).run()
    listed = world.syncropy("ls", "-R", "a").out.splitlines()
    in_catalog = world.sql("SELECT type_letter || ' ' || path || IIF(link_target IS NULL, '', ' -> ' || link_target) FROM files WHERE client = 'a'")
    from_ls = {line[0] + " " + line[line.index(" /", 50) + 1:] for line in listed}
    assert from_ls == set(in_catalog) and len(listed) == len(in_catalog)


def test_list_and_sql_while_a_backup_runs(any_world):
    world = start(any_world)
    world.run()
    world.settings["clients"]["a"]["pre_command"] = "sleep 2"
    world.settings["clients"]["a"]["post_command"] = "sleep 2"
    for number in range(2_000):
        trees.write(world.source / f"more/{number % 20}/{number}", b"x")
    run = world.start("-c", world.configuration, "-H")
    looks = 0
    while run.runs():
        rows = world.list()
        assert rows[0]["recorded"] is True and len(rows) in (1, 2)
        assert int(world.sql("SELECT COUNT(*) FROM datasets")[0]) in (1, 2)
        looks += 1
    assert run.wait() == 0, run.text()
    assert looks >= 3
    assert [row["recorded"] for row in world.list()] == [True, True]
    world.check()


def away(world, done):
    """Published, not recorded, and that is what it says."""
    assert done.status == 4
    errors = [line for line in done.lines if "error" in line]
    assert len(errors) == 1 and "not recorded in the catalog" in errors[0] and "the next run records it" in errors[0], done
    return errors[0]


def test_embedded_catalog_that_cannot_be_written(world):
    start(world).run()
    catalog = world.repository / ".syncropy/catalog.fdb"
    catalog.rename(catalog.with_suffix(".kept"))
    catalog.mkdir()
    trees.write(world.source / "new", "new")
    before = world.snapshot()
    assert str(catalog) in away(world, world.run(status=4))
    stored.check_is(world.newest(), world.source, before)
    world.run("day", status=4)
    assert [row["recorded"] for row in world.list()] == [None, None, None]
    catalog.rmdir()
    catalog.with_suffix(".kept").rename(catalog)
    assert [row["recorded"] for row in world.list()] == [True, False, False]
    done = world.run("week")
    assert any("recorded 2 datasets" in line for line in done.lines), done
    assert [row["recorded"] for row in world.list()] == [True] * 4
    world.check()


def test_partial_and_not_recorded(lab):
    with harness.World(lab) as world:
        trees.small(world.source)
        trees.write(world.source / "secret", "mode 000", 0)
        world.client("a", world.agent(caps=False).where)
        world.init()
        world.run(status=3)
        catalog = world.repository / ".syncropy/catalog.fdb"
        catalog.chmod(0o400)
        away(world, world.run(status=4))
        catalog.chmod(0o600)
        world.run(status=3)
        world.check()


def test_embedded_catalog_read_only(world):
    start(world).run()
    catalog = world.repository / ".syncropy/catalog.fdb"
    catalog.chmod(0o400)
    away(world, world.run(status=4))
    catalog.chmod(0o600)
    world.run()
    world.check()


def test_embedded_catalog_lost_or_overwritten(world):
    start(world).run()
    catalog = world.repository / ".syncropy/catalog.fdb"
    catalog.unlink()
    trees.write(world.source / "new", "new")
    world.run()
    world.check()  # made again from the manifests
    kept = catalog.read_bytes()
    catalog.write_bytes(b"no database at all" * 1_000)
    done = world.run(status=4)
    assert str(catalog) in away(world, done)
    catalog.write_bytes(kept)
    world.run()
    world.check()


@pytest.fixture
def behind_proxy(lab, firebird):
    """A networked catalog that can go away and come back: the way to its server does."""
    with harness.World(lab) as world:
        world.firebird_address = ("127.0.0.1", firebird.port)
        world.way = Proxy(world.firebird_address)
        world.settings["database"] = firebird.database(world.way.port)
        yield start(world)
        world.way.close()


def test_networked_catalog_away(behind_proxy):
    world = behind_proxy
    world.run()
    world.way.close()
    trees.write(world.source / "new", "new")
    before = world.snapshot()
    done = world.run(status=4)
    error = away(world, done)
    assert "127.0.0.1" in error and str(world.way.port) in error
    stored.check_is(world.newest(), world.source, before)
    assert [row["recorded"] for row in world.list()] == [None, None]
    sql = world.syncropy("sql", "SELECT * FROM datasets", status=69)
    assert_one_line(sql, 69, "127.0.0.1", program="syncropy")
    world.way = Proxy(world.firebird_address)
    world.settings["database"]["port"] = world.way.port
    assert [row["recorded"] for row in world.list()] == [True, False]
    world.run()
    world.check()


def test_networked_catalog_cut_while_recording(behind_proxy):
    """Whatever was sent of a dataset by then, the next run finds a catalog that holds it whole or not at all."""
    world = behind_proxy
    world.run()
    cuts = 0
    for after in (3_000, 25_000, 60_000):
        for number in range(300):
            trees.write(world.source / f"more{after}/{number}", b"x")
        passed = 0

        def cut(direction, _, piece, after=after):
            nonlocal passed
            passed += len(piece) if direction == "out" else 0
            return len(piece) if passed < after else 0

        world.way.cut = cut
        done = world.server("-H")
        cuts += world.way.cuts
        assert done.status == (4 if world.way.cuts else 0), done
        world.way.cut, world.way.cuts = None, 0
        world.run("day")
    assert cuts >= 2, "the harness did not cut"
    world.check()


def test_networked_catalog_with_a_wrong_password(lab, firebird):
    with harness.World(lab, firebird.database()) as world:
        start(world)
        right = world.settings["database"]["password"]
        world.settings["database"]["password"] = "wrong"
        error = away(world, world.run(status=4))
        assert "password" in error
        assert "'wrong'" not in error
        world.settings["database"]["password"] = right
        world.run()
        world.check()


def test_a_newer_schema_is_refused(any_world, request):
    world = start(any_world)
    world.run()
    statement = "CREATE OR ALTER VIEW syncropy_schema (version) AS SELECT 7 FROM rdb$database;\nCOMMIT;\n"

    def isql(text):
        database = world.settings.get("database")
        if database:
            where = f"inet://{database['host']}:{database['port']}/{database['dbname']}"
            command = ["isql-fb", "-q", "-user", database["user"], "-password", database["password"], where]
            environment = dict(os.environ)
        else:
            engine = world.repository / ".syncropy/firebird"
            command = [*harness.AS_SERVER, "isql-fb", "-q", "-user", "SYSDBA", str(world.repository / ".syncropy/catalog.fdb")]
            environment = os.environ | {"FIREBIRD": str(engine), "FIREBIRD_LOCK": str(engine), "FIREBIRD_TMP": str(engine)}
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, cwd=world.store)
        assert done.returncode == 0 and not done.stderr, done

    version, = world.sql("SELECT version FROM syncropy_schema")
    isql(statement)
    done = world.run(status=4)
    error = away(world, done)
    assert "version 7" in error and "newer" in error
    sql = world.syncropy("sql", "SELECT * FROM datasets", status=65)
    assert_one_line(sql, 65, "version 7", program="syncropy")
    isql(statement.replace("SELECT 7", f"SELECT {version}"))
    world.run()
    world.check()


def test_sql_only_asks(any_world):
    world = start(any_world)
    world.run()
    for statement in ("DELETE FROM entry", "DROP TABLE entry", "UPDATE dataset SET files = 0", "INSERT INTO client (id, name) VALUES (9, 'x')",
                      "COMMIT", "nonsense"):
        done = world.syncropy("sql", statement, status=2)
        assert_one_line(done, 2, program="syncropy")
    world.check()


def test_reader_and_writers_in_several_processes(world):
    """Embedded: attached by several processes at once, the database stays whole."""
    start(world)
    world.client("b", world.settings["clients"]["a"])
    world.run()
    ended, failures = threading.Event(), []

    def look():
        while not ended.is_set():
            done = world.execute("syncropy", "-c", world.configuration, "sql", "SELECT COUNT(*) FROM files")
            if done.status != 0:
                failures.append(done)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(4):
        trees.write(world.source / f"new{number}", "x")
        world.run()
    ended.set()
    for reader in readers:
        reader.join()
    assert not failures, str(failures[0])
    for client in ("a", "b"):
        world.check(client)
