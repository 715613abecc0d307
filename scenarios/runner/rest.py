"""What is left of a run that ended early: which requests are still to be sent, and which were lost with it.

The rule is in docs/decisions/007-resume.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import msgspec
import numpy as np
import numpy.typing as npt

from scenarios.journal import JournalReader
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest
from scenarios.runner.leg import Ints, Leg
from scenarios.summary.columns import NONE

LOST = "lost when the runner died: it was under way, and what came of it was never recorded"
NS = 1_000_000_000
_PLANNED = f"""
SELECT p.idx, p.due_ns, COALESCE(p.after_idx, -1), CAST(ROUND(p.think_s * 1e9) AS INTEGER), COALESCE(o.end_ns, {NONE}),
    COALESCE(o.outcome = '{Outcome.UNSENT}', 0)
FROM plan p LEFT JOIN observation o USING (idx) ORDER BY p.idx
"""


class Fate(IntEnum):
    """What is known of a planned request."""

    OVER = 0  # it has its observation
    LOST = 1  # it was under way when the runner died
    LEFT = 2  # it is still to be sent


@dataclass(frozen=True, slots=True)
class Journalled:
    """Planned requests as the journal knows them, one row each, by index.

    after: the index of the one it follows, -1 for none. end_ns: NONE where nothing that came of it was recorded, or
    where it is `unsent`: the run was stopped before it was sent, and said so.
    """

    index: Ints
    due_ns: Ints
    after: Ints
    think_ns: Ints
    end_ns: Ints
    unsent: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rest:
    """To be sent, in due order: the journal's `numbers`, `due_ns`, and the place (-1: none) of the one they follow.

    lost: observations of those that were under way.
    """

    numbers: Ints
    due_ns: Ints
    after: Ints
    lost: tuple[Observation, ...]

    @property
    def first_due_s(self) -> float:
        """Where the run's clock takes up."""
        return float(self.due_ns[0]) / NS

    def leg(self, request: Callable[[int], PlannedRequest]) -> Leg:
        """What goes through the pool; `request` gives each by the journal's index."""
        root = np.arange(len(self.numbers))
        for place in np.flatnonzero(self.after >= 0).tolist():  # who is followed comes first
            root[place] = root[self.after[place]]

        def make(at: int) -> PlannedRequest:
            after = int(self.after[at])
            return msgspec.structs.replace(
                request(int(self.numbers[at])),
                index=at,
                due_ns=int(self.due_ns[at]),
                after=None if after < 0 else after,
            )

        return Leg(Plan(self.due_ns, root, make), self.numbers)


def rest_of(planned: Journalled, until_ns: int) -> Rest:
    """What is left when sending ended at `until_ns` of the run."""
    over = planned.end_ns != NONE
    free = planned.unsent | (planned.due_ns > until_ns)
    fate = np.where(over, Fate.OVER, np.where(free, Fate.LEFT, Fate.LOST)).astype(np.int8)
    due_ns = planned.due_ns.copy()
    leader = np.where(planned.after < 0, -1, np.searchsorted(planned.index, planned.after))
    for row in np.flatnonzero((leader >= 0) & ~over).tolist():  # in order: who is followed is decided first
        first = leader[row]
        then_ns = (planned.end_ns[first], until_ns, due_ns[first])[fate[first]]
        then_ns += 0 if fate[first] == Fate.LEFT else planned.think_ns[row]
        due_ns[row] = max(due_ns[row], then_ns)
        waited = fate[first] != Fate.OVER or due_ns[row] > until_ns
        fate[row] = Fate.LEFT if waited or planned.unsent[row] else Fate.LOST
    left = np.flatnonzero(fate == Fate.LEFT)
    left = left[np.argsort(due_ns[left], kind="stable")]
    place = np.full(len(due_ns), -1, dtype=np.int64)
    place[left] = np.arange(len(left))
    after = np.where(leader[left] < 0, -1, place[leader[left]])  # -1 also where the one it follows is over or lost
    lost = np.flatnonzero(fate == Fate.LOST).tolist()
    return Rest(
        planned.index[left],
        due_ns[left],
        after,
        tuple(_lost(int(planned.index[row]), int(due_ns[row]), until_ns) for row in lost),
    )


def _lost(index: int, due_ns: int, until_ns: int) -> Observation:
    return Observation(index=index, due_ns=due_ns, outcome=Outcome.CANCELLED, end_ns=until_ns, error=LOST)


def journalled(reader: JournalReader) -> Journalled:
    """The plan of a journal with what is known of each request."""
    count = reader.count("plan")
    columns = np.empty((5, count), dtype=np.int64)
    unsent = np.empty(count, dtype=np.bool_)
    at = 0
    for block in reader.blocks_of(_PLANNED):
        part = slice(at, at + len(block))
        at += len(block)
        *numbers, flags = zip(*block, strict=True)
        columns[:, part], unsent[part] = numbers, flags
    columns[4, unsent] = NONE
    index, due_ns, after, think_ns, end_ns = columns
    return Journalled(index, due_ns, after, think_ns, end_ns, unsent)
