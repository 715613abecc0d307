"""What is under trial: the embedded engine, which is ours to start and kill, or an endpoint somebody else runs."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx

from engine.config import DEMO_MODEL, EngineConfig
from engine.errors import EngineError
from engine.resolve import resolve
from engine.supervisor import EngineEvent, EngineState, EngineSupervisor
from engine.telemetry import ProcessMonitor
from scenarios.address import DIRECT, Road, read_address
from scenarios.errors import TargetError
from scenarios.load.target import parse_target
from scenarios.runner.options import RunOptions
from scenarios.tick import EngineSample

TRIAL_NICENESS = 5  # the engine under trial yields to the instrument that measures it
_PROBE_TIMEOUT_S = 10.0
_SAMPLE_TIMEOUT_S = 1.0
_STOP_GRACE_S = 2.0


class Target(Protocol):
    """Where requests go. `describe` is shown to people, `model` is what the target says it serves."""

    base_url: str
    road: Road
    describe: str
    model: str
    wire_model: str | None  # the name requests must carry; None where it may be left out
    owned: bool  # its processes are ours to kill
    model_link: Path | None

    @property
    def deaths(self) -> int: ...
    async def start(self) -> None: ...
    async def sample(self) -> EngineSample: ...
    def runs(self, part: str) -> bool: ...
    def processes(self) -> dict[str, int]: ...
    def kill(self, part: str) -> None: ...
    async def serving_again(self, deaths: int) -> None: ...
    async def stop(self) -> None: ...
    async def restore(self) -> None: ...


_GAUGES = re.compile(r"^(seatrial_(?:requests_running|requests_waiting|slots|kv_cells|kv_cells_used)) (\S+)$", re.M)
"""The few lines of /metrics that a tick shows; a whole parser would take 30 ms for the thousands there are."""


class EmbeddedTarget:
    """The embedded engine, supervised: started with the run, restarted when it dies, stopped at the end."""

    owned = True
    model_link: Path | None = None

    async def restore(self) -> None:
        """x"""

    road = DIRECT
    wire_model: str | None = None

    def __init__(self, options: RunOptions, on_event: Callable[[EngineEvent], None]) -> None:
        settings = options.scenario.engine
        self._config = EngineConfig(
            model=options.model or DEMO_MODEL,
            ctx=settings.ctx,
            slots=settings.slots,
            threads=settings.threads,
            queue_limit=settings.queue_limit,
            nice=TRIAL_NICENESS,
        )
        self._log_path = options.runs_dir / options.run_id / "engine.log"
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

    def runs(self, part: str) -> bool:
        """Whether a process of it ("all", "api" or "decode") can be killed; between death and restart there is none."""
        pids = self._supervisor.pids()
        return bool(pids) if part == "all" else part in pids

    def kill(self, part: str) -> None:
        self._supervisor.kill(part)

    async def serving_again(self, deaths: int) -> None:
        """Return when it has died more than `deaths` times and serves again."""
        while self.deaths <= deaths or self._supervisor.state is not EngineState.READY:
            self._news.clear()
            await self._news.wait()

    async def stop(self) -> None:
        try:
            await self._http.aclose()
        finally:
            await self._supervisor.stop(grace_s=_STOP_GRACE_S)

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


class RemoteTarget:
    """An OpenAI-compatible endpoint that somebody else runs; only its wire is seen."""

    owned = False
    model_link: Path | None = None

    async def restore(self) -> None:
        """x"""

    def __init__(self, options: RunOptions) -> None:
        self.base_url = read_address(options.target or "").url
        self.road = options.road
        self.describe = self.base_url
        self.model = "unknown"
        self.wire_model: str | None = None
        self.deaths = 0
        self._key = os.environ.get(options.api_key_env, "") if options.api_key_env else ""

    async def start(self) -> None:
        """Ask for the model list, by the road that the load will take.

        Raises:
            TargetError: URL or key cannot be used, nothing answers there, or it refuses the key.
        """
        target = await asyncio.to_thread(parse_target, self.base_url, self._key, self.road)
        address = target.address
        headers = {"Authorization": f"Bearer {target.api_key}"} if target.api_key else {}
        headers |= dict(target.headers)
        transport = httpx.AsyncHTTPTransport(
            verify=target.tls or True,
            proxy=httpx.Proxy(self.road.proxy) if self.road.proxy else None,
            uds=address.socket or None,
            trust_env=False,
        )
        try:
            async with (
                asyncio.timeout(_PROBE_TIMEOUT_S),
                httpx.AsyncClient(timeout=None, headers=headers, transport=transport) as http,
            ):
                answer = await http.get(f"{address.scheme}://{address.authority}{address.prefix}/v1/models")
        except (httpx.HTTPError, TimeoutError) as error:
            raise TargetError(
                f"nothing answers at {self.base_url} ({type(error).__name__}); is the server started?"
            ) from error
        if answer.status_code in (401, 403):
            raise TargetError(f"{self.base_url} refuses the key ({answer.status_code}); set SEATRIAL_API_KEY")
        self.wire_model = _first_model(answer)
        self.model = self.wire_model or "unknown"

    async def sample(self) -> EngineSample:
        return EngineSample()

    def processes(self) -> dict[str, int]:
        return {}

    def runs(self, part: str) -> bool:
        """Nothing of it is ours."""
        return False

    def kill(self, part: str) -> None:
        raise TargetError(f"{self.base_url} is not ours to kill ({part}); engine.kill needs the embedded engine")

    async def serving_again(self, deaths: int) -> None:
        """Whether it died cannot be seen from here."""

    async def stop(self) -> None:
        """Nothing of it is ours to stop."""


def _first_model(answer: httpx.Response) -> str | None:
    try:
        return str(answer.json()["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
