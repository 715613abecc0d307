"""Trying again: when the next try is due, and one observation out of several tries. Pure; times in ns from t0."""

from __future__ import annotations

import math

import msgspec

from scenarios.observation import Observation, Outcome
from scenarios.request import Retry

_NS = 1_000_000_000
_LONGEST_S = 1e9
LONGEST_ASKED_S = 60.0  # a client that is asked to wait longer gives up
RETRIED = frozenset(
    {Outcome.SHED, Outcome.REFUSED, Outcome.RESET, Outcome.TRUNCATED, Outcome.TIMEOUT, Outcome.HTTP_5XX}
)


def next_try_ns(retry: Retry, tries: int, end_ns: int, retry_after_s: float | None) -> int:
    """When the next try is due after `tries` of them, the last one over at `end_ns`.

    A client that waits at all also waits as long as the server asked it to.
    """
    try:
        wait_s = min(retry.wait_s * retry.factor ** (tries - 1), _LONGEST_S)
    except OverflowError:
        wait_s = _LONGEST_S
    if retry.wait_s > 0 and retry_after_s is not None:
        wait_s = max(wait_s, retry_after_s)
    due_ns = end_ns + round(wait_s * _NS)
    step_ns = round(retry.align_s * _NS)
    return math.ceil(due_ns / step_ns) * step_ns if step_ns else due_ns


class Retries:
    """Requests that were tried and will be, or are being, tried again: what came of their tries so far."""

    def __init__(self) -> None:
        self._last: dict[int, Observation] = {}  # of the tries so far, as one

    def __contains__(self, index: int) -> bool:
        return index in self._last

    def written(self, index: int) -> bool:
        """Whether one of its tries so far was written."""
        so_far = self._last.get(index)
        return so_far is not None and so_far.sent_ns is not None

    def again_ns(self, retry: Retry, observation: Observation) -> int | None:
        """When the request is to be tried again, None if this was the last try. Then `settle` has its observation."""
        so_far = self._last[observation.index] = self._joined(observation)
        if so_far.attempts >= retry.attempts or observation.outcome not in RETRIED:
            return None
        if retry.wait_s > 0 and (observation.retry_after_s or 0.0) > LONGEST_ASKED_S:
            return None
        return next_try_ns(retry, so_far.attempts, observation.end_ns, observation.retry_after_s)

    def settle(self, index: int) -> Observation:
        """The one observation of all its tries."""
        return self._last.pop(index)

    def _joined(self, observation: Observation) -> Observation:
        """The tries as one: due and first written when the first was; one unwritten is no try.

        How often the target began to answer is counted, all else is of the last.
        """
        before = self._last.get(observation.index)
        if before is None:
            return observation
        if observation.outcome is Outcome.UNSENT:
            return before
        return msgspec.structs.replace(
            observation,
            due_ns=before.due_ns,
            sent_ns=observation.sent_ns if before.sent_ns is None else before.sent_ns,
            attempts=before.attempts + 1,
            begun=before.begun + observation.begun,
        )
