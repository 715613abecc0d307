"""What to try next: every kind alone at the moment where it tells most, then ones, twos and threes by chance. Pure.

The same seed, kinds and lessons give the same tries.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from scenarios.chaos.feel import FIRST_S, Feel, Moment
from scenarios.chaos.gates import settle_s
from scenarios.chaos.one_try import PLAIN, Try
from scenarios.definition import Blast, Chaos, Clients, Disconnect, FaultSpec, Retrying
from scenarios.faults.kinds import FaultKind, Param, Unit, Via

CHECKS = 2  # requests that come when the faults are over and the target has had its time to settle
CHECK_GAP_S = 0.2
BURST = 4  # requests at once that fill a few places of most servers
LENGTHS_S = (0.5, 1.0, 2.0)
MOST_REFUSALS = 2
HEAVIEST = 8.0  # a kind that tells much is drawn at most so much more often than one that tells nothing
_NEW_AT_LAST = 300  # draws that were all tried before: there is nothing new

_SIZES = (1, 1, 2, 2, 2, 3)  # faults of a try, as often as they stand here

# Where a kind alone tells most; of others see `_moments`. The kinds at the top are tried first.
_TELLING: dict[str, tuple[Moment, ...]] = {
    "network.reset": (Moment.PREFILL, Moment.STREAM),
    "clients.hang_up": (Moment.PREFILL, Moment.BEFORE),
    "engine.kill": (Moment.STREAM, Moment.PREFILL),
    "engine.term": (Moment.STREAM,),
    "engine.stop": (Moment.PREFILL,),
    "network.half_open": (Moment.PREFILL, Moment.STREAM),
    "network.blackhole": (Moment.STREAM,),
    "network.close": (Moment.STREAM,),
    "clients.long_contexts": (Moment.BEFORE,),
    "clients.slow_readers": (Moment.BEFORE,),
}


class Pattern(StrEnum):
    """How the requests of a try come, before those that check."""

    LONE = "lone"
    BURST = "burst"  # all at once
    STREAM = "stream"  # evenly, several under way
    TURNS = "turns"  # one when the one before is over


# no slow readers: what they do not get in time is their own doing; clients.slow_readers has some beside the others
_MANNERS = (
    Clients(disconnect=Disconnect(0.5, 1)),
    Clients(retry=Retrying(1.0, 3, 0.2)),
)


class Draws:
    """The tries of a search, none of them twice."""

    def __init__(self, seed: int, kinds: Sequence[FaultKind], chaos: Chaos, blast: Blast, feel: Feel) -> None:
        self._rng = random.Random(f"seatrial chaos {seed}")
        # what is not done on the way hits all there is
        self._kinds = {kind.name: kind for kind in kinds if kind.via is Via.PROXY or blast.share == 1.0}
        self._weights = dict.fromkeys(self._kinds, 1.0)
        self._chaos = chaos
        self._most_faults = min(chaos.most_faults, blast.at_once)
        self._blast = blast
        self._feel = feel
        self._known: set[Try] = set()
        self._refused: Counter[str] = Counter()
        self._alone = self._each_alone()

    def next(self) -> Try | None:
        """The next one; None when there seems to be nothing new."""
        for _ in range(_NEW_AT_LAST):
            one = next(self._alone, None) or self._by_chance()
            if one not in self._known:
                self._known.add(one)
                return one
        return None

    def learn(self, one: Try) -> None:
        """The target did worse than it should: such faults are drawn more often."""
        for fault in one.faults:
            if fault.kind in self._kinds:
                self._weights[fault.kind] = min(HEAVIEST, self._weights[fault.kind] * 1.5)

    def refuse(self, kind: str) -> bool:
        """A fault of this kind could not be brought about; once more than that, and there are no others. Whether so."""
        self._refused[kind] += 1
        given_up = self._refused[kind] >= MOST_REFUSALS
        if given_up:
            self._kinds.pop(kind, None)
        return given_up

    def _each_alone(self) -> Iterator[Try]:
        if not self._most_faults:
            return
        names = list(self._kinds)
        self._rng.shuffle(names)
        telling = [name for name in _TELLING if name in self._kinds]
        order = [*telling, *(name for name in names if name not in _TELLING)]
        for nth in range(max(len(moments) for moments in _TELLING.values())):
            for kind in (self._kinds[name] for name in order if name in self._kinds):
                if nth < len(moments := _moments(kind)):
                    yield self._put_together(Pattern.BURST, BURST, (self._plainly(kind, moments[nth]),), PLAIN)

    def _by_chance(self) -> Try:
        rng = self._rng
        pattern, count = rng.choice(tuple(Pattern)), rng.choice((1, 2, 3, 4, 8, 16))
        size = min(rng.choice(_SIZES), self._most_faults, len(self._kinds))
        names = list(self._kinds)
        chosen = [rng.choices(names, [self._weights[name] for name in names])[0] for _ in range(size)]
        faults = tuple(self._somehow(self._kinds[name]) for name in chosen)
        clients = rng.choice(_MANNERS) if rng.random() < 0.3 else PLAIN
        if rng.random() < 0.5:  # one after the other instead of together
            faults = tuple(_later(fault, nth * self._feel.gap_s) for nth, fault in enumerate(faults))
        return self._put_together(pattern, count, faults, clients)

    def _plainly(self, kind: FaultKind, moment: Moment) -> FaultSpec:
        length_s = 0.0 if kind.instant else min(1.0, self._blast.length_s)
        params = tuple((param.name, param.default) for param in kind.params)
        return FaultSpec(kind.name, self._feel.at_s(moment), length_s, self._share(kind), params=params)

    def _somehow(self, kind: FaultKind) -> FaultSpec:
        rng = self._rng
        length_s = 0.0 if kind.instant else min(rng.choice(LENGTHS_S), self._blast.length_s)
        bold = rng.random() < 0.5 and kind.family != "host"  # the machine is everybody's: as the kind has it
        params = tuple((p.name, rng.choice(values_of(p)) if bold else p.default) for p in kind.params)
        hits = 1 if kind.via is Via.PROXY and rng.random() < 0.2 else 0
        at_s = self._feel.at_s(rng.choice(tuple(Moment)))
        return FaultSpec(kind.name, at_s, length_s, self._share(kind), hits, params=params)

    def _share(self, kind: FaultKind) -> float:
        return self._blast.share if kind.via is Via.PROXY else 1.0

    def _put_together(self, pattern: Pattern, count: int, faults: tuple[FaultSpec, ...], clients: Clients) -> Try:
        gap_s = {Pattern.STREAM: self._feel.e2e_s / 3, Pattern.TURNS: self._feel.gap_s}.get(pattern, 0.0)
        checks = min(CHECKS, self._chaos.most_requests)
        asked = min(1 if pattern is Pattern.LONE else count, self._chaos.most_requests - checks)
        at_s = [round(FIRST_S + n * gap_s, 3) for n in range(asked)]
        over_s = max((*at_s, *(fault.at_s + fault.for_s for fault in faults)), default=0.0)
        one = Try(tuple(at_s), tuple(sorted(faults, key=lambda fault: fault.at_s)), clients)
        check_s = over_s + settle_s(one, self._chaos)
        later = (round(check_s + n * CHECK_GAP_S, 3) for n in range(checks))
        return dataclasses.replace(one, at_s=(*at_s, *later))


def _moments(kind: FaultKind) -> tuple[Moment, ...]:
    """What changes connections or answers must be there before them; what strikes the target comes while it works."""
    usual = Moment.STREAM if kind.family in ("engine", "host") else Moment.BEFORE
    return _TELLING.get(kind.name, (usual,))


def _later(fault: FaultSpec, by_s: float) -> FaultSpec:
    return dataclasses.replace(fault, at_s=round(fault.at_s + by_s, 3))


def values_of(param: Param) -> tuple[float | str, ...]:
    """A few telling values of a parameter, its default first."""
    if isinstance(param.default, str):
        return param.words
    small = {Unit.SECONDS: 0.1, Unit.BYTES: 200.0}.get(param.unit, 1.0)
    tried = (param.default, param.default / 4, param.default * 2, small)
    inside = (min(max(value, param.low), param.high) for value in tried)
    return tuple(
        dict.fromkeys(float(round(value)) if param.unit in (Unit.COUNT, Unit.BYTES) else value for value in inside)
    )
