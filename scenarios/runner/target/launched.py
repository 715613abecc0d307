"""A server that is started for the run by a command of the operator's, and started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from engine.supervisor import EngineEvent
from engine.telemetry import ProcessMonitor
from scenarios import leash
from scenarios.address import DIRECT
from scenarios.errors import TargetError
from scenarios.runner.options import RunOptions
from scenarios.runner.target.family import Family
from scenarios.runner.target.models import KeyRefused, ask_models, first_model
from scenarios.tick import EngineSample

PORT = "{port}"
"""Stands for the port in the command."""
PAUSES_S = (0.0, 0.1, 0.2, 0.4)
"""Before it is started again after its first, second ... death; the last one from then on."""
_CALM_S = 10.0
"""Having served for so long, it begins at the first pause again."""
_LOOK_S = 0.05
_SAY_S = 5.0
_ASK_TIMEOUT_S = 2.0
_STOP_GRACE_S = 2.0
_LEASH_TIMEOUT_S = 5.0
_TAIL_BYTES, _TAIL_LINES = 8192, 20
_STARTING, _READY, _STOPPED = "starting", "ready", "stopped"


class LaunchedTarget:
    """The command runs on loopback, in a process group of its own and on a leash: it ends with this process."""

    owned = True
    road = DIRECT
    model_link: Path | None = None

    def __init__(self, options: RunOptions, on_event: Callable[[EngineEvent], None]) -> None:
        self._command = options.launch
        self._timeout_s = options.launch_timeout_s
        self._key = os.environ.get(options.api_key_env, "") if options.api_key_env else ""
        self._log_path = options.runs_dir / options.run_id / "target.log"
        self._on_event = on_event
        self._news = asyncio.Event()
        self._state = _STOPPED
        self._leash: Process | None = None
        self._lifeline: int | None = None
        self._family: Family | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._monitor = ProcessMonitor()
        self.deaths = 0
        self.base_url = ""
        self.describe = f"launched: {options.launch}"
        self.model = "unknown"
        self.wire_model: str | None = None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises TargetError, with the end of its log; nothing is left then."""
        port = _free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        command = [word.replace(PORT, str(port)) for word in shlex.split(self._command)]
        up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeping = asyncio.create_task(self._keep(command, up), name="launched-target")
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.shield(up)
        except BaseException as error:
            tail = self._log_tail()
            await self.stop()
            if isinstance(error, TimeoutError):
                what = f"{command[0]} does not answer at {self.base_url} {self._timeout_s:g} s after it was started"
                raise TargetError(f"{what}; see --launch-timeout\n{tail}".rstrip()) from error
            if isinstance(error, TargetError):
                raise TargetError(f"{error}\n{tail}".rstrip()) from error
            raise

    async def sample(self) -> EngineSample:
        """Its processes by psutil; of its own gauges nothing is known."""
        self._monitor.set_pids(self.processes().values())
        usage = self._monitor.sample()
        return EngineSample(state=self._state, cpu=usage.cpu, rss=usage.rss, restarts=self.deaths)

    def processes(self) -> dict[str, int]:
        return {} if self._family is None else self._family.parts()

    async def serving_again(self, deaths: int) -> None:
        """Return when it has died more than `deaths` times and serves again."""
        while self.deaths <= deaths or self._state != _READY:
            self._news.clear()
            await self._news.wait()

    async def restore(self) -> None:
        """Kill it, stopped or not, and wait until it serves again. Raises TargetError."""
        deaths = self.deaths - (self._family is None)  # where nothing runs it is on its way back already
        self._signal(signal.SIGKILL)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.serving_again(deaths)
        except TimeoutError as error:
            raise TargetError(f"it does not serve {self._timeout_s:g} s after it was started anew") from error

    async def stop(self) -> None:
        """SIGTERM, a moment to end in order, and then nothing of it is left. May be called twice."""
        keeping, self._keeping = self._keeping, None
        if keeping is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        if self._leash is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_GRACE_S):
                    await asyncio.shield(self._leash.wait())
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        self._say(_STOPPED, "stopped", "")

    def _signal(self, number: signal.Signals) -> None:
        """To its process group."""
        if self._family is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._family.process.pid, number)

    # ---- keeping it up

    async def _keep(self, command: list[str], up: asyncio.Future[None]) -> None:
        """Run it again and again until cancelled. A first start that fails is told by `up` and is the last."""
        self._say(_STARTING, "starting", shlex.join(command))
        deaths_in_a_row = 0
        while True:
            began_s = time.monotonic()
            try:
                why = await self._run_once(command, up)
            except OSError as error:
                why = f"{command[0]} cannot be started ({error.strerror})"
            except TargetError as error:
                why = str(error)
            if not up.done():
                up.set_exception(TargetError(why))
                return
            self.deaths += 1
            deaths_in_a_row = 1 if time.monotonic() - began_s > _CALM_S else deaths_in_a_row + 1
            self._say(_STARTING, "died", why)
            pause_s = PAUSES_S[min(deaths_in_a_row, len(PAUSES_S)) - 1]
            self._say(_STARTING, "restarting", f"after {pause_s:g} s")
            await asyncio.sleep(pause_s)

    async def _run_once(self, command: list[str], up: asyncio.Future[None]) -> str:
        """From its start to its end, and how it ended. Raises OSError, TargetError; nothing of it is left."""
        try:
            ending = asyncio.create_task((await self._start(command)).wait())
            serving = asyncio.create_task(self._serves())
            try:
                await asyncio.wait((ending, serving), return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    self.wire_model = serving.result()
                    self.model = self.wire_model or "unknown"
                    self._say(_READY, "recovered" if up.done() else "ready", self.base_url)
                    if not up.done():
                        up.set_result(None)
                code = await ending
            finally:
                for task in (ending, serving):
                    task.cancel()
                await asyncio.gather(ending, serving, return_exceptions=True)
        finally:
            await self._clear()
        background = "" if code else "; it must not go to the background: start it so that it stays until it is ended"
        return f"{command[0]} ended with code {code}{background}"

    async def _start(self, command: list[str]) -> Process:
        """The program on its leash. Raises OSError, TargetError."""
        lifeline, self._lifeline = os.pipe()
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            log = os.open(self._log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                self._leash = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", leash.__file__, str(lifeline), *command),
                    stdin=DEVNULL,
                    stdout=PIPE,
                    stderr=log,
                    pass_fds=(lifeline,),
                    start_new_session=True,
                )
            finally:
                os.close(log)
        finally:
            os.close(lifeline)
        assert self._leash.stdout is not None
        line = await self._leash.stdout.readline()
        if not line:
            raise TargetError(f"{command[0]} cannot be started; see the log {self._log_path}")
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended already, and so will the leash
            self._family = Family(psutil.Process(int(line)))
        return self._leash

    async def _serves(self) -> str | None:
        """Ask until it answers; the name of its model. Raises TargetError where it refuses the key."""
        began_s = said_s = time.monotonic()
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", int(self.base_url.rpartition(":")[2]))
                writer.close()
                answer = await self._models()
                if answer is not None:
                    return answer or None
            if time.monotonic() - said_s >= _SAY_S:
                said_s = time.monotonic()
                waited = f"it was started {said_s - began_s:.0f} s ago and does not answer yet"
                self._say(_STARTING, "starting", waited)
            await asyncio.sleep(_LOOK_S)

    async def _models(self) -> str | None:
        """The name of its first model, "" where it has none to tell; None while it is not ready."""
        try:
            answer = await ask_models(self.base_url, self._key, DIRECT, _ASK_TIMEOUT_S)
        except KeyRefused:
            raise
        except TargetError:
            return None
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:  # as while it loads its model
            return None
        return first_model(answer) or ""

    async def _clear(self) -> None:
        """Let go of the lifeline, so that the leash ends what is left, and wait for it."""
        held, self._leash = self._leash, None
        group, self._family = self._family, None
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)
        if held is None:
            return
        try:
            async with asyncio.timeout(_LEASH_TIMEOUT_S):
                await held.wait()
        except TimeoutError:
            held.kill()
            await held.wait()
        if held.returncode is not None and held.returncode < 0 and group is not None:  # it could not clear up itself
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group.process.pid, signal.SIGKILL)

    def _say(self, state: str, kind: str, detail: str) -> None:
        self._state = state
        self._news.set()
        self._on_event(EngineEvent(kind, time.monotonic_ns(), detail))

    def _log_tail(self) -> str:
        try:
            with self._log_path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])
        except OSError:
            return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
