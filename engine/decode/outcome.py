"""Carrying out a plan on the schedule: admissions before the step is computed, its results after."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Rows

from engine.decode.schedule import Chosen, Chunk, DecodeRow, Ended, Ending, Plan, Schedule, Sequence
from engine.decode.turns import ANSWER_WEIGHT


def admit(state: Schedule, step: Plan) -> list[Sequence]:
    """Give the admitted sequences their slots; returns them in order. To be called before the step is computed."""
    state.steps += 1
    by_id = {seq.id: seq for seq in state.waiting} if step.admit else {}
    admitted = []
    for given in step.admit:
        sequence = by_id.get(given.id)
        if sequence is None or given.slot in state.running:
            raise RuntimeError(f"the plan admits {given.id} to {given.slot}, the state says otherwise: {state!r}")
        state.waiting.remove(sequence)
        turn = state.turns.keys[sequence.key]
        turn.waiting -= 1
        turn.running += 1
        if not sequence.new:  # one that gave way has paid before
            turn.served += len(sequence.tokens) - given.reused
            sequence.exact = len(sequence.tokens) // state.chunk * state.chunk if state.aligned else None
        sequence.slot, sequence.computed = given.slot, given.reused
        sequence.prefill_until = len(sequence.tokens)
        state.running[given.slot] = sequence
        state.held[given.slot] = []
        if state.sharing:
            state.tree.put(given.slot, sequence.root, sequence.tokens)
        admitted.append(sequence)
    return admitted


def apply(state: Schedule, step: Plan, chosen: Mapping[int, Chosen]) -> list[Ended]:
    """Write a computed step back: positions, chosen tokens, endings. `chosen` holds one token for each id that got one.

    An id that left the state while the step ran is passed over.
    """
    ended: list[Ended] = []
    parts: list[DecodeRow | Chunk] = [*step.rows, *step.chunks]
    for part in parts:
        sequence = state.running.get(part.slot)
        if sequence is None or sequence.id != part.id:
            continue
        sequence.computed += len(part.tokens) if isinstance(part, Chunk) else 1
        if isinstance(part, Chunk) and not part.last:
            continue
        choice = chosen[part.id]
        sequence.tokens.append(choice.token)
        sequence.new += 1
        state.turns.keys[sequence.key].served += ANSWER_WEIGHT
        if choice.ends or sequence.new >= sequence.max_new or len(sequence.tokens) >= state.ctx:
            ended.append(state.leave(sequence, Ending.STOP if choice.ends else Ending.LENGTH))
    return ended


def by_adapter(rows: Rows[DecodeRow], running: Mapping[int, Sequence]) -> list[tuple[str, Rows[DecodeRow]]]:
    """Rows of one LoRA adapter together, in order of slot."""
    first = running[rows[0].slot].adapter
    if all(running[row.slot].adapter == first for row in rows):
        return [(first, rows)]
    groups: dict[str, list[DecodeRow]] = {}
    for row in rows:
        groups.setdefault(running[row.slot].adapter, []).append(row)
    return list(groups.items())
