"""Live figures that a run may be stopped by, or a fault ended by, and whether a condition on one of them holds. Pure.

A condition is fed tick by tick, four times a second. A figure that is not known just then satisfies no condition.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from scenarios.definition import Condition
from scenarios.observation import Outcome
from scenarios.tick import Tick

RECENT_S = 10.0
"""What shares of outcomes are taken over; the percentiles of a tick are over as long."""

_AWAITED = frozenset(Outcome) - {Outcome.CANCELLED, Outcome.UNSENT}
_ERRORS = _AWAITED - {Outcome.OK, Outcome.SHED}


@dataclass(frozen=True, slots=True)
class Figure:
    """A live figure. unit: "s", "share" or "count". of: from a tick and the one `RECENT_S` before it, or None."""

    name: str
    unit: str
    about: str
    of: Callable[[Tick, Tick], float | None]


def _share(wanted: frozenset[Outcome]) -> Callable[[Tick, Tick], float | None]:
    """Of the requests that ended between two ticks, less those that nobody waited for."""

    def read(now: Tick, before: Tick) -> float | None:
        total = _ended(now, before, _AWAITED)
        return _ended(now, before, wanted) / total if total > 0 else None

    return read


def _ended(now: Tick, before: Tick, outcomes: frozenset[Outcome]) -> int:
    return sum(now.outcomes.get(outcome.value, 0) - before.outcomes.get(outcome.value, 0) for outcome in outcomes)


def _figures() -> tuple[Figure, ...]:
    ended = f"share of the requests that ended in the last {RECENT_S:g} s"
    return (
        Figure("ttft_s.p50", "s", "median TTFT of the last 10 s", lambda now, _: now.ttft.p50),
        Figure("ttft_s.p95", "s", "95th percentile of TTFT in the last 10 s", lambda now, _: now.ttft.p95),
        Figure("ttft_s.p99", "s", "99th percentile of TTFT in the last 10 s", lambda now, _: now.ttft.p99),
        Figure("itl_s.p95", "s", "95th percentile of the gaps of streams in the last 10 s", lambda now, _: now.itl.p95),
        Figure("itl_s.p99", "s", "99th percentile of the gaps of streams in the last 10 s", lambda now, _: now.itl.p99),
        Figure("ok_rate", "share", f"{ended} that ended well", _share(frozenset({Outcome.OK}))),
        Figure("error_rate", "share", f"{ended} that failed", _share(_ERRORS)),
        Figure("shed_rate", "share", f"{ended} that were turned away", _share(frozenset({Outcome.SHED}))),
        Figure("in_flight", "count", "requests that are under way", lambda now, _: float(now.in_flight)),
        Figure("host_cpu", "share", "of this machine's cores in use", lambda now, _: now.host_cpu),
        Figure("host_memory", "share", "of this machine's memory in use", lambda now, _: now.host_memory),
        Figure("engine.restarts", "count", "times the engine was started again", lambda now, _: now.engine.restarts),
    )


FIGURES: Mapping[str, Figure] = MappingProxyType({figure.name: figure for figure in _figures()})


class Watch:
    """One condition over time. Outcomes count from the first tick that it is fed."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._figure = FIGURES[condition.metric]
        self._recent: deque[Tick] = deque()  # the newest that is `RECENT_S` old or older, and all since
        self._since_s: float | None = None
        self.value: float | None = None  # of the newest tick

    def holds(self, tick: Tick) -> bool:
        """Whether the figure has been beyond its bound, in every tick, for as long as the condition says."""
        self._recent.append(tick)
        while len(self._recent) > 1 and self._recent[1].t_s <= tick.t_s - RECENT_S:
            self._recent.popleft()
        self.value = self._figure.of(tick, self._recent[0])
        if not _beyond(self._condition, self.value):
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = tick.t_s
        return tick.t_s - self._since_s >= self._condition.for_s


def _beyond(condition: Condition, value: float | None) -> bool:
    if value is None:
        return False
    above, below = condition.above, condition.below
    return (above is not None and value > above) or (below is not None and value < below)


def in_words(condition: Condition) -> str:
    """`error_rate above 0.5 for 10 s`."""
    unit = " s" if FIGURES[condition.metric].unit == "s" else ""
    sides = (("above", condition.above), ("below", condition.below))
    bounds = " or ".join(f"{word} {value:g}{unit}" for word, value in sides if value is not None)
    return f"{condition.metric} {bounds}" + (f" for {condition.for_s:g} s" if condition.for_s else "")
