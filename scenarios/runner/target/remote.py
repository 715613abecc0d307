"""An OpenAI-compatible endpoint that somebody else runs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from engine.telemetry import ProcessMonitor
from scenarios.address import read_address
from scenarios.runner.options import RunOptions
from scenarios.runner.target.given import GivenProcess
from scenarios.runner.target.models import ask_models, first_model
from scenarios.tick import EngineSample


class RemoteTarget:
    """Only its wire is seen, and its process where the operator has named it."""

    owned = False
    model_link: Path | None = None
    deaths = 0  # not seen from here

    def __init__(self, options: RunOptions) -> None:
        address = read_address(options.target or "")
        self.base_url = address.url
        self.road = options.road
        self.describe = self.base_url
        self.model = "unknown"
        self.wire_model: str | None = None
        self._key = os.environ.get(options.api_key_env, "") if options.api_key_env else ""
        self._given = GivenProcess(options.target_pid, address) if options.target_pid else None
        self._monitor = ProcessMonitor()

    async def start(self) -> None:
        """Ask for the model list, and look for its process. Raises TargetError."""
        if self._given is not None:
            await asyncio.to_thread(self._given.check)
        answer = await ask_models(self.base_url, self._key, self.road)
        self.wire_model = first_model(answer)
        self.model = self.wire_model or "unknown"

    async def sample(self) -> EngineSample:
        """Its process by psutil, where it is known."""
        if self._given is None:
            return EngineSample()
        self._monitor.set_pids(self.processes().values())
        usage = self._monitor.sample()
        return EngineSample(state="external", cpu=usage.cpu, rss=usage.rss)

    def processes(self) -> dict[str, int]:
        return {} if self._given is None else self._given.processes()

    async def serving_again(self, deaths: int) -> None:
        """Whether it died cannot be seen from here."""

    async def restore(self) -> None:
        """It is not ours to start anew."""

    async def stop(self) -> None:
        """Nothing of it is ours to stop."""
