"""Two runs side by side, for people and for a pull request; regressions first."""

from __future__ import annotations

from scenarios.compare import Change, Comparison, Metric
from scenarios.report.layout import Paint, cut, field, pad, wrapped
from scenarios.report.words import NOTHING, one_line, seconds, share
from scenarios.result import RunInfo
from scenarios.sanitise import markdown_cell

GLYPH = {Change.WORSE: "✗", Change.BETTER: "✓", Change.SAME: "=", Change.UNCLEAR: "?", Change.MISSING: "-"}
_ROLE = {Change.WORSE: "bad", Change.BETTER: "good", Change.UNCLEAR: "warn"}
_HEADS = ("", "metric", "A", "B", "B - A", "interval", "effect")
_WIDTHS = (14, 13, 10, 10, 11, 24, 7)


def render_comparison(found: Comparison, width: int, paint: Paint) -> str:
    """The table on a terminal, one metric a line; at fewer columns the effect and the interval are left out."""
    columns = 7 if width >= 91 else 6 if width >= 84 else 5
    role = "bad" if found.regressions else "good"
    lines = [*(paint(role, line) for line in wrapped(headline(found), width)), ""]
    for label, run in (("A", found.a), ("B", found.b)):
        lines += field(label, _run(run), width)
    lines += field("How", _how(found), width)
    for note in found.notes:
        lines += wrapped(f"note: {note}", width)
    lines += ["", cut(_line(_HEADS, columns), width)]
    for metric in found.metrics:
        role = _ROLE.get(metric.change, "dim")
        lines.append(paint(role, cut(_line(_cells(metric), columns), width)))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def render_comparison_markdown(found: Comparison) -> str:
    """GitHub-flavoured Markdown. Every text from outside is escaped."""
    lines = [f"## {headline(found)}", ""]
    lines += [f"- {label}: {markdown_cell(', '.join(_run(run)))}" for label, run in (("A", found.a), ("B", found.b))]
    lines += [f"- {', '.join(_how(found))}", *(f"- note: {markdown_cell(note)}" for note in found.notes), ""]
    lines += ["| change | metric | A | B | B - A | interval | effect |", "|---|---|--:|--:|--:|---|--:|"]
    lines += [f"| {' | '.join(map(markdown_cell, _cells(metric)))} |" for metric in found.metrics]
    return "\n".join(lines) + "\n"


def headline(found: Comparison) -> str:
    """ "✗ 2 of 12 metrics are worse: ttft_s.p95, goodput"."""
    worse, told = found.regressions, [one for one in found.metrics if one.change is not Change.MISSING]
    if worse:
        verb = "is" if len(worse) == 1 else "are"
        return f"✗ {len(worse)} of {len(told)} metrics {verb} worse: {', '.join(one.name for one in worse)}"
    unclear = sum(one.change is Change.UNCLEAR for one in told)
    rest = f"; {unclear} cannot be told from chance" if unclear else ""
    return f"✓ none of {len(told)} metrics is surely worse{rest}"


def _how(found: Comparison) -> tuple[str, ...]:
    return (
        f"{found.n:,} requests {'one by one' if found.paired else 'as two samples'}",
        f"intervals of {found.confidence * 100:g} % together",
        "bootstrap over blocks of time",
        f"within {found.tolerance * 100:g} % is the same",
    )


def _run(run: RunInfo) -> tuple[str, ...]:
    parts = (run.id, run.scenario, f"seed {run.seed}", run.model, run.target, run.started_at)
    return tuple(one_line(part, 100) for part in parts)


def _cells(metric: Metric) -> tuple[str, ...]:
    number = seconds if metric.unit == "s" else share
    said = f"{GLYPH[metric.change]} {metric.change.value}"
    if metric.a is None or metric.b is None or metric.difference is None:
        return (said, metric.name, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)
    ends = NOTHING if metric.low is None or metric.high is None else " to ".join(
        _signed(end, number(abs(end))) for end in (metric.low, metric.high)
    )  # fmt: skip
    effect = NOTHING if metric.effect is None else f"{metric.effect:+.2f}"
    difference = _signed(metric.difference, number(abs(metric.difference)))
    return (said, metric.name, number(metric.a), number(metric.b), difference, ends, effect)


def _signed(value: float, shown: str) -> str:
    return f"{'-' if value < 0 else '+' if value > 0 else ''}{shown}"


def _line(cells: tuple[str, ...], columns: int) -> str:
    parts = zip(cells[:columns], _WIDTHS, strict=False)
    return "  ".join(pad(cell, width, right=2 <= place <= 4) for place, (cell, width) in enumerate(parts))
