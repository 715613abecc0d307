"""How the target feels when it is let alone: what the moments of a try are reckoned from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FIRST_S = 0.3  # from a try's start to its first request: room for faults that are there before


class Moment(StrEnum):
    """When a fault starts, as the first request sees it."""

    BEFORE = "before"  # in force when it comes
    PREFILL = "prefill"  # sent, and nothing has come back
    STREAM = "stream"  # some of its answer has come
    BETWEEN = "between"  # it is over, and the next one has not come


@dataclass(frozen=True, slots=True)
class Feel:
    """Medians of a request without faults, seconds from due: to its first words, and to its end."""

    ttft_s: float = 0.1
    e2e_s: float = 0.5

    @property
    def gap_s(self) -> float:
        """Between two requests of which the second comes when the first is over."""
        return self.e2e_s * 1.5 + 0.05

    def at_s(self, moment: Moment) -> float:
        """Seconds from the try's start, to the millisecond."""
        match moment:
            case Moment.BEFORE:
                after_s = -FIRST_S * 2 / 3
            case Moment.PREFILL:
                after_s = self.ttft_s * 0.4
            case Moment.STREAM:
                after_s = (self.ttft_s + self.e2e_s) / 2
            case Moment.BETWEEN:
                after_s = self.e2e_s + (self.gap_s - self.e2e_s) / 2
        return round(FIRST_S + after_s, 3)
