"""Whether a run may end before its plan does: because every gate has spoken, or one has failed.

Every gate has spoken only where all of them are sequential; a gate that looks once must be given the whole run. One
failed sequential gate is enough for NO-GO, whatever the others would come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scenarios.definition import GateSpec, Over, Scenario, WarmupRule
from scenarios.gates.sequential import Standing
from scenarios.metrics import METRICS, ODD_PROFILE
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.result import GateVerdict
from scenarios.summary.single import NS, inside, latencies_of

_NO_ERROR = (Outcome.OK, Outcome.SHED, Outcome.CANCELLED)


@dataclass(frozen=True, slots=True)
class Early:
    """The run may end: the first `settled` requests of the plan decide it, and `why` is for people."""

    settled: int
    why: str


class EarlyEnd:
    """Add every finished request, in any order; ask `found` whether the run may end now.

    What it finds depends on the observations alone, not on the order in which they come. Without sequential gates it
    never finds anything. Costs: a few microseconds a request and gate, and memory for those that ended before others.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.found: Early | None = None
        self._scenario = scenario
        self._gates = [(gate, Standing(gate)) for gate in scenario.gates if gate.sequential]
        self._places = [place for place, gate in enumerate(scenario.gates) if gate.sequential]
        self._all = len(self._gates) == len(scenario.gates)
        self._waiting: dict[int, tuple[float | None, ...]] = {}
        self._settled = 0
        window = scenario.window
        self._from_ns = round(window.warmup_s * NS) if window.warmup is WarmupRule.TIME else 0

    def __repr__(self) -> str:
        return f"EarlyEnd(settled={self._settled}, waiting={len(self._waiting)}, found={self.found})"

    def add(
        self, request: PlannedRequest, observation: Observation, judged: Judged, findings: Sequence[Finding]
    ) -> None:
        """Take in one finished request; requests are numbered from 0 in the order of the plan."""
        if self.found or not self._gates:
            return
        self._waiting[request.index] = (
            tuple(trial(gate, self._scenario, request, observation, judged, findings) for gate, _ in self._gates)
            if observation.due_ns >= self._from_ns
            else (None,) * len(self._gates)
        )
        while not self.found and self._settled in self._waiting:
            self._settle(self._waiting.pop(self._settled))

    def verdicts(self) -> dict[int, GateVerdict]:
        """The sequential gates as they stand, by their places among the scenario's gates: two may have one name."""
        return {place: standing.verdict for place, (_, standing) in zip(self._places, self._gates, strict=True)}

    def _settle(self, values: tuple[float | None, ...]) -> None:
        self._settled += 1
        for (_, standing), value in zip(self._gates, values, strict=True):
            if value is not None:
                standing.add(value)
        of = f"after the first {self._settled:,} requests of the plan"
        failed = [gate for gate, standing in self._gates if standing.verdict is GateVerdict.FAIL]
        if failed:
            self.found = Early(self._settled, f"{failed[0].name or failed[0].metric} has failed {of}")
        elif self._all and all(standing.verdict is GateVerdict.PASS for _, standing in self._gates):
            self.found = Early(self._settled, f"every gate has passed {of}")


def trial(
    gate: GateSpec,
    scenario: Scenario,
    request: PlannedRequest,
    observation: Observation,
    judged: Judged,
    findings: Sequence[Finding],
) -> float | None:
    """The value of one request for a gate: seconds, or 1.0 and 0.0 of a share; None where it does not count for it.

    The same as scenarios.summary.rates.share and the columns say of its row.
    """
    metric = METRICS[gate.metric]
    odd = request.profile == ODD_PROFILE
    outcome = observation.outcome
    if metric.quantile is not None:
        return None if odd else _seconds(metric.family, gate.over, observation)
    if metric.family == "findings":
        return _finding(metric.name.partition(".")[2], observation, findings)
    if metric.name == "odd.correct":
        return float(judged.correct is True) if odd else None
    if odd:
        return None
    match metric.name:
        case "goodput":
            return float(outcome is Outcome.OK and inside(scenario.slo, latencies_of(observation)))
        case "ok_rate":
            return float(outcome is Outcome.OK)
        case "shed_rate":
            return float(outcome is Outcome.SHED)
        case "error_rate":
            return float(outcome not in _NO_ERROR)
    era = {"accuracy.era_a": request.era != "B", "accuracy.era_b": request.era == "B", "accuracy": True}[metric.name]
    return float(judged.correct) if era and judged.correct is not None else None


def _seconds(family: str, over: Over, observation: Observation) -> float | None:
    latencies = latencies_of(observation)
    if over is Over.SERVED:
        return latencies.get(family)
    if observation.outcome in (Outcome.CANCELLED, Outcome.UNSENT):
        return latencies.get(family)
    return latencies.get(family, latencies.get("e2e_s", float("inf")))


def _finding(category: str, observation: Observation, findings: Sequence[Finding]) -> float | None:
    found = {finding.category for finding in findings if finding.where == "answer"}
    hit = bool(found) if category == "any" else category in found
    return float(hit) if observation.answer or hit else None
