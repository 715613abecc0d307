"""Safety flags: how many of each category, and the newest findings with their excerpts."""

from __future__ import annotations

from console.tui.paint import Drawing, Line, Role, Span, fit, flow, line, pad
from console.tui.snapshot import Flag, Snapshot
from console.tui.units import clock, whole

FAMILIES = {
    "pii": "@",
    "secret": "*",
    "leak": "*",
    "injection": "»",
    "jailbreak": "»",
    "refusal": "∅",
    "ungrounded": "~",
    "off-topic": "~",
    "language": "≠",
    "escape": "≠",
    "format": "≠",
    "degenerate": "≠",
    "bias": "±",
}
HARM = "!"  # hate, harassment, self-harm, sexual, violence, illicit
SEVERITIES = {"high": ("▲", Role.BAD), "medium": ("◆", Role.WARN), "low": ("·", Role.DIM)}


def glyph(category: str) -> str:
    """The sign of a category's family."""
    return FAMILIES.get(category.split(".")[0], HARM)


def draw(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
    """Counts by category, the most frequent first, then the newest findings."""
    tick = snapshot.tick
    counts = {} if tick is None else {name: count for name, count in tick.findings.items() if count}
    total = sum(counts.values())
    subtitle = f"{whole(total)} flagged" if total else ""
    if not counts and not snapshot.flags:
        calm = line(("nothing flagged so far", Role.DIM)) if tick else line(("nothing read yet", Role.DIM))
        return Drawing((calm,), "Safety flags", subtitle)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    chips = [line((f"{glyph(name)} ", Role.ACCENT), f"{name} ", (whole(count), Role.STRONG)) for name, count in ordered]
    top = flow(chips, cells, max(rows // 2 - 1, 1))
    left = rows - len(top)
    rule = [line(("─" * cells, Role.RULE))] if left >= 4 and cells >= 30 else []
    newest = [_newest(flag, cells) for flag in snapshot.flags[: max(left - len(rule), 0)]]
    return Drawing(tuple(top + (rule if newest else []) + newest)[:rows], "Safety flags", subtitle)


def _newest(flag: Flag, cells: int) -> Line:
    mark, role = SEVERITIES.get(flag.severity, SEVERITIES["low"])
    when = clock(flag.t_s)
    head = line((when, Role.DIM), " ", (mark, role), " ")
    room = cells - len(when) - 3
    if cells < 36:
        name = fit(f"{glyph(flag.category)} {flag.category}", room)
        excerpt = fit(flag.excerpt.strip(), room - len(name) - 1) if room - len(name) - 1 >= 4 else ""
        return (*head, Span(name), *line((f" {excerpt}" if excerpt else "", Role.DIM)))
    name = pad(f"{glyph(flag.category)} {flag.category}", 14)
    return (*head, Span(name), Span(f" {fit(flag.excerpt.strip(), room - 15)}", Role.DIM))
