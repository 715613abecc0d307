"""The summary of a run. Pure: the same observations give the same numbers, whenever it is rebuilt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from scenarios.definition import WindowSpec
from scenarios.errors import MiscountError
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.result import Latency, Summary
from scenarios.stats.order import Floats, quantile
from scenarios.summary.columns import OUTCOMES, Columns, Mask, columns_of
from scenarios.summary.context import SummaryContext
from scenarios.summary.faults import fault_results
from scenarios.summary.rates import share
from scenarios.summary.shadows import aftermath_of
from scenarios.summary.window import Measured, measured_window

MOST_NAMED = 20  # fingerprints


def summarise(
    requests: Sequence[PlannedRequest],
    observations: Sequence[Observation],
    judged: Sequence[Judged],
    findings: Sequence[Finding],
    context: SummaryContext,
) -> Summary:
    """Every number of the summary, by the definitions of DESIGN.md; see summarise_columns.

    Raises MiscountError unless there is exactly one observation for each request.
    """
    return summarise_columns(columns_of(requests, observations, judged, findings), context)


def summarise_columns(whole: Columns, context: SummaryContext, measured: Measured | None = None) -> Summary:
    """The same from columns that were read before, so that gates and summary share one reading.

    Outcomes, findings, faults and recovery are of the whole run, all else of the requests due in the measured window
    (default: from the first to the last due time). Goodput is the share of the planned ones but the odd probes, which
    `odd` judges. Percentiles are nearest-rank (stats.order). Throughput counts the tokens and requests that ended ok
    inside the window, whenever they were due.
    """
    measured = measured or measured_window(whole, WindowSpec(), cut_off=False)
    columns = measured.columns
    aftermath = aftermath_of(whole, context)
    counts = np.bincount(whole.outcome, minlength=len(OUTCOMES))
    outcomes = {outcome.value: int(count) for outcome, count in zip(OUTCOMES, counts, strict=True)}
    if sum(outcomes.values()) != len(whole.index):
        raise MiscountError(f"{sum(outcomes.values())} outcomes for {len(whole.index)} requests; a bug of the harness")
    window_s = measured.length_s
    goodput = share(columns, context.slo, "goodput")
    done = columns.is_outcome(Outcome.OK)
    with_usage = done & (columns.tokens >= 0)
    probes = share(columns, context.slo, "odd.correct")
    latency = {name: latency_of(columns, name) for name in ("ttft_s", "ttfa_s", "tpot_s", "e2e_s", "shed_s")}
    judged_by = ~columns.odd if (done & ~columns.odd).any() else np.ones_like(done)  # probes may not ask for usage
    tokens_from = _tokens_from(done & judged_by, with_usage & judged_by)
    ended = whole.is_outcome(Outcome.OK) & (whole.end_s >= measured.window.start_s)
    ended &= whole.end_s <= measured.window.end_s
    tokens = int(whole.tokens[ended & (whole.tokens >= 0)].sum()) if with_usage.any() else None
    return Summary(
        planned=len(whole.index),
        outcomes=outcomes,
        window_s=window_s,
        goodput=goodput.rate,
        goodput_rate=_per_second(goodput.hits, window_s),
        throughput={
            "requests_per_s": _per_second(int(ended.sum()), window_s),
            "tokens_per_s": _per_second(tokens, window_s),
        },
        tokens_from=tokens_from,
        ttft_s=latency["ttft_s"],
        ttfa_s=latency["ttfa_s"],
        itl_s=_latency(columns.gap_s),
        tpot_s=latency["tpot_s"],
        e2e_s=latency["e2e_s"],
        shed_s=latency["shed_s"],
        accuracy=_accuracy(columns),
        findings=dict(whole.findings),
        drift=dict(context.drift),
        odd={"probes": probes.n, "correct": probes.hits, "wrong": probes.n - probes.hits},
        recovery=aftermath.recovery,
        instrument=dict(context.instrument),
        not_measured=_not_measured(columns, context, tokens_from, any_sent=bool(whole.sent.any())),
        capacity=context.capacity,
        window=measured.window,
        faults=fault_results(whole, context, aftermath),
        fingerprints=dict(islice(whole.fingerprints.items(), MOST_NAMED)),
    )


def latency_of(columns: Columns, name: str) -> Latency:
    """Percentiles of one latency; the raw ones, from sent, where due plays a part in it."""
    raw = columns.raw_s.get(name)
    return _latency(columns.latency_s[name], raw)


def _latency(values: Floats, raw: Floats | None = None) -> Latency:
    ordered = _ordered(values)
    points = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
    from_sent = _ordered(raw) if raw is not None else None
    return Latency(
        n=len(ordered),
        p50=quantile(ordered, 0.50),
        p90=quantile(ordered, 0.90),
        p95=quantile(ordered, 0.95),
        p99=quantile(ordered, 0.99),
        max=float(ordered[-1]) if len(ordered) else None,
        raw={} if from_sent is None else {name: quantile(from_sent, q) for name, q in points.items()},
    )


def _ordered(values: Floats) -> Floats:
    """Sorted upwards without the missing ones (sorting puts NaN last)."""
    ordered = np.sort(values)
    return ordered[: len(ordered) - int(np.isnan(ordered).sum())]


def _per_second(count: int | None, window_s: float) -> float | None:
    return count / window_s if count is not None and window_s > 0 else None


def _tokens_from(done: Mask, with_usage: Mask) -> str:
    counted, all_done = int(with_usage.sum()), int(done.sum())
    if not counted:
        return "none"
    return "usage" if counted == all_done else "mixed"


def _accuracy(columns: Columns) -> dict[str, dict[str, float | int | None]]:
    """Exact answers among the ok ones with a known answer: all, all/era, each profile, each profile/era."""
    judged = (columns.correct >= 0) & ~columns.odd
    slices: dict[str, Mask] = {"all": judged}
    for number, profile in enumerate(columns.profiles):
        rows = judged & (columns.profile == number)
        if rows.any():
            slices[profile] = rows
    result: dict[str, dict[str, float | int | None]] = {}
    for name, rows in slices.items():
        parts = {name: rows, f"{name}/A": rows & ~columns.era_b, f"{name}/B": rows & columns.era_b}
        for label, part in parts.items():
            n, hits = int(part.sum()), int((part & (columns.correct == 1)).sum())
            if n or label == "all":
                result[label] = {"n": n, "correct": hits, "rate": hits / n if n else None}
    return result


def _not_measured(columns: Columns, context: SummaryContext, tokens_from: str, *, any_sent: bool) -> dict[str, str]:
    """Why a number is missing or covers less than its name says."""
    why: dict[str, str] = {}
    if not columns.sent.any():
        why["throughput"] = "no request due in the measured window was sent" if any_sent else "no request was sent"
    elif tokens_from == "none":
        why["throughput.tokens_per_s"] = "the target reports no token usage"
    elif tokens_from == "mixed":
        why["throughput.tokens_per_s"] = "some answers came without token usage; their tokens are not counted"
    paced = int((~np.isnan(columns.latency_s["tpot_s"])).sum())
    if not paced:
        why["tpot_s"] = "no answer had two tokens, counted by the target, in two events or more"
    if not len(columns.gap_s):
        why["itl_s"] = "no stream had two events with text"
    ok = int((columns.is_outcome(Outcome.OK) & ~columns.odd).sum())
    if context.slo.tpot_s is not None and paced < ok:
        why["goodput"] = f"the SLO on time per token could not be checked for {ok - paced} of {ok} ok requests"
    if not (columns.correct >= 0).any():
        why["accuracy"] = "no answer could be compared with a known one"
    if context.engine_restarts is None:
        why["engine.restarts"] = "the target is not ours" if not context.ours else "the supervisor told no number"
    return why
