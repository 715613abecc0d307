"""A chaos search over the wire: planted bugs are found, made small and fail again; a sound server is left in peace."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from test_trial import Watch

from scenarios.chaos.gates import SAME
from scenarios.journal import JournalReader
from scenarios.rebuild import rebuild
from scenarios.result import ResultDocument, Verdict
from scenarios.runner import RunOptions
from scenarios.runner.chaos import ANSWERS
from scenarios.runs import journal_path
from scenarios.scenario_file import read_scenario
from tests.planted.scenario import launch, write_scenario
from tests.planted.server import BUGS

BUDGET_S = 150.0


def options(scenario: Path, folder: Path, bug: str, run_id: str, **changes: object) -> RunOptions:
    return RunOptions(
        scenario=read_scenario(scenario),
        seed=1,
        runs_dir=folder / "runs",
        run_id=run_id,
        launch=launch(bug, folder),
        preflight_s=0.2,
        **changes,  # type: ignore[arg-type]
    )


def rebuilt(folder: Path, run_id: str) -> ResultDocument:
    with JournalReader(journal_path(folder / "runs", run_id)) as reader:
        return rebuild(reader)


@pytest.mark.parametrize("bug", BUGS[1:])
def test_a_planted_bug_is_found_made_small_and_fails_again_from_its_file(bug: str, tmp_path: Path) -> None:
    watch = Watch()
    found = asyncio.run(watch.run(options(write_scenario(tmp_path, BUDGET_S), tmp_path, bug, "search")))
    assert found.verdict is Verdict.NO_GO
    assert rebuilt(tmp_path, "search") == found
    chaos = found.summary.chaos
    assert chaos is not None
    assert chaos.minimal is not None
    minimal = chaos.minimal
    assert minimal.failed >= 2
    assert 1 <= len(minimal.faults) <= 2
    assert minimal.requests <= 5
    assert chaos.tries == watch.kinds.count("chaos.try")
    assert any("try 2, explore" in tick.stage for tick in watch.ticks)
    assert Path(minimal.path).read_text(encoding="utf-8") == minimal.toml
    again = asyncio.run(Watch().run(options(Path(minimal.path), tmp_path, bug, "again")))
    assert again.verdict is Verdict.NO_GO
    assert [gate.name for gate in again.gates] == [minimal.gate]


def test_where_nobody_knows_the_right_answers_the_servers_own_stand_for_them(tmp_path: Path) -> None:
    bug = "foreign-tokens-after-restart"
    scenario = write_scenario(tmp_path, BUDGET_S, known=False)
    found = asyncio.run(Watch().run(options(scenario, tmp_path, bug, "search")))
    assert found.verdict is Verdict.NO_GO
    assert rebuilt(tmp_path, "search") == found
    chaos = found.summary.chaos
    assert chaos is not None
    assert chaos.minimal is not None
    assert chaos.minimal.gate == SAME
    assert (len(chaos.minimal.faults), chaos.minimal.requests) <= (2, 5)
    assert any("the target's own" in warning for warning in chaos.warnings)
    answers = Path(chaos.minimal.path).with_name(ANSWERS)
    assert answers.stat().st_mode & 0o077 == 0
    again = asyncio.run(Watch().run(options(Path(chaos.minimal.path), tmp_path, bug, "again")))
    assert again.verdict is Verdict.NO_GO


def test_of_a_sound_server_nothing_is_said_but_how_much_was_tried(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path, 25.0)
    document = asyncio.run(Watch().run(options(scenario, tmp_path, "none", "search")))
    chaos = document.summary.chaos
    assert chaos is not None
    assert chaos.minimal is None, chaos.minimal
    assert chaos.explored >= 2
    assert document.verdict is not Verdict.NO_GO
    assert f"in {chaos.explored} tries" in document.why or document.verdict is Verdict.INVALID


def test_a_search_that_is_stopped_says_what_it_tried_and_is_inconclusive(tmp_path: Path) -> None:
    watch = Watch()

    async def stopped() -> ResultDocument:
        running = asyncio.create_task(watch.run(options(write_scenario(tmp_path, 100.0), tmp_path, "none", "search")))
        while "try 2" not in (watch.ticks[-1].stage if watch.ticks else ""):
            watch.shown.clear()
            await watch.shown.wait()
        watch.stop.set()
        return await running

    document = asyncio.run(stopped())
    assert document.verdict is Verdict.INCONCLUSIVE
    assert document.run.state == "interrupted"
    assert document.summary.planned == sum(document.summary.outcomes.values())
    assert rebuilt(tmp_path, "search") == document
