"""The supervisor and the link to the decode process when starting, stopping and dying overlap; with stand-ins."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine import __main__ as engine_main
from engine import wire
from engine.api import link as link_module
from engine.api import server
from engine.api.child import DecodeChild
from engine.api.link import DecodeLink, LinkState
from engine.api.metrics import Metrics
from engine.config import EngineConfig
from engine.errors import StartError
from engine.supervisor import EngineEvent, EngineState, EngineSupervisor

READY = """echo '{"kind":"ready","detail":"","pids":{"api":'$$'}}'\n"""


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF")
    return EngineConfig(model=model, max_restarts=3, start_timeout_s=30.0, hang_timeout_s=30.0)


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


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what is waited for is no event of ours
            await asyncio.sleep(0.01)


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


class FakeProcess:
    """A process that is gone only when `gone` is set."""

    pid = 4242

    def __init__(self) -> None:
        self.gone = threading.Event()
        self.kills = 0

    def kill(self) -> None:
        self.kills += 1

    def wait(self) -> int:
        assert self.gone.wait(20)
        return -9

    def poll(self) -> int | None:
        return -9 if self.gone.is_set() else None


def facts() -> wire.ModelFacts:
    names = wire.ModelFacts.__struct_fields__
    words = {"description", "quantisation", "device", "chat_template", "bos", "eos", "build"}
    return wire.ModelFacts(**{name: "" if name in words else 1 for name in names})  # type: ignore[arg-type]


def a_link(config: EngineConfig, said: list[tuple[str, str]]) -> tuple[DecodeLink, FakeProcess, socket.socket]:
    ours, theirs = socket.socketpair()
    process = FakeProcess()
    child = DecodeChild(cast(Any, process), ours)
    link = DecodeLink(config, child, Metrics(), lambda kind, detail: said.append((kind, detail)))
    theirs.sendall(wire.pack(wire.Hello(facts(), process.pid, 0.0)))
    return link, process, theirs


async def test_a_decode_process_that_cannot_be_started_again_is_tried_again_and_then_given_up(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(config: EngineConfig) -> DecodeChild:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(link_module, "spawn_decode", full)
    said: list[tuple[str, str]] = []
    link, process, theirs = a_link(config, said)
    assert await link.start() == ""
    process.gone.set()
    theirs.close()
    await until(lambda: link.state is LinkState.GAVE_UP)
    assert "cannot be started: Resource temporarily unavailable" in link.detail
    assert [kind for kind, _ in said] == ["died", "restarting", "died", "restarting", "died", "gave_up"]
    await link.close()


async def test_a_process_that_is_slow_to_die_is_hung_once(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "WATCH_S", 0.01)
    said: list[tuple[str, str]] = []
    hanging = EngineConfig(model=config.model, hang_timeout_s=0.5)
    link, process, theirs = a_link(hanging, said)
    assert await link.start() == ""
    await until(lambda: process.kills)
    await asyncio.sleep(0.2)  # twenty more looks
    assert process.kills == 1
    assert [kind for kind, _ in said] == ["stalled", "hung"]
    process.gone.set()
    theirs.close()
    await link.close()


async def test_a_wish_to_stop_does_not_wait_for_the_model(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[server.Stop] = []
    make = server.Stop

    def noted(grace_s: float) -> server.Stop:
        made.append(make(grace_s))
        return made[-1]

    monkeypatch.setattr(server, "Stop", noted)
    ours, theirs = socket.socketpair()
    process = FakeProcess()
    process.gone.set()
    serving = asyncio.create_task(server.serve(config, DecodeChild(cast(Any, process), ours), None, supervised=False))
    await until(lambda: made)
    made[0].on_signal()
    assert await asyncio.wait_for(serving, 10) == 0
    theirs.close()


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
    app = App(config, cast(Any, link), Metrics(), (), "fp_0")
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
