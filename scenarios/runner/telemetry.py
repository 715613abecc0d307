"""What the machine and the engine are doing, kept fresh beside the run so that a tick never waits for it."""

from __future__ import annotations

import asyncio

from engine.telemetry import GpuMonitor, HostMonitor
from scenarios.runner.target import Target
from scenarios.tick import EngineSample, GpuSample

SAMPLE_S = 0.5


class Telemetry:
    """The newest samples of host, GPUs and engine; `steal`: the hypervisor's share at each sample since the start."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._gpu = GpuMonitor()
        self._host = HostMonitor()
        self.engine = EngineSample(state="external" if not target.owned else "starting")
        self.gpus: tuple[GpuSample, ...] = ()
        self.host_cpu: float | None = None
        self.host_memory: float | None = None
        self.steal: list[float] = []

    @property
    def gpu_note(self) -> str:
        """Why there is no GPU to be seen; empty when there is one."""
        return self._gpu.note

    async def follow(self) -> None:
        """Sample until cancelled."""
        while True:
            self.engine = await self._target.sample()
            host = self._host.sample()
            self.host_cpu, self.host_memory = host.cpu, host.memory
            if host.steal is not None:
                self.steal.append(host.steal)
            self.gpus = tuple(
                GpuSample(
                    index=gpu.index,
                    name=gpu.name,
                    utilisation=gpu.utilisation,
                    memory_used=gpu.memory_used,
                    memory_total=gpu.memory_total,
                    power_w=gpu.power_w,
                    temperature_c=gpu.temperature_c,
                    throttled=gpu.throttled,
                )
                for gpu in self._gpu.sample()
            )
            await asyncio.sleep(SAMPLE_S)

    def close(self) -> None:
        self._gpu.close()
        self._host.close()
