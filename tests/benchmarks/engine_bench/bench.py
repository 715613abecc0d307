"""What every target is handed: options, servers to start, and a voice. Side by side means in turns, never at once."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from engine.config import DEMO_MODEL
from tests.benchmarks.engine_bench import peers
from tests.benchmarks.engine_bench.errors import ServerFailed, Unmeasured
from tests.benchmarks.engine_bench.load import Loaded
from tests.benchmarks.engine_bench.peers import Kind, Peers, Server, Setup
from tests.benchmarks.engine_bench.shapes import SHAPES, model_file
from tests.benchmarks.engine_bench.table import Row

T = TypeVar("T")
DEMO = "demo"
_QUIET_S = 30.0
_IDLE_CPU = 0.05


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    peers: Peers
    threads: int
    pairs: int = 10
    quick: bool = False
    long: bool = False
    shape: str = "160m"
    gpu_layers: int = 0


class Target(Protocol):
    """A module target_*.py."""

    NUMBER: int
    TITLE: str

    def expected_s(self, options: Options) -> float:
        """How long `measure` takes, roughly."""

    async def measure(self, bench: Bench) -> Any:
        """Raises BenchmarkError."""

    def judge(self, measured: Any) -> list[Row]:
        """Pure."""


@dataclass(slots=True)
class Progress:
    """Lines on stderr: time gone, time left, what is being measured."""

    pending_s: float
    """Expected time of the targets not begun yet."""
    _begun_s: float = field(default_factory=time.monotonic)
    _target: str = ""
    _target_begun_s: float = 0.0
    _expected_s: float = 0.0
    _steps: int = 1
    _done: int = 0

    def begin(self, target: str, expected_s: float) -> None:
        self.pending_s -= expected_s
        self._target, self._expected_s, self._target_begun_s = target, expected_s, time.monotonic()
        self._steps, self._done = 1, 0

    def plan(self, steps: int) -> None:
        """`step` will be called this many times for this target."""
        self._steps, self._done = max(1, steps), 0

    def step(self, text: str) -> None:
        now_s = time.monotonic()
        here_s = now_s - self._target_begun_s
        left = max(0, self._steps - self._done)
        here_left_s = here_s / self._done * left if self._done else max(0.0, self._expected_s - here_s)
        self._done += 1
        left_min = (here_left_s + max(0.0, self.pending_s)) / 60.0
        self.say(f"{self._target}: {text} ({self._done} of {self._steps}; about {left_min:.0f} min left)")

    def say(self, text: str) -> None:
        gone_s = int(time.monotonic() - self._begun_s)
        print(f"[{gone_s // 60:3d}:{gone_s % 60:02d}] {text}", file=sys.stderr, flush=True)


@dataclass(slots=True)
class Bench:
    """One run of the benchmark."""

    options: Options
    progress: Progress

    @property
    def pairs(self) -> int:
        return self.options.pairs

    def pick(self, full: T, quick: T) -> T:
        """A size: the real one, or that of --quick."""
        return quick if self.options.quick else full

    def setup(self, model: str, ctx: int, slots: int) -> Setup:
        """`model` is DEMO or the name of a shape."""
        path: Path = DEMO_MODEL if model == DEMO else model_file(SHAPES[model])
        return Setup(path, ctx, slots, self.options.threads, self.options.gpu_layers)

    @contextlib.asynccontextmanager
    async def serving(self, kind: Kind, setup: Setup, **ours: Any) -> AsyncIterator[Server]:
        """A server that is stopped at the end. Raises Unmeasured or ServerFailed."""
        server = await peers.start(kind, setup, self.options.peers, **ours)
        try:
            yield server
        finally:
            await server.stop()

    def missing(self, kind: Kind) -> str:
        """Why a peer cannot be measured; empty when it can."""
        try:
            self.options.peers.require(kind)
        except Unmeasured as error:
            return str(error)
        return ""

    async def in_turns(
        self, servers: Sequence[Server], measure: Callable[[Server, int], Awaitable[T]], label: str
    ) -> list[tuple[T, ...]]:
        """`measure(server, seed)` on each server, `pairs` rounds, the order turned round after each; one tuple a round.

        Both servers of a round get the same seed, no two rounds do. Raises ServerFailed.
        """
        rounds: list[tuple[T, ...]] = []
        for index in range(self.pairs):
            self.progress.step(f"{label}, round {index + 1} of {self.pairs}")
            found: dict[Kind, T] = {}
            for server in servers if index % 2 == 0 else list(reversed(servers)):
                found[server.kind] = await measure(server, index + 1)
                server.check()
            rounds.append(tuple(found[server.kind] for server in servers))
        return rounds

    async def check_idle(self, servers: Sequence[Server]) -> None:
        """Say so when a server that has nothing to do takes CPU time: it would weigh on the other's numbers."""
        before = [server.cpu_s() for server in servers]
        await asyncio.sleep(1.0)
        for server, cpu_s in zip(servers, before, strict=True):
            share = server.cpu_s() - cpu_s
            if share > _IDLE_CPU:
                self.progress.say(f"note: {server.kind.value} takes {share:.0%} of a core while idle")


def check_answers(server: Server, load: Loaded) -> Loaded:
    """The load, when every request of it was answered. Raises ServerFailed."""
    server.check()
    if failed := load.failed:
        first = failed[0]
        what = f"failed {len(failed)} of {len(load.answers)} requests, the first with {first.status} {first.error!r}"
        raise ServerFailed(server.kind.value, what, server.log_tail())
    return load


async def until_quiet(server: Server) -> None:
    """Wait until our engine holds no request any more. Raises ServerFailed after 30 s."""
    try:
        async with asyncio.timeout(_QUIET_S):
            while True:
                now = await server.probe.metrics()
                held = now.value("seatrial_requests_running") + now.value("seatrial_requests_waiting")
                if held + now.value("seatrial_kv_cells_used") == 0:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise ServerFailed(server.kind.value, "still holds requests 30 s after the last one", "") from error
