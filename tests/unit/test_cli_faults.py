"""`seatrial faults`, `seatrial inject`, and what `seatrial run` says about faults before there are any."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from test_report_samples import RUN_ID, make_document, write_journal

import console.commands.inject
import console.launch
import console.liveness
import scenarios.runner
from console.cli import main
from console.options import console_options
from scenarios.catalogue import names
from scenarios.definition import FaultSpec, Keep
from scenarios.faults.asked import decode
from scenarios.faults.kinds import KINDS
from scenarios.journal import JournalReader, JournalWriter
from scenarios.result import Verdict
from scenarios.runner import RunOptions
from scenarios.tick import Event, FaultMark

Out = pytest.CaptureFixture[str]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEATRIAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SEATRIAL_API_KEY", raising=False)
    return tmp_path / "home" / "runs"


@pytest.fixture
def journal(runs: Path) -> Path:
    """A run that has not ended."""
    return write_journal(runs, state="running")


def commands(journal: Path) -> list[tuple[str, str]]:
    with JournalReader(journal) as reader:
        return [(command.kind, command.argument) for _, command in reader.commands()]


def test_every_kind_is_listed_with_what_it_needs(capsys: Out) -> None:
    assert main(["faults", "--target", "http://localhost:1"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in KINDS)
    assert "- engine.kill" in text
    assert "not here: it needs the target's process" in text.replace("\n" + " " * 26, " ")


@pytest.mark.parametrize(("name", "many"), [("engine", 10), ("stream.*", 7), ("network.latency", 1)])
def test_a_family_a_pattern_or_one_kind_can_be_asked_for(name: str, many: int, capsys: Out) -> None:
    assert main(["faults", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["faults"]
    assert len(found) == many
    assert all(one["touches"] and one["undone"] and one["client"] for one in found)


def test_one_kind_is_told_whole(capsys: Out) -> None:
    assert main(["faults", "network.latency"]) == 0
    text = capsys.readouterr().out
    assert "delay = 200ms: added to every byte" in text
    assert "(down, up, both)" in text
    assert main(["faults", "network.latncy"]) == 2
    assert 'did you mean "network.latency"?' in capsys.readouterr().err


class Answering:
    """Stands in for the runner of a journal: answers each command with an event as soon as it is there."""

    def __init__(self, journal: Path, kind: str) -> None:
        self._writer = JournalWriter.reopen(journal, Keep())
        self._kind = kind
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._writer.close()

    def _answer(self) -> None:
        taken = 0
        while not self._over.wait(0.005):
            for command in self._writer.take_commands(taken):
                taken = command.id
                if self._kind == "fault.start":  # somebody else's comes first
                    other = FaultMark(number=1, kind="host.cpu", command=command.id + 7)
                    self._writer.add_event(Event(t_s=1.0, kind="fault.refused", text="host.cpu: no", fault=other))
                mark = FaultMark(number=2, kind="stream.stall", command=command.id)
                text = "ends 2 faults" if command.kind == "end_faults" else f"stream.stall: {self._kind}"
                fault = None if command.kind == "end_faults" else mark
                self._writer.add_event(Event(t_s=2.0, kind=self._kind, text=text, fault=fault))
                self._writer.commit()


def test_a_fault_asked_for_becomes_a_command_of_the_run_which_answers_that_it_is_on(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setattr(console.liveness, "is_alive", lambda _: True)
    words = ["--for", "10s", "--share", "0.5", "--set", "delay=3s", "--hits", "4"]
    with Answering(journal, "fault.start"):
        assert main(["inject", RUN_ID, "stream.stall", *words]) == 0
    ((kind, argument),) = commands(journal)
    assert kind == "fault"
    assert decode(argument) == FaultSpec("stream.stall", 0.0, 10.0, 0.5, 4, params=(("after", 3), ("delay", 3.0)))
    assert f"run {RUN_ID}: fault 2 is on: stream.stall: fault.start;" in capsys.readouterr().err


def test_a_fault_that_the_run_refuses_is_told_with_the_reason(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setattr(console.liveness, "is_alive", lambda _: True)
    with Answering(journal, "fault.refused"):
        assert main(["inject", RUN_ID, "stream.stall", "--json"]) == 2
    out, err = capsys.readouterr()
    assert f"run {RUN_ID} refused: stream.stall: fault.refused" in err
    assert json.loads(out) == {
        "run": RUN_ID,
        "command": 1,
        "answer": "fault.refused",
        "text": "stream.stall: fault.refused",
        "t_s": 2.0,
        "fault": 2,
    }


def test_a_run_that_does_not_answer_leaves_it_open_what_came_of_the_fault(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setattr(console.liveness, "is_alive", lambda _: True)
    monkeypatch.setattr(console.commands.inject, "PATIENCE_S", 0.0)
    assert main(["inject", RUN_ID, "stream.stall", "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["answer"] is None
    assert "has not answered" in err
    alive = iter([True, False, False])
    monkeypatch.setattr(console.liveness, "is_alive", lambda _: next(alive))
    monkeypatch.setattr(console.commands.inject, "PATIENCE_S", 60.0)
    assert main(["inject", RUN_ID, "stream.stall"]) == 3
    assert "has ended without an answer" in capsys.readouterr().err


def test_all_faults_can_be_ended(journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setattr(console.liveness, "is_alive", lambda _: True)
    with Answering(journal, "operator.end_faults"):
        assert main(["inject", RUN_ID, "--end-all"]) == 0
    assert commands(journal) == [("end_faults", "")]
    assert f"run {RUN_ID}: ends 2 faults" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["network.latncy"], "did you mean"),
        (["network.latency", "--for", "soon"], "for has a wrong unit"),
        (["network.latency", "--share", "2"], "share is out of range"),
        (["network.latency", "--set", "delay"], "--set takes NAME=VALUE"),
        (["network.latency", "--set", "delay="], "--set takes NAME=VALUE"),
        (["network.latency", "--set", "delay=1s", "--set", "delay=2s"], "given twice"),
        (["network.latency", "--hits", "0"], "not between 1 and"),
        (["engine.kill", "--for", "3s"], "over as soon as it has struck"),
        (["engine.kill", "--end-all"], "takes nothing else"),
        ([], "which kind of fault?"),
        (["network.latency"], f"run {RUN_ID} is over"),
        (["--end-all"], f"run {RUN_ID} is over"),
    ],
)
def test_what_cannot_be_asked_for_leaves_no_command(journal: Path, words: list[str], says: str, capsys: Out) -> None:
    assert main(["inject", RUN_ID, *words]) == 2
    assert says in capsys.readouterr().err
    assert commands(journal) == []


def test_a_dry_run_names_every_fault_and_starts_nothing(runs: Path, capsys: Out) -> None:
    own = ["--target", "https://llm.example.com", "--i-own-this-target"]
    assert main(["run", "rough-seas", "--dry-run", *own]) == 0
    out, err = capsys.readouterr()
    for words in (
        "7 faults",
        "network.latency, for 15 s",
        "delay 100ms, jitter 20ms",
        "skipped: it needs the target's",
    ):
        assert words in out
    assert "error_rate above 0.6 for 10 s" in out
    assert "2 faults at once" in out
    assert "nothing was sent" in err
    assert not runs.exists()


@pytest.mark.parametrize("name", names())
def test_every_scenario_of_the_catalogue_can_be_rehearsed(name: str, runs: Path, capsys: Out) -> None:
    assert main(["run", name, "--dry-run", "--json", "--seed", "3"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["dry_run"] is True
    assert facts["seed"] == 3
    assert [fault["at_s"] for fault in facts["faults"]] == sorted(fault["at_s"] for fault in facts["faults"])
    assert all(fault["times"] == 1 and fault["undone"] for fault in facts["faults"])
    assert not runs.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "ftp://host"], "--target"),
        (["--target", "http://localhost:1", "--model", "x.gguf"], "give one of them"),
        (["--junit", "x.xml"], "--dry-run makes none"),
        (["--target", "https://llm.example.com"], "--i-own-this-target"),
        (["--target", "http://localhost:1", "--target-pid", "nowhere.pid"], "nowhere.pid"),
        (["--api-key-file", "nowhere.key"], "nowhere.key"),
        (["--model", "nowhere.gguf"], "nowhere.gguf cannot be read"),
        (["--model", "hf:nowhere"], "write hf:ORG/REPO:FILE.gguf"),
        (["--blast-radius", "0.5"], "hits a share of 1, more than 0.5"),
        (["--blast-radius", "0"], "not a share between 0 and 1"),
        (["--duration", "1h"], "longer than 15 s"),
    ],
)
def test_a_mistake_is_one_in_a_dry_run_as_well(words: list[str], says: str, runs: Path, capsys: Out) -> None:
    assert main(["run", "rough-seas", "--dry-run", *words]) == 2
    assert says in capsys.readouterr().err
    assert not runs.exists()


def test_a_dry_run_misses_the_keys_of_tenants_as_the_run_does(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.delenv("SEATRIAL_API_KEY_RED", raising=False)
    scenario = tmp_path / "shared.toml"
    scenario.write_text(
        'name = "shared"\nabout = "two tenants"\n[workload]\nprofile = "it-ops"\n[workload.tenants]\nred = 1\n'
        '[arrivals]\nkind = "constant"\nrate = 1\nduration = "5s"\n'
    )
    for words in ([], ["--dry-run"]):
        assert main(["run", str(scenario), "--target", "http://localhost:1", *words]) == 2
        assert "set SEATRIAL_API_KEY_RED to it" in capsys.readouterr().err
    assert main(["run", str(scenario), "--dry-run"]) == 0
    assert not runs.exists()


def test_the_outline_shows_faults_conditions_and_bounds(capsys: Out) -> None:
    assert main(["scenarios", "show", "rough-seas"]) == 0
    text = capsys.readouterr().out
    for words in ("network.reset 3 times between 54 s and 68 s", "Abort", "at most 100 % of the traffic"):
        assert words in text


@pytest.mark.parametrize(
    ("words", "inject", "own"), [([], False, False), (["--inject", "--i-own-this-target"], True, True)]
)
def test_the_runner_hears_what_may_be_disturbed(
    words: list[str], inject: bool, own: bool, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RunOptions] = []

    async def run_trial(options: RunOptions, *_: object) -> object:
        seen.append(options)
        document = make_document(Verdict.GO)
        write_journal(options.runs_dir, document, run_id=options.run_id)
        return document

    monkeypatch.setattr(scenarios.runner, "run_trial", run_trial)
    assert main(["run", "peak-traffic", "--blast-radius", "50%", "--run-id", RUN_ID, *words]) == 0
    (options,) = seen
    assert (options.inject, options.own_target) == (inject, own)
    assert options.scenario.blast.share == 0.5


def test_the_console_starts_runs_that_can_be_disturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from console.cli import parse

    started: list[list[str]] = []
    monkeypatch.setattr(console.launch, "start", lambda command, *_: started.append(command))
    args = console_options(parse(["--blast-radius", "0.25"]))
    console.launch.make_launcher(args, tmp_path, None, None)("peak-traffic")
    (command,) = started
    assert "--inject" in command
    assert command[command.index("--blast-radius") + 1] == "0.25"
