"""Target 9: how often a gate passes a service that is just on the bad side of its bound, and what looking early saves.

Each case draws runs from a known distribution and lets the real gates judge them at 99 % confidence. The bound is the
true percentile less a hair (or the true share itself), so that every GO is a false one and the chance of it is largest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scenarios.definition import ArrivalKind, Arrivals, GateSpec, Over, Slo
from scenarios.gates import Samples, judge
from scenarios.metrics import PERCENTILES
from scenarios.observation import Outcome
from scenarios.result import GateResult, GateVerdict
from scenarios.stats import binomial, warmup
from scenarios.summary import SummaryContext
from scenarios.summary.columns import NONE, OUTCOMES, Columns, Floats
from tests.benchmarks.load_bench.table import Row

TARGET = 9
TITLE = "gates: false GO, and what looking early saves"
RUNS, QUICK_RUNS = 10_000, 400
CONFIDENCE = 0.99
ASKED = 0.01
FEWEST, MOST = 50, 5000
HAIR = 1 - 1e-9
PLANNED = 5000  # requests of a run that a sequential gate may end early

Rng = np.random.Generator
Draw = Callable[[Rng, int], Floats]
_OK, _ERROR = OUTCOMES.index(Outcome.OK), OUTCOMES.index(Outcome.HTTP_5XX)
_CONTEXT = SummaryContext(
    slo=Slo(ttft_s=1.0), arrivals=Arrivals(kind=ArrivalKind.POISSON, duration_s=1.0, rate=1.0), even=True
)


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """A distribution of TTFT in seconds, and a bound that it just does not keep."""

    name: str
    draw: Draw
    bound: Callable[[float], float]  # quantile -> the largest maximum that the truth breaks


def lognormal(rng: Rng, n: int) -> Floats:
    return rng.lognormal(-1.5, 0.8, n)


def tied(rng: Rng, n: int) -> Floats:
    """A clock with steps of 50 ms."""
    return np.ceil(rng.lognormal(-1.5, 0.8, n) / 0.05) * 0.05


def bimodal(rng: Rng, n: int) -> Floats:
    """One in twenty misses the cache, and is twenty times slower."""
    return np.where(rng.random(n) < 0.05, 20.0, 1.0) * rng.lognormal(-2.0, 0.2, n)


def _from_sample(draw: Draw) -> Callable[[float], float]:
    """The true quantile from two million draws: its own error is far below that of any run."""
    known = np.sort(draw(np.random.default_rng(20), 2_000_000))
    return lambda q: float(known[int(q * len(known))]) * HAIR


def _lognormal_bound(q: float) -> float:
    from scipy.special import ndtri

    return float(np.exp(-1.5 + 0.8 * ndtri(q))) * HAIR


def queue(load: float) -> Draw:
    """Times in a queue with one server, Poisson arrivals and exponential service of 0.1 s: neighbours are alike."""

    def draw(rng: Rng, n: int) -> Floats:
        before = int(20 / (1 - load) ** 2)  # it starts empty: until it has forgotten that
        service = rng.exponential(1.0, n + before)
        steps = service[:-1] - rng.exponential(1 / load, n + before - 1)
        sums = np.concatenate(([0.0], np.cumsum(steps)))
        wait = sums - np.minimum.accumulate(sums)  # Lindley's recursion
        return 0.1 * (wait + service)[before:]

    return draw


def _queue_bound(load: float) -> Callable[[float], float]:
    return lambda q: float(-0.1 * np.log1p(-q) / (1 - load)) * HAIR


class Case(NamedTuple):
    """A gate and runs that are just on the bad side of it."""

    what: str
    gate: GateSpec
    columns: Callable[[Rng], Columns]


@cache
def cases() -> tuple[Case, ...]:
    """All of them."""
    shapes = (
        (Shape("lognormal", lognormal, _lognormal_bound), ("p50", "p95", "p99")),
        (Shape("ties of 50 ms", tied, _from_sample(tied)), ("p95",)),
        (Shape("two modes", bimodal, _from_sample(bimodal)), ("p95",)),
        *((Shape(f"queue at {load:.0%}", queue(load), _queue_bound(load)), ("p95",)) for load in (0.5, 0.8)),
    )
    found = []
    for sequential in (False, True):
        how = "sequential" if sequential else "at the end"
        for shape, percentiles in shapes:
            for name in percentiles:
                bound = shape.bound(PERCENTILES[name])
                gate = GateSpec(f"ttft_s.{name}", None, bound, CONFIDENCE, sequential=sequential)
                found.append(Case(f"ttft_s.{name}, {shape.name}, {how}", gate, _times(shape.draw)))
        for rate in (0.001, 0.01, 0.5, 0.99):
            gate = GateSpec("ok_rate", rate, None, CONFIDENCE, sequential=sequential)
            found.append(Case(f"ok_rate min {rate:g}, {how}", gate, _answers(rate * HAIR)))
            gate = GateSpec("error_rate", None, rate, CONFIDENCE, sequential=sequential)
            found.append(Case(f"error_rate max {rate:g}, {how}", gate, _answers(1 - rate / HAIR)))
        gate = GateSpec("ttft_s.p95", None, _lognormal_bound(0.95), CONFIDENCE, "", sequential, Over.PLANNED)
        found.append(Case(f"ttft_s.p95 of all planned, {how}", gate, _some_never(0.95)))
    gate = GateSpec("itl_s.p95", None, _gap_bound(0.95), CONFIDENCE)
    found.append(Case("itl_s.p95, streams of unlike speed", gate, _streams))
    gate = GateSpec("ttft_s.p95", None, _lognormal_bound(0.95), CONFIDENCE)
    found.append(Case("ttft_s.p95, lognormal, after a warm-up cut", gate, _after_warmup))
    gate = GateSpec("drift.accuracy_drop", None, 0.1, CONFIDENCE)
    found.append(Case("drift.accuracy_drop max 0.1", gate, _two_eras(0.95, 0.85 - 1e-9)))
    return tuple(found)


def measure(quick: bool) -> list[Row]:
    """One row for each case, the share of runs that were a false GO; then what sequential gates save."""
    runs = QUICK_RUNS if quick else RUNS
    with ProcessPoolExecutor() as pool:
        rows = list(pool.map(false_go, range(len(cases())), [runs] * len(cases())))
    return rows + _savings(max(100, runs // 20))


def false_go(number: int, runs: int) -> Row:
    """The row of one case. The same number draws the same runs."""
    case, rng = cases()[number], np.random.default_rng(number)
    count = sum(judged(case.gate, case.columns(rng)).verdict is GateVerdict.PASS for _ in range(runs))
    low, high = binomial.interval(count, runs, CONFIDENCE)
    note = f"{count} of {runs} runs, 99 % interval {low:.2%} to {high:.2%}"
    return Row(TARGET, f"false GO: {case.what}", 100 * count / runs, "%", 100 * ASKED, note=note)


def _savings(runs: int) -> list[Row]:
    """How many requests a sequential gate needs, beside those that a single look of the same confidence would."""
    rows = []
    for truth, verdict in ((0.98, GateVerdict.PASS), (0.965, GateVerdict.PASS), (0.90, GateVerdict.FAIL)):
        rng = np.random.default_rng(7)
        gate = GateSpec("ok_rate", 0.95, None, CONFIDENCE, sequential=True)
        results = [judged(gate, _answers(truth, PLANNED)(rng)) for _ in range(runs)]
        used = np.array([one.n if one.verdict is verdict else PLANNED for one in results])
        settled = sum(one.verdict is verdict for one in results)
        note = (
            f"ends after {used.mean():.0f} on average, p90 {np.quantile(used, 0.9):.0f}; {settled} of {runs} settled; "
            f"a single look needs {_single_look(truth, 0.95)}"
        )
        what = f"requests saved by a sequential ok_rate min 0.95, truth {truth:g}, {PLANNED} planned"
        rows.append(Row(TARGET, what, 100 * (1 - float(used.mean()) / PLANNED), "%", note=note))
    return rows


def _single_look(truth: float, bound: float) -> int:
    """The smallest n at which nine of ten runs that look once, at the end, are settled."""
    from scipy.special import bdtrik

    for n in range(20, PLANNED, 20):
        hits = np.floor(bdtrik(0.1 if truth > bound else 0.9, n, truth))
        low, high = binomial.interval(float(hits), n, CONFIDENCE)
        if low > bound or high < bound:
            return n
    return PLANNED


def judged(gate: GateSpec, columns: Columns) -> GateResult:
    """The real verdict on these columns."""
    (result,) = judge([gate], Samples(columns, columns, _CONTEXT))
    return result


# ---- runs as columns


def made(n: int, times_s: Floats | None = None, **changes: Any) -> Columns:
    """`n` requests, one each 10 ms, that ended ok with their first text after so long, NaN: never; with `changes`."""
    times_ns = np.full((6, n), NONE)
    times_ns[:3] = np.arange(n) * 10_000_000  # due, end, sent
    if times_s is not None:
        answered = ~np.isnan(times_s)
        times_ns[3, answered] = times_ns[0, answered] + np.rint(times_s[answered] * 1e9).astype(np.int64)
        times_ns[5] = times_ns[3]  # the first text is the last
    columns = Columns(
        index=np.arange(n),
        times_ns=times_ns,
        outcome=np.full(n, _OK, dtype=np.int8),
        odd=np.zeros(n, dtype=np.bool_),
        has_text=np.ones(n, dtype=np.bool_),
        hangs_up=np.zeros(n, dtype=np.bool_),
        profile=np.zeros(n, dtype=np.int16),
        profiles=("made",),
        era_b=np.zeros(n, dtype=np.bool_),
        tokens=np.full(n, 1),
        correct=np.full(n, -1, dtype=np.int8),
        gap_s=np.empty(0),
        gap_row=np.empty(0, dtype=np.int32),
        gap_share=1.0,
        flagged={},
        findings={},
    )
    return dataclasses.replace(columns, **changes)


def size(rng: Rng) -> int:
    """The length of a run: every order of magnitude is as likely."""
    return int(np.exp(rng.uniform(np.log(FEWEST), np.log(MOST))))


def _times(draw: Draw) -> Callable[[Rng], Columns]:
    def columns(rng: Rng) -> Columns:
        times_s = draw(rng, size(rng))
        return made(len(times_s), times_s=times_s)

    return columns


def _answers(ok: float, n: int | None = None) -> Callable[[Rng], Columns]:
    def columns(rng: Rng) -> Columns:
        count = n or size(rng)
        return made(count, outcome=np.where(rng.random(count) < ok, _OK, _ERROR).astype(np.int8))

    return columns


def _some_never(q: float) -> Callable[[Rng], Columns]:
    """Requests of which a share is never answered; the rest are so much faster that the percentile is the same."""
    from scipy.special import ndtri

    never = (1 - q) / 2

    def columns(rng: Rng) -> Columns:
        n = size(rng)
        lost = rng.random(n) < never
        place = rng.random(n) * (1 - never)  # the place of an answered request among all
        times_s = np.where(lost, np.nan, np.exp(-1.5 + 0.8 * ndtri(place)))
        outcome = np.where(lost, _ERROR, _OK).astype(np.int8)
        return made(n, times_s=times_s, outcome=outcome)

    return columns


def _gaps(rng: Rng, streams: int, length: int) -> Floats:
    """Gaps of streams each of which has a speed of its own, and gaps that follow each other."""
    speed = rng.normal(0.0, 0.4, (streams, 1))
    noise = rng.normal(0.0, 0.5, (streams, length))
    return np.exp(-3.0 + speed + noise)


def _gap_bound(q: float) -> float:
    from scipy.special import ndtri

    return float(np.exp(-3.0 + np.hypot(0.4, 0.5) * ndtri(q))) * HAIR


def _streams(rng: Rng) -> Columns:
    streams, length = int(np.exp(rng.uniform(np.log(FEWEST), np.log(500)))), int(rng.integers(5, 60))
    gaps: npt.NDArray[np.float64] = _gaps(rng, streams, length).ravel()
    return made(streams, gap_s=gaps, gap_row=np.repeat(np.arange(streams, dtype=np.int32), length))


def _after_warmup(rng: Rng) -> Columns:
    """As lognormal, with what the warm-up rule takes for warm-up left out, though there was none."""
    times_s = lognormal(rng, size(rng))
    times_s = times_s[warmup.find(times_s).cut :]
    return made(len(times_s), times_s=times_s)


def _two_eras(before: float, after: float) -> Callable[[Rng], Columns]:
    def columns(rng: Rng) -> Columns:
        n = size(rng)
        era_b = rng.random(n) < 0.5
        correct = (rng.random(n) < np.where(era_b, after, before)).astype(np.int8)
        return made(n, era_b=era_b, correct=correct)

    return columns
