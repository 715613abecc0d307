"""The harness's own error, and what it can have done to a measured time."""

from __future__ import annotations

from dataclasses import dataclass

from scenarios.summary.rates import Shift

MOST_LOST = 0.01


@dataclass(frozen=True, slots=True)
class InstrumentError:
    """What the harness measured about itself; None: not measured, counted as none.

    send_lag_p99_s: sent later than due. loop_lag_p99_s: stamped later than readable. noise_floor_s: the lateness of an
    idle machine's timers before the run (p99); the error is never taken to be less. steal: share of CPU time that the
    hypervisor took, 0..1, by which any time may be stretched. lost_share: requests never sent, or given up by the
    harness itself, of those that came due. worker_died: a load worker ended early.
    """

    send_lag_p99_s: float | None = None
    loop_lag_p99_s: float | None = None
    noise_floor_s: float | None = None
    steal: float | None = None
    lost_share: float = 0.0
    worker_died: bool = False

    @property
    def late_s(self) -> float:
        """How much a latency from due may be off: send lag and loop lag together, at least the noise floor."""
        return max((self.send_lag_p99_s or 0.0) + (self.loop_lag_p99_s or 0.0), self.noise_floor_s or 0.0)

    @property
    def stamp_s(self) -> float:
        """How much the distance of two stamps may be off: each is late by 0 to the loop lag."""
        return max(self.loop_lag_p99_s or 0.0, self.noise_floor_s or 0.0)

    def shifts(self) -> tuple[Shift, Shift]:
        """Every time shorter, and every time longer, by the error.

        Both count: a late send lengthens the measured latency, and it also thins the peak that others had to meet.
        """
        steal = self.steal or 0.0
        return (
            Shift(late_s=-self.late_s, stamp_s=-self.stamp_s, stretch=-steal),
            Shift(late_s=self.late_s, stamp_s=self.stamp_s, stretch=steal),
        )

    def spoils_all(self) -> str:
        """Why no gate of the run can be trusted; empty when they can."""
        if self.worker_died:
            return "a load worker of the harness died during the run"
        if self.lost_share > MOST_LOST:
            return f"the harness itself lost {self.lost_share:.1%} of the requests that came due (more than 1 %)"
        return ""
