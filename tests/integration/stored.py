"""Reads a repository by syncropy-repository(5) alone, and holds what is stored against what the source was."""

import dataclasses
import hashlib
import os
import pathlib
import stat

import alphabet
import trees
from alphabet import Reader, sort_key

TIERS = {1: "hour", 2: "day", 3: "week", 4: "month"}
MAGIC = b"SYNCROPY-INDEX-1\n"


@dataclasses.dataclass
class Dataset:
    folder: pathlib.Path
    client: str
    tier: str
    name: str
    sequence: int
    complete: bool
    entries_count: int
    files: int
    bytes: int
    new_files: int
    new_bytes: int
    problems: int
    segments: list

    @property
    def tree(self):
        return self.folder / "tree"

    def under(self, source):
        """Where the tree has the client's folder `source`."""
        return self.tree / str(source).lstrip("/")

    def entries(self):
        """path → entry, checked against every digest, count and order that the format promises."""
        entries, previous = {}, None
        for digest, count, size, first in self.segments:
            content = alphabet.unpack((self.folder / "manifest" / f"{digest.hex()}.zst").read_bytes(), size)
            assert hashlib.sha256(content).digest() == digest, f"{self.folder}: a segment is not what its name says"
            data, path, found = Reader(content), b"", 0
            while not data.at_end:
                entry = alphabet.get_entry(data, path)
                path = entry.path
                assert found or path == first, f"{self.folder}: a segment begins elsewhere"
                assert previous is None or sort_key(previous) < sort_key(path), f"{self.folder}: {path} out of order"
                previous = path
                entries[path] = entry
                found += 1
            assert found == count, f"{self.folder}: a segment has {found} entries, and not {count}"
        assert len(entries) == self.entries_count
        return entries


def read_dataset(folder):
    """A published dataset, which stands where its index says it is."""
    dataset = read_dataset_anywhere(folder)
    assert (folder.name, folder.parent.name, folder.parent.parent.name) == (dataset.name, dataset.tier, dataset.client)
    return dataset


def read_dataset_anywhere(folder):
    data = (folder / "manifest" / "index").read_bytes()
    assert hashlib.sha256(data[:-32]).digest() == data[-32:], f"{folder}: the index is damaged"
    assert data.startswith(MAGIC)
    read = Reader(data[len(MAGIC):-32])
    client, tier, name, sequence = read.string().decode(), TIERS[read.byte()], read.string().decode(), read.unsigned()
    read.time(), read.time()
    completeness, _acl = read.byte(), read.byte()
    counts = [read.unsigned() for _ in range(6)]
    _paths, _excludes = [read.string() for _ in range(read.unsigned())], [read.string() for _ in range(read.unsigned())]
    segments = [(read.raw(32), read.unsigned(), read.unsigned(), read.string()) for _ in range(read.unsigned())]
    read.expect_end()
    assert completeness in (1, 2)
    return Dataset(folder, client, tier, name, sequence, completeness == 1, *counts, segments)


def datasets(repository, client):
    """All datasets of a client by sequence; each must have a whole index, for nothing half made may ever stand in a tier."""
    found = []
    for tier in TIERS.values():
        folder = repository / client / tier
        if folder.exists():
            found += [read_dataset(dataset) for dataset in folder.iterdir()]
    found.sort(key=lambda dataset: dataset.sequence)
    assert len({dataset.sequence for dataset in found}) == len(found)
    return found


def check_whole(dataset, owner=None):
    """The tree holds what the manifest says, byte for byte, and nothing else."""
    entries = dataset.entries()
    stored = trees.scan(dataset.tree)
    wanted = {path for path, entry in entries.items() if entry.stat.type in (alphabet.REGULAR, alphabet.FOLDER, alphabet.SYMLINK) and
              not (entry.flags & alphabet.UNREAD and entry.stat.type != alphabet.FOLDER)}
    assert stored.keys() == wanted, f"{dataset.folder}: {sorted(stored.keys() ^ wanted)[:10]}"
    groups = {}
    for path, node in stored.items():
        entry = entries[path]
        where = f"{dataset.folder}: {path}"
        assert trees.TYPES[node.kind] == entry.stat.type, where
        if owner is not None:
            assert (node.uid, node.gid) == (owner, owner), where
        if entry.stat.type == alphabet.REGULAR:
            assert node.mode == 0o400, where
            assert node.digest == entry.digest and node.size == entry.stat.size, where
            if entry.stat.links > 1:
                groups.setdefault((entry.stat.filesystem, entry.stat.inode), set()).add(node.inode)
        elif entry.stat.type == alphabet.FOLDER:
            assert node.mode == 0o700, where
        else:
            assert node.target == entry.details.target, where
        if path:
            assert node.mtime == entry.stat.mtime, where
    for group in groups.values():
        assert len(group) == 1, f"{dataset.folder}: names of one inode are not names of one inode in the tree"
    return entries


def check_is(dataset, source, expected):
    """The dataset is what `source` was when trees.scan() made `expected` of it."""
    prefix = os.fsencode(str(source).lstrip("/"))
    entries = dataset.entries()
    inside = {path[len(prefix) + 1:]: entry for path, entry in entries.items() if path == prefix or path.startswith(prefix + b"/")}
    assert inside.keys() == expected.keys(), f"{dataset.folder}: {sorted(inside.keys() ^ expected.keys())[:10]}"
    stored = trees.scan(dataset.under(source))
    for path, node in expected.items():
        entry, where = inside[path], f"{dataset.folder}: {path}"
        assert entry.stat.type == trees.TYPES[node.kind], where
        is_link = node.kind == stat.S_IFLNK
        assert (entry.stat.uid, entry.stat.gid, entry.stat.mtime) == (node.uid, node.gid, node.mtime), where
        assert is_link or entry.stat.mode == node.mode, where
        assert entry.stat.links == node.links or node.kind == stat.S_IFDIR, where
        assert entry.details.target == (node.target or b""), where
        if node.kind == stat.S_IFREG:
            assert entry.digest == node.digest and entry.stat.size == node.size, where
            assert stored[path].digest == node.digest, where
        if node.kind in (stat.S_IFBLK, stat.S_IFCHR):
            assert (entry.stat.major, entry.stat.minor) == (os.major(node.device), os.minor(node.device)), where
        xattrs = {name: value for name, value in node.xattrs.items() if not name.startswith("system.posix_acl_")}
        assert {name.decode(): value for name, value in entry.details.xattrs} == xattrs, where
        if node.kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            assert stored[path].mtime == node.mtime, where
        else:
            assert path not in stored, where
