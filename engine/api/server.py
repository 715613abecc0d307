"""The API process: bring up decode link and HTTP server, report to the supervisor, drain on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Coroutine, Iterator
from typing import Any

import uvicorn

from engine.api.app import App
from engine.api.child import DecodeChild
from engine.api.http import BoundedHttpProtocol, Limits
from engine.api.link import DecodeLink
from engine.api.metrics import Metrics
from engine.api.reporter import Reporter
from engine.api.requestlog import Recorder
from engine.config import EngineConfig, read_keys
from engine.errors import ConfigError
from engine.listening import BACKLOG, bind
from engine.process import log

BEAT_S = 0.25


class Stop:
    """The wish to stop: the first signal asks to drain, the second one to hurry."""

    def __init__(self, grace_s: float) -> None:
        self.grace_s = grace_s
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def on_signal(self) -> None:
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()

    def ask(self, grace_s: float) -> None:
        """Drain for at most `grace_s`."""
        self.grace_s = grace_s
        if grace_s <= 0:
            self.hurried.set()
        self.asked.set()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, since draining is decided here, and with an event when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(config: EngineConfig, child: DecodeChild, descriptor: int | None, *, supervised: bool) -> int:
    """Run until a signal, until stdin closes (supervised), or until loading fails. Returns the exit code."""

    def standing() -> dict[str, object]:
        parts = {"api": os.getpid(), "decode": link.pid}
        return {"state": link.state.value, "pids": {name: pid for name, pid in parts.items() if pid}}

    report = Reporter(supervised, standing)
    metrics = Metrics()
    link = DecodeLink(config, child, metrics, report)
    keys = read_keys(config.api_key_file) if config.api_key_file else ()
    stop = Stop(config.drain_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.on_signal)
    tasks = [asyncio.create_task(_beat(report), name="beat")]
    if supervised:
        tasks.append(asyncio.create_task(_follow_parent(stop), name="parent"))
    recorder: Recorder | None = None
    try:
        recorder = Recorder(config)
        app = App(config, link, metrics, recorder, keys)
        problem = await _unless(stop, link.start())
        if problem is None:
            log("api", "stopped", while_loading=True)
            return 0
        if problem:
            report("failed", problem)
            log("api", "start_failed", why=problem)
            return 1
        app.template()  # takes up to 0.1 s, which the first request need not wait for
        return await _serve_http(config, app, recorder, link, report, descriptor, stop)
    except ConfigError as error:
        report("failed", str(error))
        log("api", "bad_config", error=str(error))
        return 2
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ends: list[Awaitable[None]] = [link.close()]
        if recorder is not None:
            ends.append(asyncio.to_thread(recorder.close))
        await asyncio.gather(*ends)


async def _unless(stop: Stop, work: Coroutine[Any, Any, str]) -> str | None:
    """The result of `work`; None when the wish to stop came first, and `work` was cancelled."""
    working = asyncio.create_task(work, name="load")
    asked = asyncio.create_task(stop.asked.wait(), name="stop")
    try:
        await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        asked.cancel()
        await asyncio.gather(working, asked, return_exceptions=True)


async def _serve_http(
    config: EngineConfig,
    app: App,
    recorder: Recorder,
    link: DecodeLink,
    report: Reporter,
    descriptor: int | None,
    stop: Stop,
) -> int:
    Limits.header_bytes, Limits.header_s = config.header_limit_bytes, config.header_timeout_s
    Limits.write_s = config.write_timeout_s
    Limits.connections = config.connection_limit
    try:
        # The supervisor's, which outlives this process, or one of our own.
        sock = bind(config) if descriptor is None else socket.socket(fileno=descriptor)
    except OSError as error:
        report("failed", f"cannot listen on {config.host}:{config.port}: {error.strerror}")
        log("api", "start_failed", why=f"cannot listen on {config.host}:{config.port}: {error.strerror}")
        return 1
    host, port = sock.getsockname()[:2]
    recorder.listens_on(host, port)
    server = _Server(
        uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            backlog=BACKLOG,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[sock]), name="http")
    up = asyncio.create_task(server.up.wait(), name="up")
    await asyncio.wait({serving, up}, return_when=asyncio.FIRST_COMPLETED)
    if not server.up.is_set():
        up.cancel()
        await serving
        return 1
    report("ready", f"http://{host}:{port}")
    log("api", "ready", url=f"http://{host}:{port}", model=config.name)
    stopped = asyncio.create_task(stop.asked.wait(), name="stop")
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    app.draining = True
    report("draining", f"{len(link.tickets)} requests open")
    log("api", "draining", open=len(link.tickets))
    drained = asyncio.create_task(link.drained(), name="drained")
    hurried = asyncio.create_task(stop.hurried.wait(), name="hurried")
    await asyncio.wait({drained, hurried}, timeout=stop.grace_s, return_when=asyncio.FIRST_COMPLETED)
    link.fail_open("the engine is shutting down")
    await asyncio.wait({drained}, timeout=0.2)
    for task in (drained, hurried):
        task.cancel()
    server.should_exit = True
    await serving
    log("api", "stopped")
    return 0


async def _beat(report: Reporter) -> None:
    while True:
        report.beat()
        await asyncio.sleep(BEAT_S)


async def _follow_parent(stop: Stop) -> None:
    """Obey `stop SECONDS` on stdin. stdin closes when the supervisor's process ends, however it ends."""
    reader = asyncio.StreamReader()
    transport, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            word, _, seconds = line.partition(b" ")
            if word == b"stop":
                stop.ask(float(seconds))
        if not stop.asked.is_set():
            log("api", "parent_gone")
        stop.ask(0.0)
    finally:
        transport.close()
