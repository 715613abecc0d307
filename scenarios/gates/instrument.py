"""The harness's own error, and what it can have done to a measured time.

The harness measures how late it was itself: for each request how late it was sent, for each moment how long what came
in it would have waited for its stamp. Both are known as points (share, late_s): at most this share was later than that.
With a share s later than e in all, the q-quantile of what a perfect instrument had measured lies between the measured
quantiles of q - s and q + s, less and plus e: at most s of the ranks can have moved further than e. That holds for
every point, so the tightest of all those intervals holds as well. A stall of half a second in a minute is not seen by
the 99th percentile of the lag, and yet a gate on the 99th percentile can turn on it: here it counts as 1 % of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scenarios.stats import binomial
from scenarios.summary.rates import Shift

MOST_LOST = 0.01
LATE_S = 0.010  # plainly late: a hundred times what an alarm needs on a good machine, three turns of Linux's scheduler
MOST_LATE = 0.10  # of the requests or of the time: beyond it the harness was not keeping up
MOST_ASLEEP_S = 0.05
_SURE = 0.99

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Doubt:
    """At most `share` of the values are off by more than `shift` says."""

    share: float
    shift: Shift


@dataclass(frozen=True, slots=True)
class InstrumentError:
    """What the harness measured about itself; nothing where not measured.

    send: points (share of requests, sent later than this). stamp: points (share of moments, what came in them was
    stamped later than this). noise_send_s, noise_stamp_s: both before the run, p99; the error is never taken to be
    less. steal: share of CPU time that the hypervisor took, 0..1, by which any time may be stretched. late_share: of
    requests or of time, plainly late (the larger of both). lost_share: requests never sent, or given up by the harness
    itself, of those that came due. asleep_s: the machine was suspended. worker_died: a load worker ended early;
    proxy_died: the fault proxy in the path did, and requests that met nobody say nothing about the target.
    """

    send: Points = ()
    stamp: Points = ()
    noise_send_s: float = 0.0
    noise_stamp_s: float = 0.0
    steal: float = 0.0
    late_share: float = 0.0
    lost_share: float = 0.0
    asleep_s: float = 0.0
    worker_died: bool = False
    proxy_died: bool = False

    @classmethod
    def of(cls, facts: Mapping[str, object], lost_share: float) -> InstrumentError:
        """By the facts that the run journalled about itself (scenarios.runner.instrument)."""

        def number(name: str) -> float:
            value = facts.get(name)
            return float(value) if isinstance(value, (int, float)) else 0.0

        def points(p50: str, p99: str, p999: str, most: str) -> Points:
            named = ((0.5, p50), (0.01, p99), (0.001, p999), (0.0, most))
            return tuple((share, number(name)) for share, name in named if facts.get(name) is not None)

        return cls(
            send=points("send_lag_p50_s", "send_lag_p99_s", "send_lag_p999_s", "send_lag_max_s"),
            stamp=points("stamp_lag_p50_s", "stamp_lag_p99_s", "stamp_lag_p999_s", "stall_max_s"),
            noise_send_s=number("noise_send_p99_s"),
            noise_stamp_s=number("noise_floor_p99_s"),
            steal=number("steal"),
            late_share=max(number("sent_late_share"), number("stalled_share")),
            lost_share=lost_share,
            asleep_s=number("asleep_s"),
            worker_died=bool(number("worker_deaths")),
            proxy_died=bool(number("proxy_deaths")),
        )

    def shorter(self, n: int, stamps: int = 1, from_due: bool = True) -> tuple[Doubt, ...]:
        """By how much n values, of a due time where `from_due` and of so many stamps, can have been measured too long.

        Which values meet the harness's stalls is chance, so the share of moments becomes a share of n values by its
        upper binomial limit (99 %); which requests were sent late is counted, not guessed.
        """
        return tuple(
            Doubt(sent + stamped, Shift(-sent_s - stamped_s, -stamped_s, -self.steal))
            for sent, sent_s in self._sends(from_due)
            for stamped, stamped_s in self._stamps(n, stamps)
        )

    def longer(self, n: int, stamps: int = 1, from_due: bool = True) -> tuple[Doubt, ...]:
        """By how much they can have been measured too short.

        A late stamp never shortens a time from due. A late send does not either, for its own request, but it thins the
        peak that others had to meet.
        """
        waits = self._stamps(n, stamps) if stamps > 1 else [(0.0, 0.0)]
        return tuple(
            Doubt(sent + stamped, Shift(sent_s, stamped_s, self.steal))
            for sent, sent_s in self._sends(from_due)
            for stamped, stamped_s in waits
        )

    def _sends(self, from_due: bool) -> list[tuple[float, float]]:
        if not from_due:
            return [(0.0, 0.0)]
        points = [(share, max(late_s, self.noise_send_s)) for share, late_s in self.send]
        return _tightest(points or [(0.0, self.noise_send_s)])

    def _stamps(self, n: int, stamps: int) -> list[tuple[float, float]]:
        points = [
            (stamps * binomial.upper(moments * n, n, _SURE) if moments else 0.0, max(late_s, self.noise_stamp_s))
            for moments, late_s in self.stamp
        ]
        return _tightest(points or [(0.0, self.noise_stamp_s)])

    def spoils_all(self) -> str:
        """Why no gate of the run can be trusted; empty when they can."""
        if self.worker_died:
            return "a load worker of the harness died during the run"
        if self.proxy_died:
            return "the harness's fault proxy, which requests pass through, died during the run"
        if self.lost_share > MOST_LOST:
            return f"the harness itself lost {self.lost_share:.1%} of the requests that came due (more than 1 %)"
        if self.asleep_s > MOST_ASLEEP_S:
            return f"the machine of the harness was suspended for {self.asleep_s:.3g} s during the run"
        if self.late_share > MOST_LATE:
            return (
                f"the harness was not keeping up: {self.late_share:.0%} of the requests or of the time it was more "
                f"than {LATE_S * 1e3:g} ms late (up to {MOST_LATE:.0%} pass for sharing a machine)"
            )
        return ""


def _tightest(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one is as good as in both."""
    kept: list[tuple[float, float]] = []
    for share, late_s in sorted(points):
        if not kept or late_s < kept[-1][1]:
            kept.append((share, late_s))
    return kept
