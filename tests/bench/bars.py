"""The bars that this project set itself, and whether they hold in this call."""

import dataclasses

from report import SUBJECT, power

NETWORKED = "syncropy-firebird"
NO_CONTENT = 0.2  # of the bytes of the files, on the wire and on the disk: attributes, and no content
CATALOG = 64 << 10
MEMORY = 256 << 20


@dataclasses.dataclass
class Bar:
    what: str
    figure: float
    most: float
    unit: str = ""
    least: bool = False  # `most` is the least that is good enough

    @property
    def holds(self):
        return self.figure >= self.most if self.least else self.figure <= self.most

    @property
    def side(self):
        return "least" if self.least else "most"

    @property
    def shown(self):
        digits = 0 if self.unit in ("bytes", "MiB") else 2 if abs(self.figure - self.most) > 0.01 else 4  # a near miss must look like one
        return f"{self.figure:,.{digits}f}" + (f" {self.unit}" if self.unit else "")


def bars(results, limit):
    """Those of which all was measured."""
    found = []

    def bar(*figures, **options):
        found.append(Bar(*figures, **options))

    def durable(tool, row):
        cost = results.cost("small", tool, row)
        return cost.durable if cost else None

    find = results.find("small")
    for peer in ("rsync", "restic"):
        if durable(SUBJECT, "first") and durable(peer, "first"):
            bar(f"first run, to {peer}", durable(SUBJECT, "first") / durable(peer, "first"), 0.5)
    if find and durable(SUBJECT, "unchanged"):
        bar("nothing changed, to find -printf", durable(SUBJECT, "unchanged") / find.durable, 1.2)
    if durable(SUBJECT, "changed") and durable("rsync", "changed"):
        bar("1 % changed, times faster than rsync", durable("rsync", "changed") / durable(SUBJECT, "changed"), 6, least=True)
    for row, what in (("chowned", "everything chowned"), ("renamed", "everything renamed")):
        if cost := results.cost("small", SUBJECT, row):
            content = results.described["small"]["bytes"]
            bar(f"{what}, on the wire, to all content", cost.wire / content, NO_CONTENT)
            bar(f"{what}, more on the disk, to all content", cost.disk / content, NO_CONTENT)
    if find and durable(SUBJECT, "chowned"):
        bar("everything chowned, to find -printf", durable(SUBJECT, "chowned") / find.durable, 5)
    if cost := results.cost("small", SUBJECT, "remove"):
        bar("removing one backup, until the command returns", cost.seconds, 0.1, "s")
    if growth := results.corpora.get("small", {}).get(SUBJECT, {}).get("catalog growth"):
        bar("nothing changed, growth of the catalog", max(growth), CATALOG, "bytes")
    if durable(NETWORKED, "first") and durable(SUBJECT, "first"):
        bar("first run, networked Firebird to embedded", durable(NETWORKED, "first") / durable(SUBJECT, "first"), 1.3)
    large = results.cost("large", SUBJECT, "first")
    if large and limit:
        rate = results.described["large"]["bytes"] / large.durable
        bar("one large file, share of what TLS and SHA-256 allow", rate / limit["transfer"], 0.8, least=True)
    return found + scale_bars(results)


def scale_bars(results):
    found = []
    sizes = sorted(int(name.partition("-")[2]) for name in results.corpora if name.startswith("small-"))
    for row, what in (("first", "first run"), ("unchanged", "nothing changed"), ("changed", "1 % changed")):
        costs = [(size, results.cost(f"small-{size}", SUBJECT, row)) for size in sizes[-2:]]
        if len(costs) == 2 and all(cost for _, cost in costs):
            (small, before), (large, after) = costs
            figure = power(small, large, before.durable, after.durable)
            found.append(Bar(f"{what}, growth from {small:,} to {large:,} files, exponent", figure, 1.1))
            for side, peak in (("server", after.peak_server), ("agent", after.peak_client)):
                found.append(Bar(f"{what} of {large:,} files, memory of the {side}", peak / 2**20, MEMORY >> 20, "MiB"))
    return found


def as_text(found):
    return "\n".join(["== bars =="] + [f"  {'holds' if bar.holds else 'does not hold':13} {bar.what}: {bar.shown} (at {bar.side} {bar.most:,})"
                                       for bar in found])
