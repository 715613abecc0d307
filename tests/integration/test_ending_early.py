"""A run whose sequential gates have spoken ends there, and its journal tells the same story ever after."""

from __future__ import annotations

from pathlib import Path

from scripted_server import ScriptedServer, Turn
from test_trial import Watch, fine, options

from scenarios.definition import GateSpec
from scenarios.journal import JournalReader
from scenarios.rebuild import rebuild
from scenarios.result import GateVerdict, ResultDocument, Verdict
from scenarios.runs import journal_path

GOOD = GateSpec("ok_rate", minimum=0.5, name="most are served", sequential=True)
PROMPT = GateSpec("ttft_s.p50", maximum=5.0, sequential=True)


def rebuilt(runs: Path) -> ResultDocument:
    with JournalReader(journal_path(runs, "r1")) as reader:
        return rebuild(reader)


async def broken(turn: Turn) -> bool:
    await turn.say(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    return True


async def test_a_run_ends_with_go_once_every_gate_has_passed(tmp_path: Path) -> None:
    watch = Watch()
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path, duration_s=30.0, gates=(GOOD, PROMPT)))
    assert document.verdict is Verdict.GO
    assert document.run.state == "done"
    assert "gates.decided" in watch.kinds
    outcomes = document.summary.outcomes
    assert outcomes["unsent"] > 300
    assert sum(outcomes.values()) == document.summary.planned == 600
    assert document.summary.goodput == 1.0  # what was not sent any more was not in the window
    assert document.summary.window.excluded >= outcomes["unsent"]
    assert "decided the gates" in document.summary.window.note
    assert {gate.state for gate in watch.ticks[-1].gates} == {"pass"}
    assert rebuilt(tmp_path) == document


async def test_a_run_ends_with_no_go_once_one_sequential_gate_has_failed(tmp_path: Path) -> None:
    watch = Watch()
    slow = GateSpec("e2e_s.p50", maximum=5.0)
    async with ScriptedServer(broken) as server:
        document = await watch.run(options(server.url, tmp_path, duration_s=30.0, gates=(slow, GOOD)))
    assert document.verdict is Verdict.NO_GO
    assert [gate.verdict for gate in document.gates] == [GateVerdict.INCONCLUSIVE, GateVerdict.FAIL]
    assert document.summary.outcomes["unsent"] > 300
    assert rebuilt(tmp_path) == document


async def test_gates_that_look_once_are_given_the_whole_run(tmp_path: Path) -> None:
    watch = Watch()
    once = GateSpec("error_rate", maximum=0.5)
    async with ScriptedServer(fine) as server:
        document = await watch.run(options(server.url, tmp_path, gates=(GOOD, once)))
    assert document.verdict is Verdict.GO
    assert document.summary.outcomes["ok"] == 40
    assert "gates.decided" not in watch.kinds
    assert rebuilt(tmp_path) == document
