"""The faults of a run and what came of them: a table of fault by outcome, for a terminal and for Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from scenarios.report.layout import Paint, field, pad, wrapped
from scenarios.report.words import NOTHING, keyed, one_line, seconds, share
from scenarios.result import FaultOutcome, FaultResult

GLYPH = {
    FaultOutcome.HELD: "✓",
    FaultOutcome.DEGRADED: "≈",
    FaultOutcome.RECOVERED: "↻",
    FaultOutcome.LOST: "✗",
    FaultOutcome.STUCK: "■",
    FaultOutcome.SKIPPED: "-",
    FaultOutcome.UNKNOWN: "?",
}
ROLE = {
    FaultOutcome.HELD: "good",
    FaultOutcome.DEGRADED: "info",
    FaultOutcome.RECOVERED: "warn",
    FaultOutcome.LOST: "bad",
    FaultOutcome.STUCK: "bad",
    FaultOutcome.SKIPPED: "dim",
    FaultOutcome.UNKNOWN: "warn",
}
HEADS = ("outcome", "fault", "parameters", "out of the SLO for", "lost", "shed", "retried", "recovery")
_WIDTHS = (22, 22, 8, 5, 5, 7)  # outcome, fault, outside, lost, shed, retried
_NARROW = (0, 1, 3)  # those on less than 78 columns
_WHOLE = 78
_LEFT = "could not be undone"


def outcome(one: FaultResult) -> str:
    """`↻ recovered in 3.2 s`: glyph and words."""
    words = one.outcome.value
    if one.outcome is FaultOutcome.RECOVERED:
        words = f"recovered in {seconds(one.recovered_s)}"
    elif one.outcome is FaultOutcome.LOST:
        words = f"lost {one.lost:,}"
    return f"{GLYPH[one.outcome]} {words}"


def totals(faults: Sequence[FaultResult]) -> list[str]:
    """`3 held` for each outcome that there was, in the order of their gravity, and how many faults there were."""
    counts = Counter(one.outcome for one in faults)
    return [*(f"{counts[word]} {word.value}" for word in FaultOutcome if counts[word]), f"of {len(faults)}"]


def rows(faults: Sequence[FaultResult]) -> list[tuple[str, ...]]:
    """A row of HEADS for each fault; of one that was skipped the reason stands in place of the parameters."""
    return [_skipped(one) if one.outcome is FaultOutcome.SKIPPED else _row(one) for one in faults]


def lines(faults: Sequence[FaultResult], width: int, paint: Paint) -> Iterator[str]:
    """The section of the text report: the totals, then two lines for each fault."""
    yield from field("Faults", totals(faults), width)
    shown = range(len(_WIDTHS)) if width >= _WHOLE else _NARROW
    yield _line(("", "", "outside", "lost", "shed", "retried"), shown, paint)
    for one in faults:
        word = outcome(one)
        if one.outcome is FaultOutcome.SKIPPED:
            yield _line((word, one_line(one.kind, 40)), (0, 1), paint, ROLE[one.outcome])
            yield from wrapped(one_line(one.why), width, "    ")
            continue
        cells = (word, one_line(one.kind, 40), *_numbers(one))
        yield _line(cells, shown, paint, ROLE[one.outcome])
        yield from (paint("dim", line) for line in wrapped(", ".join(_more(one)), width, "    "))


def _line(cells: Sequence[str], shown: Iterable[int], paint: Paint, role: str = "dim") -> str:
    first, *others = [pad(cells[at], _WIDTHS[at], right=at > 1) for at in shown]
    return "  ".join([paint(role, first), *others]).rstrip()


def _numbers(one: FaultResult) -> tuple[str, ...]:
    return seconds(one.out_s), f"{one.lost:,}", f"{one.shed:,}", f"{one.retried:,}"


def _more(one: FaultResult) -> list[str]:
    """What the columns have no room for; what is nought is not told."""
    at = f"at {seconds(one.at_s)}"
    if one.end_s is not None and one.end_s > one.at_s:
        at += f" for {seconds(one.end_s - one.at_s)}"
    parts = [at, *([one_line(one.words)] if one.words else []), f"{one.requests:,} requests"]
    if one.detected_s is not None:
        parts.append(f"noticed after {seconds(one.detected_s)}")
    parts += [f"{count:,} {what}" for what, count in (("stuck", one.stuck), ("done twice", one.duplicated)) if count]
    if one.budget_spent:
        parts.append(f"{share(one.budget_spent)} of the error budget")
    if not one.undone:
        parts.append(_LEFT)
    return [*parts, *(f"{_label(name)} {keyed(name, value)}" for name, value in one.facts.items())]


def _label(name: str) -> str:
    return one_line(name, 30).removesuffix("_s").replace("_", " ")


def _row(one: FaultResult) -> tuple[str, ...]:
    recovery = NOTHING if one.recovered_s is None else seconds(one.recovered_s)
    words = [one_line(one.words), "" if one.undone else _LEFT]
    return (outcome(one), one_line(one.kind, 40), ", ".join(filter(None, words)), *_numbers(one), recovery)


def _skipped(one: FaultResult) -> tuple[str, ...]:
    return (outcome(one), one_line(one.kind, 40), one_line(one.why), "", "", "", "", "")
