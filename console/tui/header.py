"""The header: which run, where it stands, how far it is, and its gates so far."""

from __future__ import annotations

from console.tui.notice import words
from console.tui.paint import Drawing, Line, Role, Span, fit, line, spread, width
from console.tui.snapshot import Phase, Snapshot
from console.tui.units import clock
from scenarios.result import Verdict

STATES: dict[Phase, tuple[str, Role]] = {
    Phase.EMPTY: ("○ NO RUN", Role.DIM),
    Phase.OPENING: ("◌ OPENING", Role.DIM),
    Phase.PREPARING: ("◐ PREPARING", Role.ACCENT),
    Phase.RUNNING: ("● RUNNING", Role.GOOD),
    Phase.DRAINING: ("◆ DRAINING", Role.ACCENT),
    Phase.JUDGING: ("◇ JUDGING", Role.ACCENT),
    Phase.STOPPING: ("◆ STOPPING", Role.WARN),
    Phase.FAILED: ("✗ FAILED", Role.BAD),
    Phase.INTERRUPTED: ("■ INTERRUPTED", Role.WARN),
    Phase.GONE: ("✗ RUNNER GONE", Role.BAD),
    Phase.UNREADABLE: ("✗ UNREADABLE", Role.BAD),
}

VERDICTS: dict[Verdict, tuple[str, Role]] = {
    Verdict.GO: ("✓ GO", Role.GOOD),
    Verdict.NO_GO: ("✗ NO-GO", Role.BAD),
    Verdict.INCONCLUSIVE: ("? INCONCLUSIVE", Role.WARN),
    Verdict.INVALID: ("! INVALID", Role.WARN),
}


def state(snapshot: Snapshot) -> tuple[str, Role]:
    """Glyph, word and role of the run's state; a judged run's state is its verdict."""
    if snapshot.document is not None:
        return VERDICTS[snapshot.document.verdict]
    return STATES.get(snapshot.phase, STATES[Phase.JUDGING])


def draw(snapshot: Snapshot, cells: int, rows: int, ascii_only: bool) -> Drawing:
    """One line of facts and one of progress, or of what is the matter."""
    wide = cells >= 110
    good, bad, still_open = snapshot.gate_counts()
    gates = _gates(good, bad, still_open, wide)
    middle = _middle(snapshot, wide, roomy=cells >= 72)
    name = line(("seatrial", Role.ACCENT), "  ") if wide else ()
    tail = line("  ", (snapshot.short_id, Role.DIM)) if snapshot.run_id else ()
    room = cells - width(name) - width(tail) - width(middle) - width(gates) - 5
    scenario = fit(snapshot.scenario or "no run", max(room, 4))
    left = (*name, Span(scenario, Role.STRONG), *tail, Span("   "), *middle)
    word, role = words(snapshot)
    below = line((fit(word, cells), role)) if word else progress(snapshot, cells)
    return Drawing((spread(left, gates, cells), below)[:rows])


def _middle(snapshot: Snapshot, wide: bool, roomy: bool) -> Line:
    word, role = state(snapshot)
    parts: list[tuple[str, Role]] = [(word, role)]
    if snapshot.paused:
        parts.append(("  ‖ PAUSED", Role.WARN))
    if snapshot.quiet_s:
        parts.append((f"  no news for {snapshot.quiet_s} s", Role.WARN))
    tick = snapshot.tick
    if tick is not None:
        parts.append(("   " if wide else "  ", Role.TEXT))
        whole = f" / {clock(tick.duration_s)}" if tick.duration_s else ""
        parts.append((f"{clock(max(tick.t_s, 0.0))}{whole}", Role.TEXT))
        if whole and roomy and not snapshot.paused and snapshot.phase is Phase.RUNNING and not snapshot.quiet_s:
            parts.append((f"   {clock(max(tick.duration_s - tick.t_s, 0.0))} left", Role.DIM))
    return line(*parts)


def _gates(good: int, bad: int, still_open: int, wide: bool) -> Line:
    if not good + bad + still_open:
        return ()
    words = ("pass", "fail", "open") if wide else ("", "", "")
    counts = (
        (f"✓ {good}", Role.GOOD, words[0]),
        (f"✗ {bad}", Role.BAD, words[1]),
        (f"○ {still_open}", Role.DIM, words[2]),
    )
    out: Line = line(("gates ", Role.DIM)) if wide else ()
    for index, (text, role, word) in enumerate(counts):
        shown = Role.DIM if text.endswith(" 0") else role
        out = (*out, *line("  " if index else "", (f"{text} {word}".strip(), shown)))
    return out


def progress(snapshot: Snapshot, cells: int) -> Line:
    """The way so far as a bar, with a mark where each fault began."""
    tick = snapshot.tick
    if tick is None or cells <= 0:
        return line(("─" * cells, Role.RULE))
    share = tick.t_s / tick.duration_s if tick.duration_s else tick.done / max(tick.planned, 1)
    done = min(max(share, 0.0), 1.0)
    if snapshot.document is not None:
        done = 1.0
    full = round(done * cells)
    marks = {
        min(int(band.start_s / max(tick.duration_s or tick.t_s, 1e-9) * cells), cells - 1)
        for band in snapshot.bands
        if band.start_s >= 0
    }
    out: list[Span] = []
    at = 0
    for mark in sorted(marks):
        out += _bar(at, mark, full)
        out.append(Span("▼", Role.WARN))
        at = mark + 1
    return (*out, *_bar(at, cells, full))


def _bar(start: int, end: int, full: int) -> list[Span]:
    past = max(min(end, full) - start, 0)
    spans = (Span("━" * past, Role.ACCENT), Span("─" * (end - start - past), Role.RULE))
    return [span for span in spans if span.text]
