"""By what a try is judged: the scenario's own gates, and what holds of every service after faults. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scenarios.chaos.one_try import Try
from scenarios.definition import GateSpec, Phase, Scenario
from scenarios.faults.kinds import KINDS
from scenarios.metrics import METRICS, missing_needs
from scenarios.result import GateResult, GateVerdict

BACK, RIGHT, STANDS = "served after the faults", "right answers after the faults", "no death without a cause"


class Known(msgspec.Struct, frozen=True):
    """What is known of the target from requests without faults.

    right: every answer that could be judged was right, so that a wrong one later is a fault's doing. ours: its
    processes are started here, so that a death is seen.
    """

    right: bool = False
    ours: bool = False


def gates_of(scenario: Scenario, one: Try, known: Known) -> tuple[GateSpec, ...]:
    """The author's gates, as far as such a try can be judged by them, and those that always hold.

    Few requests settle no percentile; what they can show is what must never happen: the gates that always hold allow no
    exception, and stand in for the author's on the same metric and phase.
    """
    faults = bool(one.faults)
    after = Phase.AFTER if faults else Phase.WHOLE
    always = [GateSpec("error_rate", maximum=0.0, name=BACK, phase=after)]
    if known.right:
        always.append(GateSpec("accuracy", minimum=1.0, name=RIGHT, phase=after))
    if known.ours and not any(KINDS[fault.kind].family in ("engine", "host") for fault in one.faults):
        always.append(GateSpec("engine.restarts", maximum=0.0, name=STANDS))
    always_on = {(gate.metric, gate.phase) for gate in always}
    own = [
        GateSpec(gate.metric, gate.minimum, gate.maximum, gate.confidence, gate.name, over=gate.over, phase=gate.phase)
        for gate in scenario.gates
        if _can_be_judged(gate, scenario, one) and (gate.metric, gate.phase) not in always_on
    ]
    return (*own, *always)


def failed(results: Sequence[GateResult]) -> tuple[str, ...]:
    """The names of the gates that failed."""
    return tuple(result.name for result in results if result.verdict is GateVerdict.FAIL)


def beyond(gates: Sequence[GateSpec], results: Sequence[GateResult]) -> bool:
    """Whether anything measured lies beyond its bound, settled or not: such a try did worse than it should."""
    return any(
        result.measured is not None
        and (
            (gate.minimum is not None and result.measured < gate.minimum)
            or (gate.maximum is not None and result.measured > gate.maximum)
        )
        for gate, result in zip(gates, results, strict=True)
    )


def _can_be_judged(gate: GateSpec, scenario: Scenario, one: Try) -> bool:
    metric = METRICS.get(gate.metric)
    if metric is None or (gate.phase is not Phase.WHOLE and not one.faults):
        return False
    return not missing_needs(metric, scenario.workload, one.arrivals, bool(one.faults))
