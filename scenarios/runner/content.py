"""What the harness thinks of the content of one answer: exact, or as a correct server does, and what safety finds."""

from __future__ import annotations

from functools import lru_cache

import engine.safety
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.odd import is_correct
from scenarios.request import PlannedRequest

SCANNED_CHARACTERS = 100_000  # an answer longer than this is scanned up to here
_SHORT = 1_000  # characters; so many short answers are remembered with what was found in them
_REMEMBERED = 4_096

_scan_again = lru_cache(_REMEMBERED)(engine.safety.scan)


def judge_content(request: PlannedRequest, observation: Observation) -> tuple[Judged, tuple[Finding, ...]]:
    """Judge one observation against its request. Pure."""
    judged = Judged(index=request.index, correct=_correct(request, observation))
    answer = observation.answer
    if not answer:
        return judged, ()
    scan = _scan_again if len(answer) <= _SHORT else engine.safety.scan
    found = scan(answer[:SCANNED_CHARACTERS], planted=request.expect.planted)
    return judged, tuple(
        Finding(
            index=request.index,
            category=finding.category,
            severity=finding.severity,
            start=finding.start,
            end=finding.end,
            detector=finding.detector,
            excerpt=finding.excerpt,
        )
        for finding in found
    )


def _correct(request: PlannedRequest, observation: Observation) -> bool | None:
    expect = request.expect
    if expect.allowed:
        return is_correct(expect.allowed, observation.outcome, observation.status)
    if expect.answer is None or observation.outcome is not Outcome.OK:
        return None
    return observation.answer.strip() == expect.answer.strip()
