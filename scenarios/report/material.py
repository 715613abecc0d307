"""What a report is made from: the document, the events, and the few observations that weigh most."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.journal import JournalReader
from scenarios.observation import Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.result import GateResult, GateVerdict, ResultDocument
from scenarios.sanitise import view
from scenarios.tick import Event

EXAMPLES_A_GATE = 3
EXAMPLES = 12
MAX_EVENTS = 200


@dataclass(frozen=True, slots=True)
class Example:
    """One observation that speaks for a gate's verdict. Seconds from the run's start; `note` is outside text."""

    gate: str
    index: int
    profile: str
    due_s: float
    outcome: str
    ttft_s: float | None
    e2e_s: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Material:
    """`observed`: requests that were sent and ended; `alive`: whether the run's process still is (False once done)."""

    document: ResultDocument
    events: tuple[Event, ...] = ()
    examples: tuple[Example, ...] = ()
    observed: int = 0
    alive: bool = False

    @property
    def incomplete(self) -> str:
        """One sentence on a run that did not reach its end; empty for one that did."""
        state, of = self.document.run.state, f"{self.observed:,} of {self.document.summary.planned:,} requests"
        if state == "interrupted":
            return f"The run was interrupted after {of}; everything that was journalled is shown."
        if state == "aborted":
            return f"The run was aborted after {of}: a condition of its scenario held."
        if state == "failed":
            reasons = [event.text for event in self.events if event.kind == "run.failed"]
            return f"The run failed after {of}: {view(reasons[-1], 200) if reasons else 'no reason was journalled'}"
        if state == "running" and self.alive:
            return f"The run goes on: {of} so far; the verdict may still change."
        if state == "running":
            return f"The run died after {of}; everything committed is shown."
        return ""


def gather(reader: JournalReader, document: ResultDocument, alive: bool = False) -> Material:
    """Read the rest of a report's material from the journal that `document` came from."""
    observed = 0
    if document.run.state != "done":
        observed = sum(1 for o in reader.observations() if o.outcome is not Outcome.UNSENT)
    return Material(
        document=document,
        events=tuple(event for _, event in reader.events())[:MAX_EVENTS],
        examples=_examples(reader, document),
        observed=observed,
        alive=alive,
    )


def _examples(reader: JournalReader, document: ResultDocument) -> tuple[Example, ...]:
    """The evidence of every gate that did not pass, the failed ones first, each observation once."""
    found: list[Example] = []
    seen: set[int] = set()
    for gate in sorted(document.gates, key=lambda g: g.verdict is not GateVerdict.FAIL):
        if gate.verdict is GateVerdict.PASS:
            continue
        fresh = [index for index in gate.evidence if index not in seen][:EXAMPLES_A_GATE]
        for index in fresh:
            observation = reader.observation(index)
            if observation is not None:
                seen.add(index)
                found.append(_example(gate, reader.request(index), observation))
    return tuple(found[:EXAMPLES])


def _example(gate: GateResult, request: PlannedRequest | None, observation: Observation) -> Example:
    due = observation.due_ns
    return Example(
        gate=gate.name,
        index=observation.index,
        profile=request.profile if request else "",
        due_s=due / 1e9,
        outcome=observation.outcome.value,
        ttft_s=None if observation.first_ns is None else (observation.first_ns - due) / 1e9,
        e2e_s=None if observation.last_ns is None else (observation.last_ns - due) / 1e9,
        note=observation.error or observation.answer,
    )
