"""What is believed about a capacity after some probes: a probability for each rate on a grid.

The share of good answers against the rate is taken for a falling S in log(rate), as psychometrics does with the share
of right answers against the strength of a stimulus: a threshold, a steepness, and a lapse rate for what fails at any
load. Threshold and nuisances have a common posterior on a grid (Watson and Pelli, "QUEST: a Bayesian adaptive
psychometric method", Perception & Psychophysics 33, 1983; Kontsevich and Tyler, Vision Research 39, 1999).
A probe whose backlog grew adds a bound instead: nothing is served for long faster than it was served then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from scenarios.capacity.probe import Kind, Probe

Floats = npt.NDArray[np.float64]

STEP = 0.002  # of log(rate)
REACH = math.log(16.0)  # how far the grid goes to both sides of the first estimate
PRIOR_SCALE = 0.3  # of log(rate): how far off the first estimate is thought to be (Laplace)
WIDTHS = np.array([0.004, 0.01, 0.02, 0.04, 0.08, 0.16])  # of the S in log(rate)
LAPSES = np.array([0.0, 0.3, 0.6])  # of the share that may be bad
LARGEST_STEP = 16.0
SUREST = 0.002  # no probe may rule a rate out for ever: the S is only a likeness
COLLAPSED = 0.75  # of the best completion rate: below it an overloaded service serves less than it can
STANDING = 0.1  # of the slack: where even the quickest request waited so long, a queue stood all the time
KEPT_UP = 0.97
BOUND_ERROR = 0.004  # least relative error of a completion rate


@dataclass(frozen=True, slots=True)
class Belief:
    """Probability of each log(rate) to be the capacity."""

    log_rate: Floats
    probability: Floats

    def quantile(self, q: float) -> float:
        """The rate below which the capacity lies with probability `q`."""
        at = int(np.searchsorted(np.cumsum(self.probability), q))
        return math.exp(float(self.log_rate[min(at, len(self.log_rate) - 1)]))


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What an overloaded probe says: `served` requests per second, and where waiting alone would set the capacity."""

    served: float
    capacity: float
    error: float  # relative
    variability: float  # sum of the squared coefficients of variation of arrivals and service


def believe(estimate: float, share: float, cv2: float, probes: Sequence[Probe]) -> Belief:
    """The belief after steady probes, from a first estimate of the capacity (requests per second).

    `cv2`: squared coefficient of variation of the gaps between arrivals.
    """
    log_rate = math.log(estimate) + np.arange(-REACH, REACH, STEP)
    threshold = log_rate[:, None, None]
    width, lapse = WIDTHS[None, :, None], LAPSES[None, None, :] * (1 - share)
    level = share / (1 - lapse)
    offset = np.log(level / (1 - level))
    middle, scale = prior(estimate, share, probes)
    log_p: Floats = -np.abs(threshold - math.log(middle)) / scale + np.zeros((1, len(WIDTHS), len(LAPSES)))
    top = ceiling(probes, share, cv2)
    if top is not None:
        away = (threshold - math.log(top.capacity)) / top.error
        peak = np.exp(-0.5 * away**2) / top.error
        below = np.where(away < 0, np.exp(away * top.error / PRIOR_SCALE), 0.0) / PRIOR_SCALE
        log_p = log_p + np.log(0.65 * peak + 0.3 * below + 0.01)
    for probe in probes:
        if probe.kind is Kind.RAMP:
            continue
        good = (1 - lapse) * expit((threshold - math.log(probe.rate)) / width + offset)
        good = np.clip(good, SUREST, 1 - SUREST)
        p, n = probe.good_share, independent(probe, top)
        if probe.growing and not probe.shed:
            p = 0.0  # kept on for longer, it would fail
        log_p = log_p + n * (p * np.log(good) + (1 - p) * np.log1p(-good))
    weight = np.exp(log_p - log_p.max()).sum(axis=(1, 2))
    return Belief(log_rate, weight / weight.sum())


def prior(estimate: float, share: float, probes: Sequence[Probe]) -> tuple[float, float]:
    """Middle and scale of the prior: the first estimate, unless overload served far less than it.

    Then either the estimate was a flash in the pan or the service collapses under load, and the capacity may lie
    anywhere between.
    """
    failed = [p.completion_rate for p in probes if p.kind is Kind.STEADY and p.good_share < share]
    served = max(failed, default=estimate)
    if served >= COLLAPSED * estimate:
        return estimate, PRIOR_SCALE
    return math.sqrt(max(served, estimate / LARGEST_STEP) * estimate), 3 * PRIOR_SCALE


def ceiling(probes: Sequence[Probe], share: float, cv2: float) -> Ceiling | None:
    """What the overloaded probes say of the capacity; None without one, or where service collapsed under the load."""
    best = max((probe.completion_rate for probe in probes), default=0.0)
    slack_s = max((p.slack_s for p in probes if p.slack_s is not None), default=math.inf)
    over = [p for p in probes if overloaded(p, share, slack_s) and p.completion_rate >= COLLAPSED * best]
    if not over:
        return None
    weight = np.array([1 / (p.completion_error**2 + BOUND_ERROR**2) for p in over])
    served = float(np.average([p.completion_rate for p in over], weights=weight))
    service = float(np.mean([p.completion_error**2 * p.completion_rate * p.measured_s for p in over]))
    error = 1 / math.sqrt(float(weight.sum()))
    if any(p.shed for p in over):
        waits = all(p.completed_good < share for p in over if p.shed)
        at = served if waits else served / share
        return Ceiling(served, at, math.hypot(error, 0.03 * (cv2 + service)), 0.0)
    wait = (cv2 + service) * math.log(1 / (1 - share)) / (2 * served * max(slack_s, 1e-6))
    at = served * max(0.5, 1 - wait)
    return Ceiling(served, at, math.hypot(error, wait / 4), cv2 + service)


def overloaded(probe: Probe, share: float, slack_s: float) -> bool:
    """Whether the service was never idle in it: it grew a backlog, turned requests away, or kept everyone waiting."""
    if probe.kind is Kind.RAMP or not probe.completion_rate:
        return False
    if probe.growing or probe.shed > (1 - share) * probe.due:
        return True
    waited = probe.spare_s is None or slack_s - probe.spare_s > STANDING * slack_s
    arrived = probe.due / probe.measured_s
    return probe.good_share < share and waited and probe.completion_rate < KEPT_UP * arrived


def independent(probe: Probe, top: Ceiling | None) -> float:
    """How many independent requests the probe is worth: no more than it has relaxation times of its queue."""
    if top is None or top.variability < 1e-3:
        return probe.effective
    times = probe.measured_s * top.served * max(0.0, 1 - probe.rate / top.served) ** 2 / (2 * top.variability)
    return max(2.0, min(probe.effective, times))
