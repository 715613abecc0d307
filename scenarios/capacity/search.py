"""Which rate to try next, or what the capacity is: the decisions of a search, from the probes done so far. Pure.

Ramps come first, each from where the one before held, until one overloads the service: its completions say within a
third where the capacity lies. A steady probe above that shows what the service can do at most, and the others go where
the belief says that the capacity is. Where chance rules (a probe at the edge then shows too few busy spells to say
much), every other probe overloads again, because the rate at which a service works off a queue is known much sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scenarios.capacity.belief import Belief, believe, ceiling
from scenarios.capacity.probe import Kind, Probe
from scenarios.definition import ArrivalKind, Scenario, Search
from scenarios.toml.keys import MOST_REQUESTS

RAMP_FACTOR = 8.0
RAMP_S = 10.0
OVERLOAD = 1.15  # of the estimate: enough to keep a queue, little enough to be drained soon
SHORTEST_S = 8.0  # fewer and longer probes say more than many that are shorter than this
BETWEEN_S = 1.5  # between two probes: the last answers, and new load workers
DRAIN_S = 10.0  # kept back for the answers of the last probe
LEAST_STEADY = 3  # probes before a belief counts as settled
FEWEST = 5.0  # requests that a ramp must expect: where nothing comes back, fewer say no more


@dataclass(frozen=True, slots=True)
class Rules:
    """What a search may use and what it looks for. Rates per second, times in seconds."""

    search: Search
    start: float
    budget_s: float
    high: float
    cv2: float  # squared coefficient of variation of the gaps between arrivals


@dataclass(frozen=True, slots=True)
class Next:
    """The probe to do next; `rate` and `end_rate` are equal for a steady one."""

    kind: Kind
    rate: float
    end_rate: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Found:
    """The capacity with its interval; None where the probes give none on that side. `why` is one sentence."""

    rate: float | None
    low: float | None
    high: float | None
    why: str


def rules_of(scenario: Scenario, search: Search) -> Rules:
    """The search of a scenario: it starts at the rate of its arrivals and may take their duration in all.

    Without a `high` it stops where a plan could not hold the requests.
    """
    arrivals = scenario.arrivals
    high = MOST_REQUESTS / arrivals.duration_s if search.high is None else search.high
    start = min(max(arrivals.rate, search.low or 0.0), high)
    cv2 = arrivals.cv**2
    spread = {ArrivalKind.CONSTANT: 0.0, ArrivalKind.GAMMA: cv2, ArrivalKind.WEIBULL: cv2}
    return Rules(search, start, arrivals.duration_s, high, spread.get(arrivals.kind, 1.0))


def holds(probe: Probe, share: float) -> bool:
    """Whether the service kept its promise in the probe: enough good answers, and no backlog that grew."""
    return probe.due > 0 and probe.good_share >= share and (probe.kind is Kind.RAMP or not probe.growing)


def decide(rules: Rules, probes: Sequence[Probe], spent_s: float) -> Next | Found:
    """The next probe, or the end of the search; `spent_s` is how long it has taken so far."""
    search = rules.search
    left = search.probes - len(probes)
    shortest_s, room_s = min(search.probe_s, SHORTEST_S), rules.budget_s - spent_s - DRAIN_S
    length_s = min(search.probe_s, max(room_s / max(1, left) - BETWEEN_S, shortest_s))
    late = bool(probes) and room_s < shortest_s  # the first probe is sent all the same: without one nothing is known
    if left <= 0 or late or _is_over(rules, probes):
        return conclude(rules, probes)
    ramp = _next_ramp(rules, probes)
    if ramp is not None:
        return ramp
    steady = [probe for probe in probes if probe.kind is Kind.STEADY]
    saturated = next(probe for probe in reversed(probes) if probe.kind is Kind.RAMP)
    if holds(saturated, search.share):
        rate = rules.high  # no ramp overloaded the service
    elif not steady:
        rate = saturated.completion_rate * OVERLOAD
    else:
        belief = _belief(rules, probes)
        low, rate, high = _interval(belief, search.confidence)
        if len(steady) >= LEAST_STEADY and high / low <= 1 + search.precision:
            return conclude(rules, probes)
        top = ceiling(probes, search.share, rules.cv2)
        if top is not None and len(steady) % 2 == 0 and top.error > search.precision / 3:
            rate = top.served * OVERLOAD
    rate = min(max(rate, search.low or 0.0), rules.high)
    return Next(Kind.STEADY, rate, rate, length_s)


def conclude(rules: Rules, probes: Sequence[Probe]) -> Found:
    """What the probes done so far come to, be the search over or not."""
    share = rules.search.share
    held = [probe for probe in probes if holds(probe, share)]
    failed = [probe for probe in probes if not holds(probe, share)]
    steady = [probe for probe in probes if probe.kind is Kind.STEADY]
    if not failed:
        most = max((probe.rate for probe in held), default=None)
        what = "no probe was done" if most is None else f"every probe held, up to {max(p.end_rate for p in held):.4g}/s"
        return Found(None, most, None, f"The capacity was not reached: {what}.")
    if not any(point.goodput >= share for probe in probes for point in probe.curve):
        least = min(probe.rate for probe in failed)
        return Found(None, None, least, f"The service does not meet its SLO even at {least:.4g}/s.")
    if not steady:
        return Found(None, None, None, "The search ended before a steady probe was done.")
    low, rate, high = _interval(_belief(rules, probes), rules.search.confidence)
    wide = "" if high / low <= (1 + rules.search.precision) ** 2 else ", wider than the precision asked for"
    return Found(rate, low, high, f"Capacity {rate:.4g}/s, {low:.4g} to {high:.4g}/s{wide}.")


def _is_over(rules: Rules, probes: Sequence[Probe]) -> bool:
    """Whether the last probe settled it.

    A steady one: it held at the highest rate, or failed at the lowest, that may be. A ramp: nothing came back, and the
    next, lower one would be next to nothing.
    """
    if not probes:
        return False
    last, search = probes[-1], rules.search
    if last.kind is Kind.RAMP:
        lower = _lower_start(rules, last)
        return (
            lower is not None and not holds(last, search.share) and RAMP_S * (lower + _top(rules, lower)) / 2 < FEWEST
        )
    if last.rate >= rules.high:
        return holds(last, search.share)
    return search.low is not None and last.rate <= search.low and not holds(last, search.share)


def _next_ramp(rules: Rules, probes: Sequence[Probe]) -> Next | None:
    """The next ramp; None once one overloaded the service, or the last one held to the highest rate."""
    if any(probe.kind is Kind.STEADY for probe in probes):
        return None
    if not probes:
        start = rules.start
    else:
        last = probes[-1]
        if holds(last, rules.search.share):
            if last.end_rate >= rules.high:
                return None
            start = last.end_rate / 2  # the last part of a ramp may not have been felt yet
        else:
            lower = _lower_start(rules, last)
            if lower is None:
                return None
            start = lower
    return Next(Kind.RAMP, start, _top(rules, start), RAMP_S)


def _lower_start(rules: Rules, ramp: Probe) -> float | None:
    """Where to begin again after a ramp of which nothing came back; None where something did, or at the lowest rate."""
    start = ramp.rate / RAMP_FACTOR**2  # far too much
    return None if ramp.completion_rate > 0.0 or start < (rules.search.low or 0.0) else start


def _top(rules: Rules, start: float) -> float:
    """The rate at which a ramp ends."""
    return min(start * RAMP_FACTOR, rules.high)


def _belief(rules: Rules, probes: Sequence[Probe]) -> Belief:
    ramps = [probe for probe in probes if probe.kind is Kind.RAMP]
    estimate = ramps[-1].completion_rate or ramps[-1].rate
    return believe(estimate, rules.search.share, rules.cv2, probes)


def _interval(belief: Belief, confidence: float) -> tuple[float, float, float]:
    tail = (1 - confidence) / 2
    return belief.quantile(tail), belief.quantile(0.5), belief.quantile(1 - tail)
