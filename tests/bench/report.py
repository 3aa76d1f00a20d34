"""What was measured, as text."""

import dataclasses
import math
import statistics

from measure import Cost
from play import CLEAN, CLEAN_TITLE, FIND, ROWS

MIB = 2**20
SUBJECT = "syncropy"
ORDER = [*ROWS, CLEAN]
TITLES = {**ROWS, CLEAN: CLEAN_TITLE}
BACKUPS = ("spareless", "unchanged", "changed", "chowned", "renamed")  # rows that a walk over everything is the floor of
HEAD = """\
seconds: until the command returned; "sync": what a sync of the filesystem took after it; "on disk": both. What Syncropy has backed up or restored
is on the disk when its command returns, what the others have is mostly not: ratios are of "on disk", and in brackets without the sync.
CPU: seconds of all processes of a side, {cpu}. memory: most that a side's processes had resident at a time, in MiB.
wire: MiB on loopback, both ways and with headers. disk, inodes: what the filesystem had more afterwards; a tool's own cache counts.
Each tool and round has an ext4 of its own, made anew on a loop device, with the corpus and the backups on it; caches are warm."""


def median(costs):
    return Cost(**{field.name: statistics.median(getattr(cost, field.name) for cost in costs) for field in dataclasses.fields(Cost)})


class Results:
    """Costs by corpus, tool and row, one for each round."""

    def __init__(self):
        self.corpora, self.described, self.failures, self.remarks = {}, {}, {}, {}

    def record(self, corpus, tool, row, cost):
        self.corpora.setdefault(corpus, {}).setdefault(tool, {}).setdefault(row, []).append(cost)

    def remark(self, corpus, tool, text):
        found = self.remarks.setdefault(corpus, {}).setdefault(tool, [])
        if text not in found:
            found.append(text)

    def fail(self, corpus, tool, row, text):
        self.failures.setdefault(corpus, {})[tool] = {"row": row, "text": text}

    def cost(self, corpus, tool, row):
        """The median, or None."""
        costs = self.corpora.get(corpus, {}).get(tool, {}).get(row)
        return median(costs) if costs else None

    def rounds(self, corpus, tool, row):
        return len(self.corpora[corpus][tool][row])

    def find(self, corpus):
        return self.cost(corpus, FIND, "unchanged")

    def total(self, corpus, tool, row):
        """As cost(); that of cleaning up with what it cleans up after."""
        cost = self.cost(corpus, tool, row)
        if row != CLEAN:
            return cost
        removal = self.cost(corpus, tool, "remove")
        return removal + (cost or Cost()) if removal else None

    def peers(self, corpus):
        return [tool for tool in self.corpora.get(corpus, {}) if tool != FIND and not tool.startswith(SUBJECT)]

    def best(self, corpus, row):
        """(peer, its total) of the fastest, or None."""
        totals = [(peer, self.total(corpus, peer, row)) for peer in self.peers(corpus)]
        return min(((peer, cost) for peer, cost in totals if cost), key=lambda each: each[1].durable, default=None)

    def as_data(self):
        def plain(cost):
            return cost if isinstance(cost, int) else dataclasses.asdict(cost)

        return {name: {**self.described.get(name, {}), "failures": self.failures.get(name, {}), "remarks": self.remarks.get(name, {}),
                       "tools": {tool: {row: [plain(cost) for cost in costs] for row, costs in rows.items()} for tool, rows in tools.items()}}
                for name, tools in self.corpora.items()}

    def add(self, data):
        """What as_data() gave in another call; what that measured again replaces what was here."""
        for name, corpus in data.items():
            self.described[name] = {key: corpus[key] for key in ("files", "entries", "bytes") if key in corpus}
            for tool, rows in corpus["tools"].items():
                self.failures.get(name, {}).pop(tool, None)
                for row, costs in rows.items():
                    self.corpora.setdefault(name, {}).setdefault(tool, {})[row] = [cost if isinstance(cost, int) else Cost(**cost) for cost in costs]
            self.failures.setdefault(name, {}).update(corpus["failures"])
            for tool, remarks in corpus["remarks"].items():
                for text in remarks:
                    self.remark(name, tool, text)


# --- Tables ---------------------------------------------------------------------------------------------------------------

def seconds(value):
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"


def mib(value):
    return f"{value / MIB:,.1f}" if abs(value) < 99.95 * MIB else f"{value / MIB:,.0f}"


def line(tool, cost, rounds):
    return (f"  {tool:18} {seconds(cost.seconds):>8} {seconds(cost.sync):>7} {seconds(cost.durable):>8}"
            f" {seconds(cost.cpu_server):>9} {seconds(cost.cpu_client):>7}"
            f" {cost.peak_server / MIB:9,.0f} {cost.peak_client / MIB:7,.0f} {mib(cost.wire):>9} {mib(cost.disk):>9}"
            f" {round(cost.inodes):9,} {rounds:6}")


COLUMNS = (f"{'seconds':>8} {'sync':>7} {'on disk':>8} {'CPU serv.':>9} {'client':>7} {'mem. serv.':>9} {'client':>6}"
           f" {'wire':>9} {'disk':>9} {'inodes':>9} {'rounds':>6}")


def ratio(mine, theirs):
    if not theirs or not theirs.seconds:
        return None
    return f"{mine.durable / theirs.durable:.2f} ({mine.seconds / theirs.seconds:.2f})"


def ratios(results, corpus, row, tool=SUBJECT):
    """Of Syncropy to others, as texts."""
    mine = results.total(corpus, tool, row)
    if not mine:
        return []
    best = results.best(corpus, row)
    others = [("rsync, the fastest peer" if best and best[0] == "rsync" else "rsync", results.total(corpus, "rsync", row))]
    if best and best[0] != "rsync":
        others.append((f"{best[0]}, the fastest peer", best[1]))
    if row in BACKUPS:
        others.append((FIND, results.find(corpus)))
    return [f"{ratio(mine, cost)} of {name}" for name, cost in others if cost]


def table(results, corpus, rows, how_cpu):
    """The table of one corpus, a paragraph a row."""
    described = results.described.get(corpus, {})
    counts = f"{described.get('files', 0):,} files, {described.get('entries', 0):,} entries, {described.get('bytes', 0) / MIB:,.0f} MiB"
    text = [f"== {corpus}: {counts} ==", "",
            HEAD.format(cpu=how_cpu), ""]
    failures = results.failures.get(corpus, {})
    for row in [*(row for row in ORDER if row in rows), *([CLEAN] if "remove" in rows else [])]:
        text.append(f"{TITLES[row]:44}"[:20].ljust(20) + " " + COLUMNS if len(TITLES[row]) <= 20 else f"{TITLES[row]}\n{'':20} {COLUMNS}")
        if row in BACKUPS and (find := results.find(corpus)):
            text.append(line(FIND, find, results.rounds(corpus, FIND, "unchanged")))
        for tool in [*results.corpora.get(corpus, {}), *(tool for tool in failures if tool not in results.corpora.get(corpus, {}))]:
            cost = results.cost(corpus, tool, row)
            if tool != FIND and cost:
                text.append(line(tool, cost, results.rounds(corpus, tool, row)))
            if tool in failures and failures[tool]["row"] == row:
                text.append(f"  {tool:18} {'failed':>8}")
        found = ratios(results, corpus, row)
        if found:
            text.append(f"  syncropy{' with what it cleans up after' if row == CLEAN else ''}: " + "; ".join(found))
        text.append("")
    for tool, failure in failures.items():
        text.append(f"{tool} failed at {TITLES.get(failure['row'], failure['row'])}: {failure['text'].splitlines()[0]}")
    for tool, remarks in results.remarks.get(corpus, {}).items():
        text += [f"{tool}: {remark}" for remark in remarks]
    return "\n".join(text)


def share(results, limit):
    """What one large file reaches of what the processor allows; empty if that was not measured."""
    cost, size = results.cost("large", SUBJECT, "first"), results.described.get("large", {}).get("bytes")
    if not cost:
        return ""
    lines = [f"One large file: {size / cost.durable / MIB:,.0f} MiB/s ({size / cost.seconds / MIB:,.0f} until the command returned)."
             " This processor allows, with TLS 1.3, AES-128-GCM and SHA-256,"]
    for key, how in (("transfer", "measured with a connection over loopback, OpenSSL on both sides, a thread each, and a digest of what arrives"),
                     ("speed", "computed from `openssl speed`, decrypting and then digesting blocks of 16 KiB, without any connection")):
        lines.append(f"  {limit[key] / MIB:,.0f} MiB/s, {how}: Syncropy reaches {size / cost.durable / limit[key]:.2f} of that")
    return "\n".join(lines)


def growth_table(results, sizes, rows, tools, how_cpu):
    """How seconds and memory grow from size to size."""
    text = ["== scale ==", "", HEAD.format(cpu=how_cpu), ""]
    for row in rows:
        for tool in tools:
            text.append(f"{tool}, {TITLES[row]}")
            text.append(f"  {'files':18} {COLUMNS}   exponents: time, server's memory, client's")
            before = None
            for size in sizes:
                cost = results.cost(f"small-{size}", tool, row)
                if cost:
                    exponents = "" if before is None else "   " + ", ".join(
                        exponent(before[0], size, getattr(before[1], figure), getattr(cost, figure)) for figure in ("durable", "peak_server",
                                                                                                                    "peak_client"))
                    text.append(line(f"{size:,}", cost, results.rounds(f"small-{size}", tool, row)) + exponents)
                    before = size, cost
                elif tool in results.failures.get(f"small-{size}", {}):
                    text.append(f"  {size:18,} {'failed':>8}")
            text.append("")
    return "\n".join(text)


def power(small, large, before, after):
    return math.log(after / before) / math.log(large / small) if before > 0 and after > 0 else float("nan")


def exponent(*figures):
    return f"{power(*figures):.2f}"
