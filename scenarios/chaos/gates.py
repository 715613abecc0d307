"""By what a try is judged: the scenario's own gates, and what holds of every service after faults. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from scenarios.chaos.one_try import Try
from scenarios.definition import Chaos, GateSpec, Phase, Scenario, WarmupRule, WindowSpec
from scenarios.faults.kinds import KINDS, Need
from scenarios.gates import judge, samples_of
from scenarios.metrics import METRICS, missing_needs
from scenarios.result import GateResult, GateVerdict
from scenarios.summary import Columns, SummaryContext, measured_window

BACK, RIGHT, STANDS = "served after the faults", "right answers", "no death without a cause"
SAME = "the same answers"  # RIGHT, where the right ones are the target's own
QUIET_S = 0.5  # after faults that leave the target's processes alone
_PROCESS = (Need.PROCESS, Need.OURS, Need.MODEL)
_CHANGES_ANSWERS = ("http", "stream")
_CHANGE_ANSWERS = ("network.corrupt", "engine.model_swapped")


class Known(msgspec.Struct, frozen=True):
    """What is known of the target from requests without faults.

    right: every answer that could be judged was right, so that a wrong one later is a fault's doing. own: what counts
    as right are its own answers. ours: its processes are started here, so that a death is seen.
    """

    right: bool = False
    own: bool = False
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """A gate over the requests of a try that are due `from_s` after its start, or later."""

    gate: GateSpec
    from_s: float = 0.0

    @property
    def window(self) -> WindowSpec:
        """The same as a scenario says it."""
        return WindowSpec(WarmupRule.TIME, self.from_s) if self.from_s else WindowSpec()


def settle_s(one: Try, chaos: Chaos) -> float:
    """How long the target has after the faults until it must be itself again."""
    shaken = any(need in _PROCESS for fault in one.faults for need in KINDS[fault.kind].needs)
    return chaos.settle_s if shaken else min(QUIET_S, chaos.settle_s)


def settled_s(one: Try, chaos: Chaos) -> float:
    """From when on every request must be served as ever; seconds from the try's start, all of it without faults."""
    over_s = max((fault.at_s + fault.for_s for fault in one.faults), default=None)
    return 0.0 if over_s is None else round(over_s + settle_s(one, chaos), 3)


def gates_of(scenario: Scenario, one: Try, known: Known) -> tuple[Held, ...]:
    """The author's gates, as far as such a try can be judged by them, and those that always hold where they say no
    other.

    Few requests settle no percentile. What they can show is what must never happen: what always holds allows no
    exception. A gate on the time after the faults looks at the requests for which the target had time to settle.
    """
    after_s = settled_s(one, scenario.chaos or Chaos())
    own = [_held(gate, after_s) for gate in scenario.gates if _can_be_judged(gate, scenario, one)]
    taken = {(gate.metric, gate.phase) for gate in scenario.gates}
    always = [(held, phase) for held, phase in _always(one, known, after_s) if (held.gate.metric, phase) not in taken]
    return (*own, *(held for held, _ in always))


def _always(one: Try, known: Known, after_s: float) -> Iterator[tuple[Held, Phase]]:
    """Each with the phase under which an author would say the same."""
    yield Held(GateSpec("error_rate", maximum=0.0, name=BACK), after_s), Phase.AFTER
    kinds = [KINDS[fault.kind] for fault in one.faults]
    if known.right:
        changed = any(kind.family in _CHANGES_ANSWERS or kind.name in _CHANGE_ANSWERS for kind in kinds)
        name = SAME if known.own else RIGHT
        yield Held(GateSpec("accuracy", minimum=1.0, name=name), after_s if changed else 0.0), Phase.WHOLE
    if known.ours and not any(kind.family in ("engine", "host") for kind in kinds):
        yield Held(GateSpec("engine.restarts", maximum=0.0, name=STANDS)), Phase.WHOLE


def _held(gate: GateSpec, after_s: float) -> Held:
    """Gates that may be looked at all the time are for long runs: here they are judged at the end."""
    gate = dataclasses.replace(gate, sequential=False, name=gate.name or gate.metric)
    if gate.phase is not Phase.AFTER:
        return Held(gate)
    return Held(dataclasses.replace(gate, phase=Phase.WHOLE), after_s)


def _can_be_judged(gate: GateSpec, scenario: Scenario, one: Try) -> bool:
    if gate.phase in (Phase.BEFORE, Phase.DURING) and not one.faults:
        return False
    metric = METRICS[gate.metric]
    return not missing_needs(metric, scenario.workload, one.arrivals, bool(one.faults))


def judge_try(
    held: Sequence[Held], columns: Columns, context: SummaryContext, start_s: float
) -> tuple[GateResult, ...]:
    """One result for each; `columns` are of the try's requests, and it started at `start_s` of the run."""
    found: list[GateResult] = []
    for one in held:
        window = WindowSpec(WarmupRule.TIME, start_s + one.from_s)
        measured = measured_window(columns, window, cut_off=False)
        found += judge((one.gate,), samples_of(columns, context, measured=measured))
    return tuple(found)


def failed(results: Sequence[GateResult]) -> tuple[str, ...]:
    """The names of the gates that failed."""
    return tuple(result.name for result in results if result.verdict is GateVerdict.FAIL)


def beyond(held: Sequence[Held], results: Sequence[GateResult]) -> bool:
    """Whether anything measured lies beyond its bound, settled or not: such a try did worse than it should."""
    return any(_beyond(one.gate, result.measured) for one, result in zip(held, results, strict=True))


def _beyond(gate: GateSpec, measured: float | None) -> bool:
    if measured is None:
        return False
    too_little = gate.minimum is not None and measured < gate.minimum
    return too_little or (gate.maximum is not None and measured > gate.maximum)
