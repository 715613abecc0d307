"""The embedded engine as a target: ours to start, to disturb and to start again."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx

from engine.config import DEMO_MODEL, EngineConfig
from engine.errors import EngineError
from engine.resolve import resolve
from engine.supervisor import EngineEvent, EngineState, EngineSupervisor
from engine.telemetry import ProcessMonitor
from scenarios.address import DIRECT
from scenarios.errors import TargetError
from scenarios.faults.holder.undos import link_to
from scenarios.runner.options import RunOptions
from scenarios.tick import EngineSample

TRIAL_NICENESS = 5  # the engine under trial yields to the instrument that measures it
_SAMPLE_TIMEOUT_S = 1.0
_STOP_GRACE_S = 2.0

_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_GAUGES = re.compile(r"^(seatrial_(?:requests_running|requests_waiting|slots|kv_cells|kv_cells_used)) (\S+)$", re.M)
"""The few lines of /metrics that a tick shows; a whole parser would take 30 ms for the thousands there are."""


class EmbeddedTarget:
    """The embedded engine, supervised: started with the run, restarted when it dies, stopped at the end.

    It is started from a symbolic link in the run's folder, so that a fault can put another file, or none, in the place
    of the model's without touching that. A model in several files is found by their names: it has no such link.
    """

    owned = True
    road = DIRECT
    wire_model: str | None = None

    def __init__(self, options: RunOptions, on_event: Callable[[EngineEvent], None]) -> None:
        settings = options.scenario.engine
        folder = options.runs_dir / options.run_id
        model = (options.model or DEMO_MODEL).absolute()
        self.model_link = None if _SPLIT.search(model.name) else folder / "model" / model.name
        self._config = EngineConfig(
            model=model,
            ctx=settings.ctx,
            slots=settings.slots,
            threads=settings.threads,
            queue_limit=settings.queue_limit,
            nice=TRIAL_NICENESS,
            max_deaths=0,  # a trial kills it on purpose, and how often is no sign that it cannot be helped
        )
        self._log_path = folder / "engine.log"
        self._on_event = on_event
        self._supervisor = EngineSupervisor(self._config, self._hear, self._log_path)
        self._processes = ProcessMonitor()
        self._http = httpx.AsyncClient(timeout=_SAMPLE_TIMEOUT_S, trust_env=False)  # loopback: no proxy has a say
        self._news = asyncio.Event()
        self.deaths = 0
        self.base_url = ""
        self.describe = "embedded engine (llama.cpp)"
        self.model = self._config.name

    async def start(self) -> None:
        """Refuse what cannot fit into this machine's memory before it is loaded; else start. Raises TargetError."""
        try:
            config, _report = await asyncio.to_thread(resolve, self._config)
            if self.model_link is not None:
                self._link(self.model_link)
                config = replace(config, model=self.model_link)
            self._supervisor = EngineSupervisor(config, self._hear, self._log_path)
            await self._supervisor.start()
        except EngineError as error:
            raise TargetError(f"the embedded engine did not start: {error}") from error
        self.base_url = self._supervisor.url

    async def sample(self) -> EngineSample:
        """The supervisor's state, the engine's own gauges, and its processes by psutil."""
        self._processes.set_pids(self._supervisor.pids().values())
        usage = self._processes.sample()
        gauges = await self._gauges() if self._supervisor.state is EngineState.READY else {}
        cells = gauges.get("seatrial_kv_cells")
        return EngineSample(
            state=self._supervisor.state.value,
            cpu=usage.cpu,
            rss=usage.rss,
            running=_whole(gauges.get("seatrial_requests_running")),
            waiting=_whole(gauges.get("seatrial_requests_waiting")),
            slots=_whole(gauges.get("seatrial_slots")),
            kv_used=gauges.get("seatrial_kv_cells_used", 0.0) / cells if cells else None,
            restarts=self.deaths,
        )

    def processes(self) -> dict[str, int]:
        return self._supervisor.pids()

    async def serving_again(self, deaths: int) -> None:
        """Return when it has died more than `deaths` times and serves again."""
        while self.deaths <= deaths or self._supervisor.state is not EngineState.READY:
            self._news.clear()
            await self._news.wait()

    async def restore(self) -> None:
        """Kill what runs, stopped or not, and wait until it serves again. Raises TargetError."""
        if self.model_link is not None:
            self._link(self.model_link)
        deaths = self.deaths - (not self._supervisor.pids())  # where nothing runs it is on its way back already
        self._supervisor.kill()
        try:
            async with asyncio.timeout(self._config.start_timeout_s):
                await self.serving_again(deaths)
        except TimeoutError as error:
            limit_s = self._config.start_timeout_s
            raise TargetError(f"the embedded engine does not serve {limit_s:g} s after it was started anew") from error

    async def stop(self) -> None:
        try:
            await self._http.aclose()
        finally:
            await self._supervisor.stop(grace_s=_STOP_GRACE_S)
            if self.model_link is not None:
                with contextlib.suppress(OSError):  # nothing of a fault is to be thrown away unseen
                    self.model_link.unlink(missing_ok=True)
                    self.model_link.parent.rmdir()

    def _link(self, link: Path) -> None:
        """Have the link lead to the model. Raises TargetError."""
        try:
            link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            link_to(str(link), str(self._config.model.resolve()))
        except OSError as error:
            raise TargetError(f"{link} cannot be made ({error.strerror}); choose another --runs-dir") from error

    def _hear(self, event: EngineEvent) -> None:
        self.deaths += event.kind == "died"
        self._news.set()
        self._on_event(event)

    async def _gauges(self) -> dict[str, float]:
        try:
            answer = await self._http.get(f"{self.base_url}/metrics")
        except httpx.HTTPError:
            return {}  # it died a moment ago, and the supervisor is about to say so
        if answer.status_code != httpx.codes.OK:
            return {}
        return {name: float(value) for name, value in _GAUGES.findall(answer.text)}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
