"""The figures in README.md, between two markers, and the picture beside them."""

import chart
from bench import SOURCE, Stop
from play import FIND, ROWS
from report import MIB, SUBJECT, mib, seconds

BEGIN, END = "<!-- written by tests/bench/run --readme -->", "<!-- up to here -->"
PICTURE = "tests/bench/speed.svg"
SHOWN = ["first", "unchanged", "changed", "chowned", "renamed", "restore", "restore-local", "remove"]
OTHERS = {"usr": "a copy of /usr, {files:,} files of {size}", "large": "one file of {size}"}


def write(results, calls, found, versions):
    path = SOURCE / "README.md"
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Stop(f"{path} lacks the markers {BEGIN!r} and {END!r}")
    path.write_text(before + BEGIN + "\n" + text(results, calls, found, versions) + END + after)
    (SOURCE / PICTURE).write_text(chart.draw(results, "small", calls[-1]["machine"]))


def text(results, calls, found, versions):
    told, commands = calls[-1]["machine"], "; ".join(f"`{call['command']}`" for call in calls)
    return "\n".join([*speed(results, versions), *kept(found), *others(results), *costs(results), *how(calls),
                      f"Measured {told['date']} with Syncropy {told['syncropy']} on {told['processors']} processors {told['processor']}",
                      f"with {told['memory']} of memory, Linux {told['kernel']}, by {commands}.", ""])


def shown(results, corpus, tool, row):
    cost = results.cost(corpus, tool, row)
    return seconds(cost.durable) if cost else "failed" if results.failures.get(corpus, {}).get(tool, {}).get("row") == row else "–"


def speed(results, versions):
    described, peers = results.described["small"], results.peers("small")
    rounds = results.rounds("small", SUBJECT, "first") if results.cost("small", SUBJECT, "first") else 1
    counts = f" (median of {rounds} rounds, but where one took too long)" if rounds > 1 else ""
    lines = [f"Seconds until everything is on the disk, for {described['files']:,} small files of {described['bytes'] / MIB:,.0f} MiB{counts}:", "",
             f"![]({PICTURE})", "",
             "| | **Syncropy** | " + " | ".join(f"{peer} {versions.get(peer, '')}".rstrip() for peer in peers) + " |",
             "|---" * (len(peers) + 2) + "|"]
    for row in SHOWN:
        if results.cost("small", SUBJECT, row):
            cells = [f"**{shown(results, 'small', SUBJECT, row)}**", *(shown(results, "small", peer, row) for peer in peers)]
            lines.append(f"| {ROWS[row]} | " + " | ".join(cells) + " |")
    if find := results.find("small"):
        lines += ["", f"`{FIND}`, which only looks at everything once, took {seconds(find.durable)} s."]
    networked = results.cost("small", "syncropy-firebird", "first")
    if networked:
        lines += ["", f"With the catalog on a Firebird server of its own, the first run took {seconds(networked.durable)} s."]
    return [*lines, ""]


def how(calls):
    """How each tool was set up."""
    remarks = {name: remark for call in calls for name, remark in call["remarks"].items()}
    return ["How each is set up:", "", *(f"- {name}: {remark}" for name, remark in remarks.items()), ""]


def others(results):
    lines = []
    for corpus, what in OTHERS.items():
        if corpus in results.corpora:
            described, tools = results.described[corpus], [SUBJECT, *results.peers(corpus)]
            head = what.format(files=described["files"], size=f"{described['bytes'] / MIB:,.0f} MiB")
            lines += [f"| {head} | " + " | ".join(tools) + " |", "|---" * (len(tools) + 1) + "|"]
            lines += [f"| {ROWS[row]} | " + " | ".join(shown(results, corpus, tool, row) for tool in tools) + " |"
                      for row in SHOWN if results.cost(corpus, SUBJECT, row)]
            lines.append("")
    return lines


def costs(results):
    """Everything that Syncropy takes, and the fastest peer's."""
    lines = ["Small files again, all that it takes; CPU and memory are the server's + the client's:", "",
             "| | | seconds | of it sync | CPU seconds | memory, MiB | wire, MiB | disk, MiB | inodes |", "|---|---|---|---|---|---|---|---|---|"]
    for row in SHOWN:
        best = results.best("small", row)
        for tool in [SUBJECT, *([best[0]] if best else [])]:
            if cost := results.cost("small", tool, row):
                name = ROWS[row] if tool == SUBJECT else ""
                cells = [name, tool, seconds(cost.durable), seconds(cost.sync), f"{seconds(cost.cpu_server)} + {seconds(cost.cpu_client)}",
                         f"{cost.peak_server / MIB:,.0f} + {cost.peak_client / MIB:,.0f}", mib(cost.wire), mib(cost.disk), f"{round(cost.inodes):,}"]
                lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def kept(found):
    """The bars, one a row."""
    lines = ["| what this project set itself | bar | measured | |", "|---|---|---|---|"]
    for bar in found:
        wanted, holds = f"at {bar.side} {bar.most:,} {bar.unit}".rstrip(), "holds" if bar.holds else "**does not hold**"
        lines.append(f"| {bar.what} | {wanted} | {bar.shown} | {holds} |")
    return [*lines, ""]
