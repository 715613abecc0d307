"""Drift of a run's input and of its answers, for scenarios that turn."""

from __future__ import annotations

from scenarios.definition import Scenario
from scenarios.observation import Judged, Observation
from scenarios.request import PlannedRequest
from scenarios.tick import DriftSample


class DriftWatch:
    def __init__(self, scenario: Scenario) -> None:
        pass

    def fold(self, request: PlannedRequest, observation: Observation, judged: Judged) -> None:
        pass

    def sample(self, t_s: float) -> DriftSample | None:
        return None

    def facts(self) -> dict[str, float | int | bool | str | None]:
        return {}
