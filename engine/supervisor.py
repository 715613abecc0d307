"""Starts the engine, hears its beat, sees it die or hang, and starts it again on the same address.

The listening socket belongs to the supervisor and is handed to each API process in turn: between two of them new
connections wait in the kernel's queue instead of being refused, and the port is never lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.config import EngineConfig
from engine.errors import ConfigError, StartError
from engine.listening import bind
from engine.logfile import LogFile
from engine.model_files import ModelFiles
from engine.process import cpu_s
from engine.restarts import RestartBudget
from engine.silence import Silence, judge
from engine.standing import EngineState, Message, Standing, hear

__all__ = ["EngineEvent", "EngineState", "EngineSupervisor"]

_ROOT = Path(__file__).resolve().parents[1]
_WATCH_S = 0.1


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something that happened to the engine.

    kind: starting, ready, stalled, hung, died, waiting (for its model), restarting, recovered, gave_up, stopped.
    """

    kind: str
    t_ns: int
    """Monotonic clock of this machine."""
    detail: str


class EngineSupervisor:
    """One engine. All methods belong to one event loop; `on_event` is called in it and must not block.

    log_path: where both processes write their log; `-` is this process's standard error, None a file without a name.
    """

    def __init__(
        self, config: EngineConfig, on_event: Callable[[EngineEvent], None], log_path: Path | None = None
    ) -> None:
        self._config = config
        self._on_event = on_event
        self._log_path = log_path
        self._log: LogFile | None = None
        self._sock: socket.socket | None = None
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._pids: dict[str, int] = {}
        self._standing = Standing()
        self._heard_s = 0.0
        self._problem = ""
        self._stopping = False
        self.state = EngineState.STOPPED

    @property
    def url(self) -> str:
        """http://host:port, valid once `start` has returned."""
        if self._sock is None:
            raise StartError("the engine is not started", "call start() first")
        host, port = self._sock.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def pids(self) -> dict[str, int]:
        """Process ids of the parts that should be alive: {"api": ..., "decode": ...}."""
        return dict(self._pids)

    async def start(self) -> None:
        """Start the engine and return when it is ready. Raises StartError; nothing is left running then."""
        if self._task is not None:
            raise StartError("the engine is already started", "call stop() first")
        try:
            self._config.validate()
        except ConfigError as error:
            raise StartError(f"{error.field}: {error.what}", f"To mend it: {error.fix}") from error
        self._sock = self._bind()
        try:
            self._log = LogFile(self._log_path)
        except OSError as error:
            self._close_files()
            raise StartError(f"the log {self._log_path} cannot be opened", "Choose another path") from error
        self._stopping = False
        self._problem = ""
        self._set(EngineState.STARTING, "starting", self._config.name)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._supervise(ready), name="engine-supervisor")
        try:
            async with asyncio.timeout(self._config.start_timeout_s + 5.0):
                await asyncio.shield(ready)
        except (TimeoutError, StartError) as error:
            what = str(error) or f"the engine was not ready after {self._config.start_timeout_s:g} s"
            tail = self.log_tail()
            await self.stop(0.0)
            raise StartError(what, _advice(what), tail) from error
        except asyncio.CancelledError:
            await self.stop(0.0)
            raise

    def kill(self, part: str = "all", sig: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a part: all, api or decode. It is not an error when the process is already gone."""
        if part not in ("all", "api", "decode"):
            raise ValueError(f"there is no part {part!r}: use all, api or decode")
        for name in ("decode", "api") if part == "all" else (part,):
            if pid := self._pids.get(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Let running requests finish for up to `grace_s`, then end both processes. May be called twice."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            self.kill("all", signal.SIGCONT)
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    process.stdin.write(b"stop %f\n" % grace_s)
                    await process.stdin.drain()
            try:
                async with asyncio.timeout(grace_s + 2.0):
                    await process.wait()
            except TimeoutError:
                self.kill("all")
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        task = self._task
        if task is not None:
            try:
                async with asyncio.timeout(2.0):
                    await task
            except TimeoutError:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            self._task = None
        was_running = self.state is not EngineState.STOPPED
        self._pids = {}
        self._close_files()
        if was_running:
            self._set(EngineState.STOPPED, "stopped", "")

    def log_tail(self) -> str:
        """The last lines of the engine's log."""
        return "" if self._log is None else self._log.tail()

    def _bind(self) -> socket.socket:
        config = self._config
        try:
            return bind(config)
        except OSError as error:
            raise StartError(
                f"cannot listen on {config.host}:{config.port} ({error.strerror})", "Use port 0 for a free one"
            ) from error

    def _close_files(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._log is not None:
            self._log.close()
            self._log = None

    async def _supervise(self, ready: asyncio.Future[None]) -> None:
        """Run one API process after the other until stopped or given up."""
        budget = RestartBudget(self._config.max_deaths, self._config.restart_window_s)
        files = ModelFiles(self._config)
        while not self._stopping:
            try:
                await self._spawn()
                code = await self._attend(ready)
            except OSError as error:
                self._problem, code = f"the engine's process cannot be started: {error}", -1
            self._pids = {}
            if self._stopping:
                break
            if not ready.done():
                why = self._problem or f"the engine ended with code {code} while starting"
                ready.set_exception(StartError(why, ""))
                return
            why = self._problem or f"it ended with code {code}"
            self._problem = ""
            self._set(EngineState.STARTING, "died", f"API process: {why}")
            pause_s = budget.after_death(time.monotonic())
            if pause_s is None:
                detail = f"{budget.limit} deaths of the API process in {budget.window_s:g} s; it is not started again"
                self._set(EngineState.DEAD, "gave_up", detail)
                self._close_files()
                return
            if await files.whole(self._wait_for_model, lambda: self._stopping):
                pause_s = 0.0
            self._set(EngineState.STARTING, "restarting", f"API process, after {pause_s:g} s")
            await asyncio.sleep(pause_s)
        if not ready.done():
            ready.set_exception(StartError("the engine was stopped while it was starting", "Start it again"))

    def _wait_for_model(self, problem: str) -> None:
        self._set(EngineState.STARTING, "waiting", f"for its model: {problem}")

    async def _spawn(self) -> None:
        if self._sock is None or self._log is None:
            raise OSError("the supervisor's files are closed")
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(_ROOT), environment.get("PYTHONPATH", "")) if p)
        descriptor = self._sock.fileno()
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "engine", "--config-json", "-"),
            *("--parent-pid", str(os.getpid()), "--listen-fd", str(descriptor)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=self._log.fileno(),
            pass_fds=(descriptor,),
            env=environment,
            # A Ctrl-C in the terminal must reach the supervisor's program first, which then stops the engine in order.
            start_new_session=True,
        )
        self._pids = {"api": process.pid}
        self._standing = Standing()
        self._heard_s = time.monotonic()
        if self._stopping:  # while the process was being made: `stop` has not seen it
            process.kill()
        elif process.stdin is not None:
            process.stdin.write(self._config.to_json() + b"\n")

    async def _attend(self, ready: asyncio.Future[None]) -> int:
        """Hear one API process until it has ended; kill it when it falls silent. Returns its exit code."""
        process = self._process
        if process is None or process.stdout is None:
            return -1
        watcher = asyncio.create_task(self._watch(process), name="engine-watch")
        try:
            while line := await process.stdout.readline():
                self._heard_s = time.monotonic()
                self._hear(msgspec.json.decode(line, type=Message), ready)
            return await process.wait()
        except (ValueError, msgspec.MsgspecError) as error:
            self._problem = f"it wrote what is no message ({error}); it was killed"
            return -1
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            if process.stdin is not None:
                process.stdin.close()

    async def _watch(self, process: Process) -> None:
        stalled: tuple[float, float] | None = None
        """When its silence began to be noticed, and the processor time it had used by then."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_WATCH_S)
            now = time.monotonic()
            if now - before > _WATCH_S + 0.5 or self._stopping:
                continue  # this loop was held up itself: read what is waiting first
            limit_s = (
                self._config.start_timeout_s if self.state is EngineState.STARTING else self._config.hang_timeout_s
            )
            silent_s = now - self._heard_s
            if silent_s <= limit_s / 2:
                stalled = None
                continue
            stalled = stalled or (now, cpu_s(process.pid))
            share = (cpu_s(process.pid) - stalled[1]) / max(now - stalled[0], _WATCH_S)
            if judge(silent_s, limit_s, share) is Silence.HUNG:
                self._problem = f"nothing heard for {silent_s:.1f} s; it was killed"
                self._set(EngineState.DEGRADED, "hung", f"API process: {self._problem}")
                process.kill()
                return

    def _hear(self, message: Message, ready: asyncio.Future[None]) -> None:
        self._pids = message.pids
        if message.kind == "failed":
            self._problem = message.detail
        self._standing, kind = hear(self._standing, message)
        self.state = self._standing.state
        if self.state is EngineState.READY and not ready.done():
            kind = "ready"
            ready.set_result(None)
        if kind:
            self._set(self.state, kind, message.detail)

    def _set(self, state: EngineState, kind: str, detail: str) -> None:
        self.state = state
        self._on_event(EngineEvent(kind, time.monotonic_ns(), detail))


def _advice(what: str) -> str:
    if "memory" in what:
        return "Use fewer slots, a shorter ctx or a smaller model"
    if "load" in what or "GGUF" in what or "architecture" in what:
        return "Check the model file, or try the demo model in assets/models"
    return "Run `seatrial doctor`, and see the log below"
