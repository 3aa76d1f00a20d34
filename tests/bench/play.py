"""One round of one tool: a fresh filesystem, a fresh corpus, and every row in the order in which life brings it."""

import contextlib
import re

import corpus as corpora
from bench import Filesystem, note, quiet
from measure import Failed
from tool import emptied, keep_apart

ROWS = {
    "first": "first run",
    "spareless": "nothing changed, nothing expired yet",
    "unchanged": "nothing changed",
    "changed": "1 % changed in place",
    "chowned": "everything chowned",
    "renamed": "everything renamed into another folder",
    "restore": "restore of everything",
    "restore-local": "restore of everything, without a connection",
    "remove": "removing the oldest backup",
}
CLEAN, CLEAN_TITLE = "clean", "cleaning up after it"  # comes with "remove"
EVENTS = {"changed": corpora.change, "chowned": corpora.chown, "renamed": corpora.rename}
FIND, FIND_FORMAT = "find -printf", r"%p\0%y\0%m\0%U\0%G\0%s\0%T@\0%C@\0%i\0%n\n"


class Round:
    """`record(tool, row, cost)` is called for each measure, `remark(tool, text)` for what is worth knowing."""

    def __init__(self, scale, folder, work, record, remark, label):
        self.scale, self.folder, self.work, self.record, self.remark, self.label = scale, folder, work, record, remark, label

    def play(self, corpus, tool_class, rows, thorough, count):
        """Measures `rows`, and what must come before them. `thorough`: restores after each backup and compares; `count`: asks each backup for its
        files, and compares what was restored.

        Returns what describes the corpus. Error Failed with `row` set when the tool fails or has not done what it was told.
        """
        self.name, self.row = tool_class.name, "the corpus"
        with contextlib.ExitStack() as stack:
            filesystem = stack.enter_context(Filesystem(self.folder, self.work / "mnt", corpus.room, corpus.inodes))
            self.root, self.target = filesystem.mount / "corpus", filesystem.mount / "target"
            self.scale.filesystem, self.scale.environment = filesystem, keep_apart(filesystem.mount)
            described = corpora.make(corpus, self.root)
            own = self.work / "round"
            own.mkdir()
            stack.callback(quiet, "rm", "-rf", own)
            tool = self.tool = tool_class(self.scale, own, filesystem.mount, self.root)
            self.row = "its start"
            with contextlib.ExitStack() as daemons:
                tool.start(daemons)
                self.thorough, self.expected, self.number = thorough, described["files"] if count else None, 0
                self.rows(rows)
        return described

    def rows(self, rows):
        tool = self.tool
        self.back_up("first" in rows, "first")
        if {"spareless", "unchanged", "remove"} & set(rows):
            if "unchanged" in rows and tool.name == "syncropy":
                self.reference()
            if tool.expires:
                self.back_up("spareless" in rows, "spareless")
                for _ in range(tool.settle):
                    self.back_up(False, "a run between")
                tool.steady()
            if "unchanged" in rows or not tool.expires:
                before = self.catalog()
                cost = self.back_up("unchanged" in rows, "unchanged")
                if before is not None:
                    self.record(tool.name, "catalog growth", self.catalog() - before)
                if "spareless" in rows and not tool.expires:  # no run of it expires anything: both are the same
                    self.record(tool.name, "spareless", cost)
        for row, event in EVENTS.items():
            if row in rows:
                event(self.root)
                self.back_up(True, row)
        for row, restore in (("restore", tool.restore), ("restore-local", tool.restore_local)):
            if row in rows:
                self.bring_back(row, restore)
        if "remove" in rows:
            self.remove()

    def measured(self, row, action):
        """None where the tool has no such thing."""
        self.row = row
        cost = action()
        if cost is not None:
            self.record(self.tool.name, row, cost)
            note(f"{self.label} {self.tool.name}: {row} {cost.seconds:.2f} s, and {cost.sync:.2f} s for a sync")
        return cost

    def back_up(self, wanted, row):
        tool, self.row = self.tool, row
        cost = self.measured(row, tool.back_up) if wanted else tool.back_up()
        self.number = min(self.number + 1, tool.keeps) if tool.expires else self.number + 1
        self.hold("backups", tool.backups(), self.number)
        if self.expected is not None:
            self.hold("files in the newest", tool.files(), self.expected)
        if self.thorough:
            with emptied(self.target):
                tool.restore(self.target)
                self.compare()
        return cost

    def bring_back(self, row, restore):
        with emptied(self.target):
            if self.measured(row, lambda: restore(self.target)) is not None and (self.thorough or self.expected is not None):
                self.compare()

    def remove(self):
        if self.measured("remove", self.tool.remove_oldest) is None:
            return
        self.hold("backups", self.tool.backups(), self.number - 1)
        self.measured(CLEAN, self.tool.clean_up)
        self.row = CLEAN
        if self.thorough:
            self.bring_back("after", lambda: self.tool.restore(self.target))

    def reference(self):
        """What it costs to look at everything once."""
        cost = self.scale.weigh("client", ["sh", "-c", 'exec find "$0" -printf "$1" >/dev/null', self.root, FIND_FORMAT])
        self.record(FIND, "unchanged", cost)

    def catalog(self):
        return self.tool.catalog_bytes() if hasattr(self.tool, "catalog_bytes") else None

    def hold(self, what, found, expected):
        if found != expected:
            raise Failed(f"{self.tool.name} says that it has {found:,} {what}, and should have {expected:,}")

    def compare(self):
        """Content and names must be back; an attribute that is not is told."""
        different = quiet("rsync", "-naHAXi", "--numeric-ids", "--checksum", "--delete", f"{self.root}/",
                          f"{self.tool.restored(self.target)}/").splitlines()
        lost = [line for line in different if re.match(r"[.h].[^+]{9}\s", line) and line[2] != "c"]
        if len(lost) < len(different):
            wrong = [line for line in different if line not in set(lost)]
            raise Failed(f"{len(wrong):,} of the entries that {self.tool.name} restored are not what was backed up:\n" + "\n".join(wrong[:10]))
        if lost:
            self.remark(self.tool.name, f"{len(lost):,} entries came back with other attributes, such as {lost[0]!r}")
