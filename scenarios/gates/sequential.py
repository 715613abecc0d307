"""Gates that may be looked at all the time: each trial a hit or a miss, each bound a test that holds (stats.anytime).

A percentile is at or below a maximum exactly when at least a share q of all values is, and at or above a minimum when
at most a share q lies below it: a gate on either is a gate on a rate, and one test serves percentiles and shares alike.
Trials are taken in the order of the plan, and only as far as every request before has ended: those that end soon come
first, and they are not like the others. A bound is settled at the first look at which its test speaks, and stays so.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scenarios.definition import GateSpec
from scenarios.gates.bound import allows_no_exception
from scenarios.metrics import METRICS
from scenarios.result import GateVerdict
from scenarios.stats.alike import likeness
from scenarios.stats.anytime import RateTest
from scenarios.summary.columns import Floats


@dataclass(frozen=True, slots=True)
class BoundTest:
    """One bound of a gate. A value of a trial is seconds (a percentile) or 1.0 and 0.0 (a share: hit or not).

    good: the side of the test on which the bound is kept.
    """

    test: RateTest
    good: int
    at_or_below: float | None = None  # a hit is a value up to here
    below: float | None = None  # a hit is a value under this; with neither, a hit is 1.0

    def hits(self, values: Floats) -> npt.NDArray[np.bool_]:
        """Which of these trials count as hits."""
        if self.at_or_below is not None:
            return np.asarray(values <= self.at_or_below)
        return np.asarray(values < self.below if self.below is not None else values > 0.5)


def tests_of(gate: GateSpec) -> tuple[BoundTest, ...]:
    """One test for each bound that a value could break; a share is never below 0 nor above 1."""
    q = METRICS[gate.metric].quantile
    tests = []
    if q is not None:
        if gate.maximum is not None:
            tests.append(BoundTest(RateTest(q, gate.confidence), +1, at_or_below=gate.maximum))
        if gate.minimum is not None:
            tests.append(BoundTest(RateTest(q, gate.confidence), -1, below=gate.minimum))
        return tuple(tests)
    if gate.maximum is not None and gate.maximum < 1.0:
        tests.append(BoundTest(RateTest(gate.maximum, gate.confidence), -1))
    if gate.minimum is not None and gate.minimum > 0.0:
        tests.append(BoundTest(RateTest(gate.minimum, gate.confidence), +1))
    return tuple(tests)


class Spoken(NamedTuple):
    """A test as it stood when it was last looked at: side 0 is open; `alike` trials are worth one independent one."""

    bound: BoundTest
    side: int
    hits: int
    n: int
    alike: float


class Decision(NamedTuple):
    """What a gate came to after `n` trials (all that there are where it is open), and the tests behind it."""

    verdict: GateVerdict
    n: int
    spoken: tuple[Spoken, ...]


class Standing:
    """One gate as it stands after the trials so far. Trials cost the same, a few microseconds, however many there were.

    It looks at growing numbers of trials (1, 2, ... 20, then 5 % apart): what it finds at a number depends on these
    trials alone. A bound is broken by the plain test; it is kept only when the test says so for as many independent
    trials as these are worth (stats.alike), since neighbours in a queue share their fate. Where one exception decides
    (at most 0, at least 1) a gate can fail early, and pass only at the end.
    """

    __slots__ = ("_exceptional", "_gate", "_look", "_spoken", "_values", "decision")

    def __init__(self, gate: GateSpec) -> None:
        self._gate = gate
        self._exceptional = allows_no_exception(gate)
        self._values = array("d")
        self._look = 1
        self._spoken = {} if self._exceptional else dict.fromkeys(tests_of(gate))
        self.decision = Decision(GateVerdict.INCONCLUSIVE, 0, ())

    def __repr__(self) -> str:
        return f"Standing({self._gate.metric}, n={len(self._values)}, {self.decision.verdict})"

    @property
    def verdict(self) -> GateVerdict:
        """Pass or fail once it is decided, for good."""
        return self.decision.verdict

    def add(self, value: float) -> None:
        """Take in the next trial."""
        if self.verdict is not GateVerdict.INCONCLUSIVE:
            return
        self._values.append(value)
        if self._exceptional:
            if (value > 0.5) is (self._gate.maximum == 0.0):
                self.decision = Decision(GateVerdict.FAIL, len(self._values), ())
        elif len(self._values) == self._look:
            self.look()

    def add_all(self, values: Floats) -> None:
        """Take in the next trials, in order, as `add` does; not for gates where one exception decides."""
        while len(values) and self.verdict is GateVerdict.INCONCLUSIVE:
            space = self._look - len(self._values)
            self._values.frombytes(values[:space].tobytes())
            values = values[space:]
            if len(self._values) == self._look:
                self.look()

    def look(self, *, at_end: bool = False) -> None:
        """Ask every test that has not spoken yet; `at_end` also what the trials are worth where it stays open."""
        n = len(self._values)
        self._look = n + max(1, n // 20)
        if not n:
            return
        values = np.frombuffer(self._values)
        timed = METRICS[self._gate.metric].quantile is not None
        for bound, last in self._spoken.items():
            if last is not None and last.side:
                continue
            now = _ask(bound, values, timed=timed, anyway=at_end)
            self._spoken[bound] = now
            if now.side and now.side != bound.good:
                self.decision = Decision(GateVerdict.FAIL, n, (now,))
                return
        spoken = tuple(one for one in self._spoken.values() if one is not None)
        settled = all(one.side for one in spoken)
        self.decision = Decision(GateVerdict.PASS if settled else GateVerdict.INCONCLUSIVE, n, spoken)


def decide(gate: GateSpec, values: Floats) -> Decision:
    """The gate over the values of its trials, in the order of the plan: as `Standing`, and one more look at the end."""
    standing = Standing(gate)
    standing.add_all(values)
    if standing.verdict is GateVerdict.INCONCLUSIVE:
        standing.look(at_end=True)
    return standing.decision


def _ask(bound: BoundTest, values: Floats, *, timed: bool, anyway: bool) -> Spoken:
    hit = bound.hits(values)
    hits, n = int(hit.sum()), len(values)
    side = bound.test.side(hits, n)
    if side and side != bound.good:
        return Spoken(bound, side, hits, n, 1.0)
    alike = likeness(hit, values if timed else None) if side or anyway else 1.0
    return Spoken(bound, bound.test.side(hits / alike, n / alike), hits, n, alike)
