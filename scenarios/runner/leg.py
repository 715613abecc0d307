"""What goes through one pool: requests numbered from 0 for it, while the journal may count them otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from scenarios.observation import Observation
from scenarios.plan import Plan
from scenarios.request import PlannedRequest

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Leg:
    """`plan` as the pool sees it; `numbers`: the journal's index of each request, None where they are the same."""

    plan: Plan
    numbers: Ints | None = None

    def journalled(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        """The pool's observations under the journal's indexes."""
        if self.numbers is None:
            return observations
        return [msgspec.structs.replace(one, index=int(self.numbers[one.index])) for one in observations]


def leg_of(plan: Plan, numbers: Ints) -> Leg:
    """A leg of requests whose index in the journal is `numbers`, ascending; `plan` counts in those numbers too.

    A request may only follow one of the same leg.
    """

    def make(at: int) -> PlannedRequest:
        request = plan[at]
        after = None if request.after is None else int(np.searchsorted(numbers, request.after))
        return msgspec.structs.replace(request, index=at, after=after)

    return Leg(Plan(plan.due_ns, np.searchsorted(numbers, plan.root), make), numbers)
