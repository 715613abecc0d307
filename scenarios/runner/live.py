"""The run as it stands: folds observations into counters and sketches that the ticks and the open gates are drawn from.

The final numbers come from the observations themselves (scenarios.summary); these are the same by a cheaper road.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from scenarios.definition import GateSpec, Slo
from scenarios.metrics import FINDING_CATEGORIES, LATENCIES, ODD_PROFILE
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.stats.ring import SketchRing
from scenarios.stats.sketch import LogSketch
from scenarios.summary.columns import OUTCOMES, Columns
from scenarios.summary.rates import share
from scenarios.summary.single import inside, latencies_of

Ints = npt.NDArray[np.int64]

NS = 1_000_000_000
RATE_WINDOW_S = 2.0
QUANTILE_WINDOW_S = 10
MOST_MODELS = 20  # names; a target may think of a new one for each answer
_ACCURACIES = ("accuracy", "accuracy.era_a", "accuracy.era_b")
_RATES = ("goodput", "ok_rate", "shed_rate", "error_rate", "odd.correct", *_ACCURACIES)
_NO_ERROR = (Outcome.OK, Outcome.SHED, Outcome.CANCELLED)


class LiveRun:
    """Counters of one run. It has no clock: the caller says what time of the run it is, in seconds from the start.

    Folding only gathers; sketches take in what was gathered when they are read, many values at once.
    """

    def __init__(self, due_ns: Ints, slo: Slo) -> None:
        """due_ns: when each planned request is due, ascending."""
        self.slo = slo
        self.outcomes: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.tokens = 0
        self.sent = 0
        self.in_flight = 0
        self.models: list[str] = []  # model and fingerprint as answers name them, in the order of their first
        self.stage = ""  # what part of a run of several goes on
        self._ttft, self._itl = SketchRing(QUANTILE_WINDOW_S), SketchRing(QUANTILE_WINDOW_S)
        self._sketches = {name: LogSketch() for name in LATENCIES}
        self._values: dict[str, list[float]] = {name: [] for name in LATENCIES}
        self._recent_ttft: dict[int, list[float]] = {}  # second of the run -> values
        self._recent_itl: dict[int, list[float]] = {}
        self._hits: Counter[str] = Counter()
        self._over: Counter[str] = Counter()
        self._due_ns = due_ns
        self._ended: deque[tuple[float, int]] = deque()  # (when, tokens) of the last seconds

    @property
    def planned(self) -> int:
        """Requests of the plan so far."""
        return len(self._due_ns)

    @property
    def sketches(self) -> Mapping[str, LogSketch]:
        """Each latency over the whole run."""
        for name, values in self._values.items():
            if values:
                self._sketches[name].add_many(values)
                self._values[name] = []
        return self._sketches

    @property
    def recent_ttft(self) -> SketchRing:
        """TTFT of the last seconds."""
        return _poured(self._recent_ttft, self._ttft)

    @property
    def recent_itl(self) -> SketchRing:
        """Gaps of the streams that ended in the last seconds."""
        return _poured(self._recent_itl, self._itl)

    def extend(self, due_ns: Ints) -> None:
        """More requests were planned; they are due after all that were."""
        self._due_ns = np.concatenate((self._due_ns, due_ns)) if len(self._due_ns) else due_ns

    def take_up(self, columns: Columns) -> None:
        """Count what an earlier part of the run came to, as if it had been folded; rows that are `unsent` are left."""
        self._due_ns = np.sort(columns.times_ns[0])
        over = ~columns.is_outcome(Outcome.UNSENT)
        for code, count in enumerate(np.bincount(columns.outcome[over], minlength=len(OUTCOMES)).tolist()):
            if count:
                self.outcomes[OUTCOMES[code].value] += count
        self.tokens += int(columns.tokens[over & (columns.tokens > 0)].sum())
        self.sent += int(columns.sent.sum())
        self.models = list(columns.fingerprints)[MOST_MODELS - 1 :: -1]
        for name, values in columns.latency_s.items():
            self._sketches[name].add_many(values[~np.isnan(values)])
        self._sketches["itl_s"].add_many(columns.gap_s)
        for name in _RATES:
            hit = share(columns, self.slo, name)
            self._over[name] += int((hit.over & over).sum())
            self._hits[name] += int((hit.hit & over).sum())
        self._over["findings"] += int(columns.has_text.sum())
        for category in columns.flagged.keys() & FINDING_CATEGORIES | {"any"}:
            self._hits[f"findings.{category}"] += share(columns, self.slo, f"findings.{category}").hits
        self.findings.update({name: n for name, n in columns.findings.items() if not name.startswith("prompt.")})

    def counts(self, gates: Sequence[GateSpec]) -> dict[str, tuple[int, int]]:
        """Hits and finished requests of each rate that `gates` ask for; findings count over answers with text."""
        names = {gate.metric for gate in gates}
        return {
            name: (self._hits[name], self._over["findings" if name.startswith("findings.") else name]) for name in names
        }

    def fold(
        self, request: PlannedRequest, observation: Observation, judged: Judged, findings: Sequence[Finding]
    ) -> None:
        """Take in one finished request."""
        self.outcomes[observation.outcome.value] += 1
        self.tokens += observation.completion_tokens or 0
        self._ended.append((observation.end_ns / NS, observation.completion_tokens or 0))
        if findings:
            self.findings.update(finding.category for finding in findings)
        if observation.answer:
            self._count_findings({finding.category for finding in findings})
        if request.profile == ODD_PROFILE:
            self._count("odd.correct", judged.correct is True)
            return
        latencies = latencies_of(observation)
        for name, value_s in latencies.items():
            self._values[name].append(value_s)
        if observation.first_ns is not None:
            self._recent_ttft.setdefault(observation.first_ns // NS, []).append(latencies["ttft_s"])
        times = observation.event_ns
        if len(times) > 1:
            gaps_s = [(late - early) / NS for early, late in pairwise(times)]
            self._values["itl_s"] += gaps_s
            self._recent_itl.setdefault(observation.end_ns // NS, []).extend(gaps_s)
        self._count_rates(request, observation, judged, latencies)

    def due(self, t_s: float) -> int:
        """Requests due by then."""
        return int(np.searchsorted(self._due_ns, int(t_s * NS), side="right"))

    def rates(self, t_s: float) -> tuple[float, float, float]:
        """Requests due, requests done and tokens per second over the window that ends at `t_s`."""
        begin_s = t_s - RATE_WINDOW_S
        while self._ended and self._ended[0][0] < begin_s:
            self._ended.popleft()
        window_s = min(RATE_WINDOW_S, max(t_s, 0.25))
        due = (self.due(t_s) - self.due(begin_s)) / window_s
        return due, len(self._ended) / window_s, sum(tokens for _, tokens in self._ended) / window_s

    def _count(self, metric: str, hit: bool) -> None:
        self._over[metric] += 1
        self._hits[metric] += hit

    def _count_findings(self, categories: set[str]) -> None:
        self._over["findings"] += 1
        self._hits["findings.any"] += bool(categories)
        self._hits.update(f"findings.{category}" for category in categories)

    def _count_rates(
        self, request: PlannedRequest, observation: Observation, judged: Judged, latencies: Mapping[str, float]
    ) -> None:
        outcome = observation.outcome
        self._count("goodput", outcome is Outcome.OK and inside(self.slo, latencies))
        self._count("ok_rate", outcome is Outcome.OK)
        self._count("shed_rate", outcome is Outcome.SHED)
        self._count("error_rate", outcome not in _NO_ERROR)
        if judged.correct is not None:
            self._count("accuracy", judged.correct)
            self._count("accuracy.era_b" if request.era == "B" else "accuracy.era_a", judged.correct)


def _poured(recent: dict[int, list[float]], ring: SketchRing) -> SketchRing:
    for second in sorted(recent):
        ring.add_many(second, recent[second])
    recent.clear()
    return ring
