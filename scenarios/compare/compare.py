"""Run B against run A: each metric with its difference, an interval of that, and the size of the effect. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scenarios.compare.comparison import Change, Comparison, Metric
from scenarios.compare.resample import Blocks, Draws, blocks_of, draws_of, interval, percentiles, shares
from scenarios.compare.side import Side
from scenarios.observation import Outcome
from scenarios.summary.columns import Columns, Floats
from scenarios.summary.rates import share
from scenarios.summary.window import cut

CONFIDENCE = 0.95
TOLERANCE = 0.05
_TIMES = {"ttft_s": (0.5, 0.95, 0.99), "tpot_s": (0.5, 0.95), "e2e_s": (0.5, 0.95, 0.99)}
_SHARES = {"goodput": True, "error_rate": False, "shed_rate": False, "accuracy": True}  # name -> more is better
_METRICS = sum(map(len, _TIMES.values())) + len(_SHARES)
_LEAST = 20  # requests with such a value, in each run
_SEED = 20_261_124
_ORDER = (Change.WORSE, Change.UNCLEAR, Change.BETTER, Change.SAME, Change.MISSING)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The rows of one run that are compared."""

    columns: Columns
    side: Side
    blocks: Blocks
    draws: Draws


def compare(a: Side, b: Side, tolerance: float = TOLERANCE) -> Comparison:
    """B held against A; what changed by less than `tolerance` (relative for times, absolute for shares) is the same."""
    paired = bool(a.document.run.plan_hash) and a.document.run.plan_hash == b.document.run.plan_hash
    runs = _both(a, b, paired)
    rules = _Rules(1.0 - (1.0 - CONFIDENCE) / _METRICS, tolerance)  # Bonferroni: all intervals hold together
    metrics = [_time(name, rank, runs, rules) for name, ranks in _TIMES.items() for rank in ranks]
    metrics += [_share(name, higher, runs, rules) for name, higher in _SHARES.items()]
    metrics.sort(key=lambda metric: (_ORDER.index(metric.change), -abs(metric.effect or 0.0)))
    return Comparison(
        a=a.document.run,
        b=b.document.run,
        paired=paired,
        n=min(len(one.columns.index) for one in runs),
        confidence=CONFIDENCE,
        tolerance=tolerance,
        metrics=tuple(metrics),
        notes=tuple(_notes(a, b, paired)),
    )


def _both(a: Side, b: Side, paired: bool) -> tuple[_Drawn, _Drawn]:
    """The rows inside the measured windows: of a pair those inside both, and sent in both."""
    windows = [side.document.summary.window for side in (a, b)]
    start_s, end_s = max(one.start_s for one in windows), min(one.end_s for one in windows)
    rows = []
    for side, window in zip((a, b), windows, strict=True):
        begin, end = (start_s, end_s) if paired else (window.start_s, window.end_s)
        due_s, columns = side.columns.due_s, side.columns
        rows.append((due_s >= begin) & (due_s <= end) & ~columns.is_outcome(Outcome.UNSENT) & ~columns.odd)
    if paired:
        both = np.intersect1d(a.columns.index[rows[0]], b.columns.index[rows[1]])
        rows = [np.isin(side.columns.index, both) for side in (a, b)]
    drawn = []
    for number, (side, kept) in enumerate(zip((a, b), rows, strict=True)):
        columns = cut(side.columns, kept)
        due_s = columns.due_s
        blocks = blocks_of(due_s, float(due_s.min(initial=math.inf)), float(due_s.max(initial=-math.inf)))
        draws = draws_of(blocks.count, len(due_s), _SEED if paired else _SEED + number)
        drawn.append(_Drawn(columns, side, blocks, draws))
    if not paired:  # as many draws of both
        most = min(len(one.draws) for one in drawn)
        drawn = [_Drawn(one.columns, one.side, one.blocks, one.draws[:most]) for one in drawn]
    return drawn[0], drawn[1]


@dataclass(frozen=True, slots=True)
class _Rules:
    """level: the confidence of each interval; tolerance: relative for times, absolute for shares."""

    level: float
    tolerance: float

    def change(self, a: float, b: float, ends: tuple[float, float] | None, margin: float, higher: bool) -> Change:
        """What a difference comes to of which `ends` is the interval; `margin`: so much is the same."""
        if ends is None:
            return Change.UNCLEAR
        low, high = ends
        if (low > 0 and b - a > margin) or (high < 0 and a - b > margin):
            return Change.BETTER if (b > a) == higher else Change.WORSE
        return Change.SAME if low >= -margin and high <= margin else Change.UNCLEAR


def _time(name: str, rank: float, runs: tuple[_Drawn, _Drawn], rules: _Rules) -> Metric:
    """A percentile of a time; lower is better."""
    label = f"{name}.p{rank * 100:g}"
    taken = [one.columns.latency_s[name] for one in runs]
    told = [~np.isnan(values_s) for values_s in taken]
    a_s, b_s = (values_s[kept] for values_s, kept in zip(taken, told, strict=True))
    if min(len(a_s), len(b_s)) < max(_LEAST, math.ceil(1 / (1 - rank))):
        return _missing(label, "s", False, len(a_s), len(b_s))
    drawn = [
        percentiles(values_s, Blocks(one.blocks.of[kept], one.blocks.count), one.draws, rank)
        for one, values_s, kept in zip(runs, (a_s, b_s), told, strict=True)
    ]
    before, after = (float(np.quantile(values_s, rank, method="inverted_cdf")) for values_s in (a_s, b_s))
    ends = interval(drawn[1] - drawn[0], rules.level)
    return Metric(
        name=label,
        unit="s",
        higher_is_better=False,
        change=rules.change(before, after, ends, rules.tolerance * before, False),
        a=before,
        b=after,
        difference=after - before,
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        effect=cliffs_delta(a_s, b_s),
        n_a=len(a_s),
        n_b=len(b_s),
    )


def _share(name: str, higher: bool, runs: tuple[_Drawn, _Drawn], rules: _Rules) -> Metric:
    """A share of the requests."""
    a, b = (share(one.columns, one.side.slo, name) for one in runs)
    before, after = a.rate, b.rate
    if before is None or after is None or min(a.n, b.n) < _LEAST:
        return _missing(name, "share", higher, a.n, b.n)
    drawn = [shares(rows.hit, rows.over, one.blocks, one.draws) for rows, one in zip((a, b), runs, strict=True)]
    ends = interval(drawn[1] - drawn[0], rules.level)
    return Metric(
        name=name,
        unit="share",
        higher_is_better=higher,
        change=rules.change(before, after, ends, rules.tolerance, higher),
        a=before,
        b=after,
        difference=after - before,
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        effect=2 * math.asin(math.sqrt(after)) - 2 * math.asin(math.sqrt(before)),
        n_a=a.n,
        n_b=b.n,
    )


def cliffs_delta(a: Floats, b: Floats) -> float | None:
    """P(b > a) - P(b < a) over all pairs; None where one is empty (Cliff 1993, doi:10.1037/0033-2909.114.3.494)."""
    if not len(a) or not len(b):
        return None
    ranked = np.sort(a)
    below, above = np.searchsorted(ranked, b, side="left"), len(ranked) - np.searchsorted(ranked, b, side="right")
    return float((below - above).mean() / len(ranked))


def _missing(name: str, unit: str, higher: bool, n_a: int, n_b: int) -> Metric:
    return Metric(name=name, unit=unit, higher_is_better=higher, change=Change.MISSING, n_a=n_a, n_b=n_b)


def _notes(a: Side, b: Side, paired: bool) -> Iterator[str]:
    """What keeps the two from being alike."""
    one, other = a.document.run, b.document.run
    if not paired:
        yield "they did not send the same requests: seed, scenario or model name differ, so nothing is paired"
    if one.scenario != other.scenario:
        yield f"the scenarios differ: {one.scenario} and {other.scenario}"
    if a.slo != b.slo:
        yield "their SLOs differ, and goodput is held against each one's own"
    for run in (one, other):
        if run.state != "done":
            yield f"run {run.id} did not reach its end ({run.state})"
    for name in ("cpu_model", "usable_threads", "memory_bytes"):
        here, there = one.environment.get(name), other.environment.get(name)
        if here != there:
            yield f"the machines differ: {name} {here} and {there}"
    for side in (a, b):
        if side.document.verdict.value == "INVALID":
            yield f"run {side.document.run.id} is INVALID: {side.document.why}"
