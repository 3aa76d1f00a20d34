"""Judges a repository by what Syncropy promises (syncropy-repository(5)), from that page and not from the programs: manifests are read by
tests/integration/stored.py, the catalog by Firebird's own isql.

    oracle = Oracle(repository, keep={"hour": 2})
    oracle.look()        what stands must keep every promise, and be what is remembered; then it is remembered in its turn
    oracle.at_rest()     the same after a run that ended well: besides nothing unfinished lies about, and the catalog equals the manifests

What is found wrong is raised as a Violation, all of it in one.
"""

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import re
import stat
import subprocess

import alphabet
import harness
import stored
from stored import TIERS

NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z(\.[0-9]+)?")
FOLDERS = {".staging", ".spare", ".trash", *TIERS.values()}
DRAFTS = {".sequence-new", ".latest-new", ".verified-new", ".notes-new"}  # left by what was interrupted, and replaced by who needs the name
FILES = {"latest", ".sequence", ".verified", ".notes", *DRAFTS}
IN_DATASET = {"tree", "manifest", "damaged", "damaged-new"}
UNKNOWN_KEEP = 1
LONGEST_VALUE, LONGEST_PATH = 2_000, 1_000  # of an attribute and a path that stand in the catalog's rows whole


class Violation(AssertionError):
    """A promise that does not hold."""


@dataclasses.dataclass
class Known:
    """A dataset as it was seen: what it is, and the inode behind each of its names."""
    tier: str
    name: str
    complete: bool
    index: str    # its bytes, hexadecimal
    inodes: dict  # path within the dataset → what stat said


class Oracle:
    def __init__(self, repository, keep=None, owner=None, database=None, catalog=True):
        """`keep`: datasets by tier, as configured. `database`: a section `database` of a configuration, the embedded one where there is none."""
        self.repository, self.keep, self.owner, self.database, self.has_catalog = pathlib.Path(repository), keep or {}, owner, database, catalog
        self.known = {}  # client → sequence → Known, and those that are gone stay
        self.gone = set()  # what was removed on purpose, or had made way when it was looked at last

    # --- memory on disk, for the program

    def save(self, file):
        pathlib.Path(file).write_text(json.dumps({client: {sequence: dataclasses.asdict(known) for sequence, known in all_of.items()}
                                                  for client, all_of in self.known.items()}))

    def load(self, file):
        self.known = {client: {int(sequence): Known(**known) for sequence, known in all_of.items()}
                      for client, all_of in json.loads(pathlib.Path(file).read_text()).items()}

    def deleted(self, client, sequence):
        """It was removed on purpose: that it is gone is nobody's fault. Its number and name may not come back all the same."""
        self.gone.add((client, sequence))

    # --- judging

    def look(self):
        """At any moment between two runs, whatever became of the one before."""
        return self._judge(self._present_rows)

    def at_rest(self):
        """After a run of every client that ended well."""
        return self._judge(self._all_rows, self._nothing_lies_about)

    def _judge(self, catalog, *more):
        wrong, seen = [], {}
        for client in self.clients():
            found = seen[client] = self._datasets(client, wrong)
            self._against_memory(client, found, wrong)
            self._visible(client, found, wrong)
            for check in more:
                check(client, found, wrong)
        for client in self.known.keys() - seen.keys():
            wrong.append(f"{client}: the client's folder is gone")
        if self.has_catalog and not wrong:
            catalog(seen, wrong)
        if wrong:
            raise Violation("\n".join(wrong))
        for client, found in seen.items():
            self.gone |= {(client, sequence) for sequence in self.known.get(client, {}).keys() - found.keys()}
            self.known.setdefault(client, {}).update((sequence, known) for sequence, (known, _) in found.items())
        return self

    def clients(self):
        return sorted(folder.name for folder in self.repository.iterdir() if not folder.name.startswith(".") and folder.name != "lost+found")

    def _datasets(self, client, wrong):
        """sequence → (Known, its entries), of those that are whole."""
        found = {}
        for tier in TIERS.values():
            folder = self.repository / client / tier
            for dataset_folder in sorted(folder.iterdir()) if folder.exists() else ():
                label = f"{client}/{tier}/{dataset_folder.name}"
                try:
                    if not NAME.fullmatch(dataset_folder.name):
                        raise Violation("a name that no dataset has")
                    if surplus := set(os.listdir(dataset_folder)) - IN_DATASET:
                        raise Violation(f"{sorted(surplus)} in a dataset")
                    dataset = stored.read_dataset(dataset_folder)
                    segments = {f"{segment[0].hex()}.zst" for segment in dataset.segments}
                    if set(os.listdir(dataset_folder / "manifest")) != segments | {"index"}:
                        raise Violation("the manifest's folder holds something else than its segments")
                    entries = stored.check_whole(dataset, self.owner)
                    if dataset.sequence in found:
                        raise Violation(f"the sequence number {dataset.sequence} stands twice")
                except (AssertionError, OSError, alphabet.Malformed, KeyError) as problem:
                    wrong.append(f"{label}: {problem if str(problem) else type(problem).__name__}")
                    continue
                known = Known(tier, dataset.name, dataset.complete, (dataset_folder / "manifest/index").read_bytes().hex(), inodes_of(dataset_folder))
                found[dataset.sequence] = known, entries
        return found

    def _against_memory(self, client, found, wrong):
        memory = self.known.get(client, {})
        for sequence, was in memory.items():
            label = f"{client}/{was.tier}/{was.name}"
            if sequence not in found:
                if (client, sequence) in self.gone:
                    continue
                rest = [known for number, (known, _) in found.items() if known.tier == was.tier and number > sequence]
                keep = self.keep.get(was.tier, UNKNOWN_KEEP)
                complete = sum(known.complete for known in rest)
                if complete < keep and (was.complete or len(rest) - complete < keep):
                    wrong.append(f"{label}: is gone, and {complete} complete ones of its tier are newer, of {keep} that it makes way for")
                continue
            now = found[sequence][0]
            if (now.tier, now.name, now.index) != (was.tier, was.name, was.index):
                wrong.append(f"{label}: its number {sequence} is now that of {now.tier}/{now.name}, or it says something else")
            elif now.inodes != was.inodes:
                other = sorted(path for path in now.inodes.keys() | was.inodes.keys() if now.inodes.get(path) != was.inodes.get(path))
                wrong.append(f"{label}: what was stored has changed: " +
                             ", ".join(f"{path} from {was.inodes.get(path)} to {now.inodes.get(path)}" for path in other[:3]))
        highest = max(memory, default=0)
        for sequence, (now, _) in found.items():
            if sequence not in memory and sequence <= highest:
                wrong.append(f"{client}/{now.tier}/{now.name}: is new, and has number {sequence} where {highest} was given before")
        names = {(was.tier, was.name): sequence for sequence, was in memory.items()}
        for sequence, (now, _) in found.items():
            if names.get((now.tier, now.name), sequence) != sequence:
                wrong.append(f"{client}/{now.tier}/{now.name}: the name was given before, to number {names[now.tier, now.name]}")

    def _visible(self, client, found, wrong):
        """Nothing but what may stand in a client's folder; `latest` and `.sequence` say nothing false."""
        folder = self.repository / client
        if surplus := set(os.listdir(folder)) - FOLDERS - FILES:
            wrong.append(f"{client}: {sorted(surplus)} lies about")
        if (folder / "latest").is_symlink() and not wrong:
            target = os.readlink(folder / "latest")
            if target not in {f"{known.tier}/{known.name}" for known, _ in found.values()}:
                wrong.append(f"{client}: latest leads to {target}, which is no dataset")
        if (folder / ".sequence").exists():
            highest, *names = (folder / ".sequence").read_text().splitlines() or ["0"]
            latest = dict(line.split(" ") for line in names)
            if int(highest) < max(found, default=1):
                wrong.append(f"{client}: .sequence says {highest}, and there is {max(found, default='nothing any more')}")
            for known, _ in found.values():
                if known.name.split(".")[0] > latest.get(known.tier, ""):
                    wrong.append(f"{client}: .sequence says {latest.get(known.tier)}, and there is {known.tier}/{known.name}")

    def _nothing_lies_about(self, client, found, wrong):
        folder = self.repository / client
        for name, most in ((".staging", 0), (".spare", 1)):
            if (folder / name).exists() and len(names := os.listdir(folder / name)) > most:
                wrong.append(f"{client}: {name} holds {sorted(names)}")
        if drafts := {".sequence-new", ".latest-new"} & set(os.listdir(folder)):
            wrong.append(f"{client}: {sorted(drafts)} was left")
        if found:
            newest = found[max(found)][0]
            if not (folder / "latest").is_symlink() or os.readlink(folder / "latest") != f"{newest.tier}/{newest.name}":
                wrong.append(f"{client}: latest does not lead to the newest dataset {newest.tier}/{newest.name}")

    # --- the catalog

    def _all_rows(self, seen, wrong):
        """It shows every dataset, and of each exactly what its manifest says."""
        recorded = self._recorded()
        wanted = {(client, sequence): (known.tier, known.name) for client, found in seen.items() for sequence, (known, _) in found.items()}
        if recorded != wanted:
            wrong.append(f"the catalog records {sorted(recorded.items())[:5]}, and there are {sorted(wanted.items())[:5]}")
        else:
            self._compare_rows(seen, wanted, wrong)

    def _present_rows(self, seen, wrong):
        """It may not know all of them yet, or know one that has gone since; of the others it shows what the manifests say."""
        recorded = self._recorded(must=False)
        if recorded is None:
            return
        present = {key for key, label in recorded.items() if key[1] in seen.get(key[0], {}) and label == (seen[key[0]][key[1]][0].tier, seen[key[0]][key[1]][0].name)}
        for client, sequence in recorded.keys() - present:
            if sequence not in self.known.get(client, {}):
                wrong.append(f"{client}: the catalog records number {sequence}, which never was")
        self._compare_rows(seen, present, wrong)

    def _recorded(self, must=True):
        """(client, sequence) → (tier, name)"""
        rows = self._select(["SELECT CAST(client || ' ' || sequence_number || ' ' || tier || ' ' || name AS VARCHAR(300) CHARACTER SET OCTETS) r FROM datasets;"],
                            must)
        if rows is None:
            return None
        return {(client, int(sequence)): (tier, name) for client, sequence, tier, name in (row.decode().split(" ") for row in rows)}

    def _compare_rows(self, seen, datasets, wrong):
        by_client = {}
        for client, sequence in sorted(datasets):
            by_client.setdefault(client, []).append(sequence)
        for client, sequences in by_client.items():
            among = f"client = '{client}' AND sequence_number IN ({', '.join(map(str, sequences))})"
            got = self._select([query.format(among=among) for query in ROWS])
            wanted = [row for sequence in sequences for entry in seen[client][sequence][1].values() for row in rows_of(sequence, entry)]
            got, wanted = sorted(got), sorted(wanted)
            if got != wanted:
                differ = sorted(set(got) ^ set(wanted)) or ["a row stands twice"]
                wrong.append(f"{client}: the catalog shows {len(got)} rows where the manifests have {len(wanted)}; not in both: {differ[:4]}")

    def change_catalog(self, statements):
        """Whatever one must not do to it."""
        self._select(statements)

    def _select(self, queries, must=True):
        """The rows of queries with one column R, which must be of octets. None where there is no catalog and none must be."""
        own = self.repository / ".syncropy"
        environment, command = dict(os.environ), ["isql-fb", "-q", "-ch", "NONE", "-user"]
        if self.database and "host" in self.database:
            where = f"{self.database['host']}/{self.database['port']}:{self.database['dbname']}"
            command += [self.database["user"], "-password", self.database["password"], where]
        else:
            where = str(own / "catalog.fdb")
            mark = own / "catalog.fdb.unsynced"
            if not os.path.exists(where) or (not must and mark.exists() and mark.stat().st_size > 0):
                if must:
                    raise Violation(f"there is no catalog {where}")
                return None
            environment |= {"FIREBIRD": str(own / "firebird"), "FIREBIRD_LOCK": str(own / "firebird"), "FIREBIRD_TMP": str(own / "firebird")}
            st = own.stat()
            command = [*(harness.as_user(st.st_uid) if os.geteuid() == 0 else ()), *command, "SYSDBA", where]
        done = subprocess.run(command, input="SET LIST ON;\n" + "\n".join(queries), capture_output=True, text=True, env=environment, timeout=120)
        if done.returncode != 0 or done.stderr.strip():
            if not must and ("I/O error" in done.stderr or "is not defined" in done.stderr or "Table unknown" in done.stderr):
                return None  # made and not yet filled
            raise Violation(f"the catalog cannot be read: {done.stderr.strip()[:500]}")
        return [bytes.fromhex(line.split()[1] if len(line.split()) > 1 else "") for line in done.stdout.splitlines() if line.startswith("R ")]


def inodes_of(dataset):
    """What lies behind each name of a dataset, but for times of access, counts of links and moments of change, which linking moves."""
    found = {}
    for part in ("tree", "manifest"):
        for folder, folders, names in os.walk(os.fsencode(dataset / part)):
            for name in [*folders, *names]:
                st = os.lstat(os.path.join(folder, name))
                found[os.fsdecode(os.path.relpath(os.path.join(folder, name), os.fsencode(dataset)))] = \
                    [st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_size if not stat.S_ISDIR(st.st_mode) else 0, st.st_mtime_ns]
    return found


# One text a row, made here from the catalog and in rows_of() from a manifest. A path or value that is too long for it stands in another column.
ROWS = [
    "SELECT CAST(sequence_number || ' entry ' || type_letter || ' ' || mode_octal || ' ' || owner_number || ' ' || owner_name || ' ' || group_number || ' ' || "
    "group_name || ' ' || size_bytes || ' ' || mtime_ns || ' ' || COALESCE(CAST(mtime AS DATE) || '', '-') || ' ' || inode || ' ' || filesystem || ' ' || "
    "links || ' ' || unstable || unread || sparse || ' ' || COALESCE(digest, '-') || ' ' || COALESCE(device_major || ':' || device_minor, '-') || ' ' || "
    "COALESCE(link_target, '') || ' ' || path AS VARCHAR(8000) CHARACTER SET OCTETS) r FROM files WHERE {among};",
    "SELECT CAST(sequence_number || ' acl ' || acl_kind || ' ' || tag || ' ' || COALESCE(account_number, '-') || ' ' || COALESCE(account_name, '') || ' ' || "
    "permissions || ' ' || path AS VARCHAR(8000) CHARACTER SET OCTETS) r FROM acls WHERE {among};",
    "SELECT CAST(sequence_number || ' xattr ' || name || ' ' || COALESCE(value_text, '-long-') || ' ' || path AS VARCHAR(8000) CHARACTER SET OCTETS) r "
    "FROM xattrs WHERE {among};",
    "SELECT CAST(d.sequence_number || ' extent ' || x.start_byte || ' ' || x.length_bytes || ' ' || e.path AS VARCHAR(8000) CHARACTER SET OCTETS) r "
    "FROM (SELECT s.sequence_number, c.id FROM datasets s JOIN client c ON c.name = s.client WHERE {among}) d "
    "JOIN entry e ON e.client = d.id AND d.sequence_number BETWEEN e.from_sequence AND e.to_sequence + 0 "
    "JOIN extent x ON x.client = e.client AND x.set_id = e.extents;",
]
TAGS = {1: b"owner", 2: b"user", 3: b"owning group", 4: b"group", 5: b"mask", 6: b"other"}


def signed(number):
    return number - (1 << 64) if number >= 1 << 63 else number


def column_of(path):
    whole = b"/" + path
    if len(whole) <= LONGEST_PATH:
        return whole
    mark = b"...sha256:" + hashlib.sha256(whole).hexdigest().encode()
    return whole[:LONGEST_PATH - len(mark)] + mark


def rows_of(sequence, entry):
    st, details, path = entry.stat, entry.details, column_of(entry.path)
    device = f"{st.major}:{st.minor}" if st.type in (alphabet.BLOCK, alphabet.CHARACTER) else "-"
    yield b" ".join([
        f"{sequence} entry {'-dlbcps'[st.type - 1]} {st.mode:04o} {st.uid}".encode(), details.owner, b"%d" % st.gid, details.group,
        f"{st.size} {st.mtime % 10**9} {day_of(st.mtime)} {signed(st.inode)} {signed(st.filesystem)} {st.links} "
        f"{entry.flags >> 1 & 1}{entry.flags >> 2 & 1}{int(details.sparse)} {entry.digest.hex() if entry.digest else '-'} {device}".encode(),
        details.target, path])
    for kind, acl in ((b"access", details.access_acl), (b"default", details.default_acl)):
        for tag, permissions, number, name in acl:
            letters = bytes(letter if permissions & bit else ord("-") for letter, bit in ((ord("r"), 4), (ord("w"), 2), (ord("x"), 1)))
            yield b" ".join([b"%d acl" % sequence, kind, TAGS[tag], b"-" if number is None else b"%d" % number, name, letters, path])
    for name, value in details.xattrs:
        yield b" ".join([b"%d xattr" % sequence, name, value if len(value) <= LONGEST_VALUE else b"-long-", path])
    for offset, length in details.extents:
        yield b"%d extent %d %d %s" % (sequence, offset, length, path)


def day_of(nanoseconds):
    seconds = nanoseconds // 10**9
    if not -62135596800 <= seconds <= 253402300799:
        return "-"
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=seconds // 86_400)).isoformat()
