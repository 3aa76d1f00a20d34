"""The catalog lost and made again from the manifests, however large: every row of every view is what it was."""

import collections
import contextlib
import hashlib
import os
import subprocess
import time

import harness
import trees

VIEWS = ("datasets", "files", "file_history", "acls", "xattrs")
FOLDER_FILES = 100
CHANGED = 100  # one in so many files between two datasets


def of_entries(_, entries, seed):
    """Three datasets of so many entries, each with changes of content, owner, ACL and name to the one before."""
    counts = collections.Counter()
    with contextlib.closing(harness.Lab(much=True)) as lab, harness.World(lab) as world:
        files = entries * FOLDER_FILES // (FOLDER_FILES + 1)
        for number in range(files):
            path = world.source / f"folder{number // FOLDER_FILES}" / f"file{number}"
            if number % FOLDER_FILES == 0:
                path.parent.mkdir()
            path.write_bytes(b"%d of %d" % (number, seed))
        trees.attributes(world.source / "attributes")
        world.client("a", world.agent().where)
        world.init()
        for round_number in range(3):
            for number in range(round_number, files, CHANGED) if round_number else ():
                path = world.source / f"folder{number // FOLDER_FILES}" / f"file{number}"
                kind = number // CHANGED % 4
                if kind == 0:
                    path.write_bytes(b"changed %d" % round_number)
                elif kind == 1:
                    os.chown(path, 3_000 + round_number, 4_000)
                elif kind == 2:
                    path.rename(path.with_name(f"renamed{round_number}-{number}"))
                else:
                    path.unlink()
            world.run(patience=3_600)
        before = sums(world, counts)
        assert before["files"][0] > 2.9 * entries, f"{before['files'][0]} rows of files for {entries} entries"
        (world.repository / ".syncropy/catalog.fdb").unlink()
        began = time.monotonic()
        world.syncropy("rebuild-catalog", patience=3_600)
        counts["seconds to rebuild"] = round(time.monotonic() - began)
        after = sums(world, collections.Counter())
        assert after == before, f"views differ: {[view for view in VIEWS if after[view] != before[view]]}"
        world.run(patience=3_600)
    counts["entries"] = entries
    return counts


def sums(world, counts):
    """view → (rows, the sum of a hash of each row): equal where the rows are, in whatever order."""
    own = world.repository / ".syncropy"
    environment = os.environ | {name: str(own / "firebird") for name in ("FIREBIRD", "FIREBIRD_LOCK", "FIREBIRD_TMP")}
    found = {}
    for view in VIEWS:
        command = [*harness.AS_SERVER, "isql-fb", "-q", "-ch", "NONE", "-user", "SYSDBA", str(own / "catalog.fdb")]
        # RACY says how a version was read first, by a dataset that may have expired since.
        columns = [column for column in world.syncropy("sql", f"SELECT FIRST 0 * FROM {view}").out.split() if column not in ("RACY", "LONG_VALUE", "LONG_PATH")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=world.store) as isql:
            isql.stdin.write(f"SET LIST ON;\nSELECT {', '.join(columns)} FROM {view};\n".encode())
            isql.stdin.close()
            rows, total, row = 0, 0, hashlib.sha256()
            for line in isql.stdout:
                if line.strip():
                    row.update(line)
                    if line.split(maxsplit=1)[0] == columns[-1].encode():  # a row's last
                        rows, total = rows + 1, (total + int.from_bytes(row.digest(), "big")) % 2**256
                        row = hashlib.sha256()
        assert isql.returncode == 0
        found[view] = rows, total
        counts[f"rows of {view}"] = rows
    return found
