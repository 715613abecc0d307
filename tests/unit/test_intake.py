"""What is told while answers come in: when the target names another model than before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scenarios.definition import Slo
from scenarios.drift import DriftMonitor
from scenarios.journal import JournalWriter
from scenarios.observation import Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.runner.intake import Intake
from scenarios.runner.live import MOST_MODELS, LiveRun


def told(path: Path, names: Sequence[str], live: LiveRun | None = None) -> list[tuple[str, str]]:
    """The events of a run whose answers name themselves so."""
    live = live or LiveRun(np.zeros(len(names), dtype=np.int64), Slo())
    events: list[tuple[str, str]] = []

    def request(index: int) -> PlannedRequest:
        return PlannedRequest(index=index, due_ns=0, path="/", body=b"", profile="it-ops")

    async def take() -> None:
        journal = JournalWriter(path / "journal.sqlite")
        intake = Intake(journal, live, DriftMonitor(0), request, lambda kind, text: events.append((kind, text)))
        await intake.take(
            [
                Observation(index=at, due_ns=0, end_ns=1, outcome=Outcome.OK, fingerprint=name)
                for at, name in enumerate(names)
            ]
        )
        journal.close()

    asyncio.run(take())
    return events


def test_an_answer_that_names_another_model_is_told_once_with_both_names_and_its_request(tmp_path: Path) -> None:
    events = told(tmp_path, ["", "demo a", "demo a", "", "demo b", "demo a", "demo b"])
    assert events == [("target.changed", 'the answer to request 4 names "demo b", those before it "demo a"')]


def test_a_target_that_thinks_of_a_new_name_for_each_answer_does_not_flood_the_journal(tmp_path: Path) -> None:
    assert len(told(tmp_path, [f"m {at}" for at in range(200)])) == MOST_MODELS - 1


def test_a_run_that_goes_on_knows_what_it_heard_before(tmp_path: Path) -> None:
    live = LiveRun(np.zeros(1, dtype=np.int64), Slo())
    told(tmp_path / "a", ["demo a"], live)
    assert len(told(tmp_path / "b", ["demo b", "demo a"], live)) == 1
