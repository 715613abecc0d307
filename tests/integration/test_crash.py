"""Runs that are really killed, at different moments: little is lost, all is said, and the plan is finished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.load_bench.crash import StampingServer, crash


@pytest.fixture(scope="module")
def server() -> Iterator[StampingServer]:
    with StampingServer() as server:
        yield server


@pytest.mark.parametrize(("victim", "after_s"), [("runner", 0.0), ("runner", 0.7), ("runner", 1.4), ("worker", 0.9)])
def test_a_run_that_is_killed_loses_a_second_at_most_and_its_plan_is_finished(
    server: StampingServer, tmp_path: Path, victim: str, after_s: float
) -> None:
    assert crash(server, tmp_path, victim, after_s).problem == ""


def test_a_redacted_run_that_is_killed_is_finished_too(server: StampingServer, tmp_path: Path) -> None:
    assert crash(server, tmp_path, "runner", 0.8, "--redact").problem == ""
