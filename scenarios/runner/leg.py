"""What goes through one pool: requests numbered from 0 for it, while the journal may count them otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from scenarios.observation import Observation
from scenarios.plan import Plan

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Leg:
    """`plan` as the pool sees it; `numbers`: the journal's index of each request, None where they are the same."""

    plan: Plan
    numbers: Ints | None = None

    def number(self, at: int) -> int:
        """The journal's index of the request at a place of the plan."""
        return at if self.numbers is None else int(self.numbers[at])

    def journalled(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        """The pool's observations under the journal's indexes."""
        if self.numbers is None:
            return observations
        return [msgspec.structs.replace(one, index=self.number(one.index)) for one in observations]
