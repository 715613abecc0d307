"""What the harness thinks of the content of one answer: exact, or as a correct server does, and what safety finds."""

from __future__ import annotations

from engine.safety import scan
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.odd import is_correct
from scenarios.request import PlannedRequest

SCANNED_CHARACTERS = 100_000  # an answer longer than this is scanned up to here


def judge_content(request: PlannedRequest, observation: Observation) -> tuple[Judged, tuple[Finding, ...]]:
    """Judge one observation against its request. Pure."""
    judged = Judged(index=request.index, correct=_correct(request, observation))
    if not observation.answer:
        return judged, ()
    found = scan(observation.answer[:SCANNED_CHARACTERS], planted=request.expect.planted)
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
