"""The supervisor when starting, stopping and dying overlap, and what it is told; with stand-ins."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from engine_stand_ins import Peer, until
from hypothesis import given
from hypothesis import strategies as st

from engine import __main__ as engine_main
from engine.api import server
from engine.api.link import LinkState
from engine.api.metrics import Metrics
from engine.api.reporter import Reporter
from engine.api.requestlog import Recorder
from engine.config import EngineConfig
from engine.errors import StartError
from engine.standing import Message, Standing, hear
from engine.supervisor import EngineEvent, EngineState, EngineSupervisor


def told(kind: str, state: str, detail: str = "") -> str:
    """Shell that writes a message as the API process does."""
    line = f'{{"kind":"{kind}","detail":"{detail}","state":"{state}","pids":{{"api":'
    return f"echo '{line}'$$'}}}}'\n"


READY = told("ready", "ready")


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF")
    return EngineConfig(model=model, max_deaths=3, start_timeout_s=30.0, hang_timeout_s=30.0)


class StandIn:
    """A shell script in place of the API process; it notes each launch."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
        self.noted = folder / "launches"
        script = folder / "api.sh"
        script.write_text(f"#!/bin/sh\nread config\necho x >> '{self.noted}'\n{body}")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    @property
    def launches(self) -> int:
        return self.noted.read_text().count("x") if self.noted.exists() else 0


async def test_stopping_after_a_death_starts_no_other_process(
    config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = StandIn(tmp_path, monkeypatch, READY + "exec sleep 60\n")
    stops: list[asyncio.Task[None]] = []

    def hear(event: EngineEvent) -> None:
        if event.kind == "restarting":
            stops.append(asyncio.create_task(supervisor.stop(0.0)))

    supervisor = EngineSupervisor(config, hear)
    await supervisor.start()
    os.kill(supervisor.pids()["api"], signal.SIGKILL)
    await until(lambda: stops)
    await stops[0]
    assert api.launches == 1
    assert supervisor.state is EngineState.STOPPED


async def test_a_stop_while_starting_ends_the_start(
    config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = StandIn(tmp_path, monkeypatch, "read stop\n")
    supervisor = EngineSupervisor(config, lambda event: None)
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: api.launches)
    await supervisor.stop(0.0)
    with pytest.raises(StartError, match="was stopped while it was starting"):
        await asyncio.wait_for(starting, 10)
    assert supervisor.state is EngineState.STOPPED


@pytest.mark.parametrize("line", ["echo hello", "head -c 200000 /dev/zero | tr '\\\\0' x"], ids=["no JSON", "endless"])
async def test_a_process_that_writes_no_message_is_killed_and_its_start_fails(
    config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    StandIn(tmp_path, monkeypatch, f"{line}\nexec sleep 60\n")
    supervisor = EngineSupervisor(config, lambda event: None)
    with pytest.raises(StartError, match="no message"):
        await asyncio.wait_for(supervisor.start(), 10)
    assert supervisor.pids() == {}


async def test_an_engine_that_is_given_up_died_as_often_as_it_died(
    config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    StandIn(tmp_path, monkeypatch, READY + "exit 1\n")
    events: list[EngineEvent] = []
    supervisor = EngineSupervisor(config, events.append)
    await supervisor.start()
    await until(lambda: supervisor.state is EngineState.DEAD)
    kinds = [event.kind for event in events]
    assert (kinds.count("died"), kinds.count("recovered"), kinds[-1]) == (3, 2, "gave_up")
    await supervisor.stop()


async def test_a_decode_process_that_dies_before_the_server_is_up_makes_the_engine_ready_only_when_it_is_back(
    config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = told("died", "restarting") + told("ready", "restarting") + "sleep 0.2\n" + told("recovered", "ready")
    StandIn(tmp_path, monkeypatch, script + "exec sleep 60\n")
    seen: list[tuple[str, EngineState]] = []
    supervisor = EngineSupervisor(config, lambda event: seen.append((event.kind, supervisor.state)))
    await supervisor.start()
    assert seen == [
        ("starting", EngineState.STARTING),
        ("died", EngineState.STARTING),
        ("ready", EngineState.READY),
    ]
    await supervisor.stop(0.0)


def message(kind: str, state: str) -> Message:
    return Message(kind, "", state, {})


def test_a_stall_and_its_end_are_events() -> None:
    serving = Standing(serving=True, decode="ready")
    stalled, kind = hear(serving, message("stalled", "stalled"))
    assert (stalled.state, kind) == (EngineState.DEGRADED, "stalled")
    assert hear(stalled, message("recovered", "ready")) == (serving, "recovered")


def test_a_beat_puts_right_what_a_lost_message_left_wrong() -> None:
    serving = Standing(serving=True, decode="ready")
    degraded, kind = hear(serving, message("beat", "restarting"))
    assert (degraded.state, kind) == (EngineState.DEGRADED, "")
    assert hear(degraded, message("beat", "ready")) == (serving, "recovered")


states = st.sampled_from([state.value for state in LinkState])
kinds = st.sampled_from(["beat", "ready", "died", "hung", "stalled", "restarting", "recovered", "gave_up", "spawned"])


@given(st.lists(st.builds(message, kinds, states)))
def test_the_engine_is_ready_exactly_while_it_serves_and_decodes(messages: list[Message]) -> None:
    standing = Standing()
    for heard in messages:
        before, (standing, kind) = standing, hear(standing, heard)
        assert (standing.state is EngineState.READY) == (standing.serving and heard.state == "ready")
        came_back = standing.state is EngineState.READY and before.state is not EngineState.READY
        assert not came_back or kind in ("recovered", heard.kind)


class Pipe:
    """Takes lines while it has room."""

    def __init__(self) -> None:
        self.room = 0
        self.lines: list[bytes] = []

    def write(self, descriptor: int, data: bytes) -> int:
        if self.room <= 0:
            raise BlockingIOError
        self.room -= 1
        self.lines.append(data)
        return len(data)

    @property
    def kinds(self) -> list[str]:
        return [msgspec.json.decode(line)["kind"] for line in self.lines]


def test_an_event_that_a_full_pipe_did_not_take_is_told_later_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "set_blocking", lambda descriptor, blocking: None)
    pipe = Pipe()
    report = Reporter(True, lambda: {"state": "ready", "pids": {}}, pipe.write)
    report("died", "")
    report.beat()
    report("recovered", "")
    pipe.room = 1
    report.beat()
    assert pipe.kinds == ["died"]
    pipe.room = 9
    report.beat()
    assert pipe.kinds == ["died", "recovered"]
    report.beat()
    assert pipe.kinds == ["died", "recovered", "beat"]


@given(st.text())
def test_a_message_of_any_text_is_one_line_that_a_pipe_takes_whole(text: str) -> None:
    report = Reporter(False, lambda: {"state": "restarting", "pids": {"api": 1 << 22, "decode": 1 << 22}})
    line = report.line("failed", text * 500)
    assert len(line) <= 4096
    assert line.count(b"\n") == 1


async def test_a_wish_to_stop_does_not_wait_for_the_model(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[server.Stop] = []
    make = server.Stop

    def noted(grace_s: float) -> server.Stop:
        made.append(make(grace_s))
        return made[-1]

    monkeypatch.setattr(server, "Stop", noted)
    peer = Peer()
    peer.process.gone.set()
    serving = asyncio.create_task(server.serve(config, peer.child, None, supervised=False))
    await until(lambda: made)
    made[0].on_signal()
    assert await asyncio.wait_for(serving, 10) == 0
    peer.die()


async def test_the_log_names_a_bug_by_its_kind_and_place_and_not_by_its_values(
    config: EngineConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.api.app import App

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise ValueError("a secret prompt")

    link = SimpleNamespace(state=LinkState.READY, facts=None)
    app = App(config, cast(Any, link), Metrics(), Recorder(config), ())
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    await app(scope, receive, send)
    assert sent[0]["status"] == 500
    log = capsys.readouterr().err
    assert "event=bug" in log
    assert "error=ValueError" in log
    assert "secret" not in log


async def test_a_host_that_can_be_no_name_is_refused_in_one_line(config: EngineConfig, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sesame\n")
    named = replace(config, host="é..b", api_key_file=keys)
    with pytest.raises(StartError, match="no valid host name"):
        await EngineSupervisor(named, lambda event: None).start()


def test_a_niceness_that_is_not_allowed_is_a_bad_setting(
    config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(by: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    settings = tmp_path / "engine.json"
    settings.write_bytes(replace(config, nice=-5).to_json())
    monkeypatch.setattr(os, "nice", refuse)
    monkeypatch.setattr(sys, "argv", ["engine", "--config-json", str(settings)])
    assert engine_main.main() == 2
    assert "nice: -5" in capsys.readouterr().err
