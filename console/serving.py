"""One engine served from the command line: what is said before, while and after it loads, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from console import terminal
from console.exits import Exit
from engine.config import EngineConfig, read_keys
from engine.errors import StartError
from engine.resolve import FitReport
from engine.supervisor import EngineEvent, EngineState, EngineSupervisor
from scenarios.report.words import one_line

_REDRAW_S, _REPEAT_S = 0.2, 10.0


def announce(config: EngineConfig, report: FitReport) -> None:
    """Say what is going to be served, on what, and what it will take, before it is loaded."""
    threads = config.thread_count()
    for word, text in (
        ("model", report.model.about),
        ("device", report.device),
        ("memory", f"estimated {report.memory}"),
        ("serving", f"{config.slots} slots x {config.ctx} tokens, {config.queue_limit} may wait, threads: {threads}"),
        *(("warning", text) for text in report.fit.warnings),
    ):
        terminal.note(f"{word:<8} {one_line(text)}")


class Serving:
    """One server from its start to its end."""

    def __init__(self, config: EngineConfig, log: Path | None, *, as_json: bool) -> None:
        self._config, self._as_json = config, as_json
        self._supervisor = EngineSupervisor(config, self._hear, log)
        self._ended = asyncio.Event()
        self._code: Exit | None = None

    async def run(self) -> int:
        """Serve until a signal, or until the engine is given up. Raises EngineError when it does not start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        starting = asyncio.create_task(self._supervisor.start())
        ending = asyncio.create_task(self._ended.wait())
        try:
            with _showing(asyncio.create_task(_progress(time.monotonic()))):
                await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await self._ready()
                await ending
        finally:
            for task in (starting, ending):
                task.cancel()
            await asyncio.gather(starting, ending, return_exceptions=True)
            await self._supervisor.stop(self._config.drain_s)
        return self._code or Exit.GO

    def _stop(self, number: int) -> None:
        if self._ended.is_set():
            terminal.note("ending at once")
            self._supervisor.kill()
            return
        self._code = Exit.INTERRUPTED if number == signal.SIGINT else Exit.GO
        _wipe()
        terminal.note(f"stopping: running requests get {self._config.drain_s:g} s; again to end at once")
        self._ended.set()

    def _hear(self, event: EngineEvent) -> None:
        _wipe()
        terminal.note(f"engine   {event.kind}" + (f": {one_line(event.detail)}" if event.detail else ""))
        if self._supervisor.state is EngineState.DEAD:
            self._code = Exit.TARGET
            self._ended.set()

    async def _ready(self) -> None:
        """Say where it is and, in the engine's own words, on what it really runs. Raises StartError."""
        url, config = self._supervisor.url, self._config
        key = read_keys(config.api_key_file)[0] if config.api_key_file else b""
        headers = {b"authorization": b"Bearer " + key} if key else {}
        try:
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10.0, trust_env=False) as http:
                card = await _json(http, "/v1/models")
                props = await _json(http, "/props")
        except httpx.HTTPError as error:
            raise StartError(f"it does not tell what it serves ({error})", "See --log FILE") from error
        if config.mmproj is not None and not props["modalities"]["vision"]:
            raise StartError(
                f"it takes no images with {config.mmproj}", "It needs a build with libmtmd; or leave it out"
            )
        model = card["data"][0]
        meta = model["meta"]
        if self._as_json:
            facts = {name: meta[name] for name in ("device", "gpu_layers", "slots", "n_ctx", "quantisation")}
            terminal.emit_json(json.dumps({"url": url, "model": model["id"], **facts}) + "\n")
        else:
            terminal.emit(f"{url}\n")
        terminal.note(f"ready    on {one_line(meta['device'])}; Ctrl-C ends it")


async def _json(http: httpx.AsyncClient, path: str) -> Any:
    answer = await http.get(path)
    return answer.raise_for_status().json()


@contextlib.contextmanager
def _showing(task: asyncio.Task[None]) -> Iterator[None]:
    try:
        yield
    finally:
        task.cancel()
        _wipe()


async def _progress(begun_s: float) -> None:
    """How long it has been loading: rewritten for a person, now and then for a log."""
    person = terminal.redraws(sys.stderr)
    while True:
        await asyncio.sleep(_REDRAW_S if person else _REPEAT_S)
        text = f"loading  {time.monotonic() - begun_s:.1f} s"
        if person:
            _wipe()
            sys.stderr.write(text)
            sys.stderr.flush()
        else:
            terminal.note(text)


def _wipe() -> None:
    """Take the progress line back, where a person sees one."""
    if terminal.redraws(sys.stderr):
        sys.stderr.write("\r\x1b[2K")
