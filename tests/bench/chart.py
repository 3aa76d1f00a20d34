"""The table of one corpus as a picture: a panel for each row, a bar for each tool, the shorter the better."""

from html import escape

from play import FIND, ROWS
from report import SUBJECT, seconds

SHOWN = ["first", "unchanged", "changed", "chowned", "renamed", "restore", "remove"]
PANELS_ACROSS, PANEL, GAP, MARGIN = 2, 420, 30, 14
NAME_WIDTH, LABEL_WIDTH, BAR, STEP, HEAD = 96, 60, 11, 17, 30
# Readable on white and on black: an SVG in a page does not always know which it is on.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #7d8590; }
.title { font-size: 14px; font-weight: 600; }
.mine { font-weight: 700; fill: #12a150; }
.bar { fill: #8c959f; }
.bar.mine { fill: #12a150; }
.bar.floor { fill: none; stroke: #8c959f; stroke-dasharray: 2 2; }
.sync { opacity: .45; }
"""


def panel(results, corpus, row):
    """(title, [(tool, seconds, sync)])"""
    tools = [tool for tool in results.corpora[corpus] if tool == SUBJECT or not tool.startswith((SUBJECT, FIND))]
    bars = [(tool, results.cost(corpus, tool, row)) for tool in tools]
    if row in ("unchanged",) and results.find(corpus):
        bars.append((FIND, results.find(corpus)))
    failed = [tool for tool, failure in results.failures.get(corpus, {}).items() if failure["row"] == row]
    bars = sorted(((tool, cost.seconds, cost.sync) for tool, cost in bars if cost), key=lambda bar: bar[1] + bar[2])
    return ROWS[row], bars + [(tool, None, 0) for tool in failed] if bars else []


def draw(results, corpus, machine):
    panels = [panel(results, corpus, row) for row in SHOWN]
    panels = [(title, bars) for title, bars in panels if bars]
    lines, top = [], MARGIN + 44
    for start in range(0, len(panels), PANELS_ACROSS):
        group = panels[start:start + PANELS_ACROSS]
        for across, (title, bars) in enumerate(group):
            lines += draw_panel(title, bars, MARGIN + across * (PANEL + GAP), top)
        top += HEAD + max(len(bars) for _, bars in group) * STEP + 22
    described = results.described.get(corpus, {})
    width, height = 2 * MARGIN + PANELS_ACROSS * PANEL + (PANELS_ACROSS - 1) * GAP, top
    title = f"{described.get('files', 0):,} files, {described.get('bytes', 0) / 2**20:,.0f} MiB: seconds until everything is on the disk"
    note = f"light: a sync after the command; {machine['processors']} processors, tests/bench/run, {machine['date']}"
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>",
            f'<text class="title" x="{MARGIN}" y="{MARGIN + 12}">{escape(title)}</text>',
            f'<text x="{MARGIN}" y="{MARGIN + 30}">{escape(note)}</text>']
    return "\n".join([*head, *lines, "</svg>"]) + "\n"


def draw_panel(title, bars, left, top):
    lines = [f'<text class="title" x="{left}" y="{top + 14}">{escape(title)}</text>']
    longest = max(run + sync for _, run, sync in bars if run is not None) or 1
    room = PANEL - NAME_WIDTH - LABEL_WIDTH
    for number, (tool, run, sync) in enumerate(bars):
        y = top + HEAD - 6 + number * STEP
        kind = "mine" if tool == SUBJECT else "floor" if tool == FIND else ""
        start = left + NAME_WIDTH
        lines.append(f'<text class="{kind}" x="{start - 8}" y="{y + BAR - 1}" text-anchor="end">{escape(tool)}</text>')
        if run is None:
            lines.append(f'<text x="{start}" y="{y + BAR - 1}">failed</text>')
            continue
        first, second = run / longest * room, sync / longest * room
        lines += [f'<rect class="bar {kind}" x="{start}" y="{y}" width="{max(first, 1):.1f}" height="{BAR}" rx="2"/>']
        if second > 0.5:
            lines.append(f'<rect class="bar sync {kind}" x="{start + max(first, 1):.1f}" y="{y}" width="{second:.1f}" height="{BAR}" rx="2"/>')
        lines.append(f'<text class="{kind}" x="{start + max(first, 1) + second + 6:.1f}" y="{y + BAR - 1}">{seconds(run + sync)}</text>')
    return lines
