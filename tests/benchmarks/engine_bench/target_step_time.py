"""Target 2: Python's time in a step, outside llama_decode and the samplers, by the number of running sequences."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

from tests.benchmarks.engine_bench.bench import DEMO, Bench, Options, until_quiet
from tests.benchmarks.engine_bench.errors import Unmeasured
from tests.benchmarks.engine_bench.load import carrying, closed_loop
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.prompts import Ask
from tests.benchmarks.engine_bench.stats import estimate, line
from tests.benchmarks.engine_bench.table import Bound, Row, for_information, judged

NUMBER = 2
TITLE = "Python time per step"
SERIES = "seatrial_step_python_seconds"
_RUNNING = (1, 8, 16)
_SLOTS, _CTX = 16, 1024
_ANSWER_TOKENS, _ANSWER_S = 900, 300.0
_FIXED_US, _EACH_US = 150.0, 20.0


@dataclass(frozen=True, slots=True)
class Point:
    """Mean over the steps of one window."""

    model: str
    running: int
    python_us: float
    steps: float


def expected_s(options: Options) -> float:
    return len(_models(options)) * options.pairs * len(_RUNNING) * 6.0


async def measure(bench: Bench) -> list[Point]:
    models = _models(bench.options)
    bench.progress.plan(len(models) * bench.pairs)
    points: list[Point] = []
    for model in models:
        async with bench.serving(Kind.OURS, bench.setup(model, _CTX, _SLOTS)) as server:
            for index in range(bench.pairs):
                bench.progress.step(f"{model}, round {index + 1} of {bench.pairs}")
                for running in _RUNNING if index % 2 == 0 else reversed(_RUNNING):
                    points.append(await _measure_point(bench, server, model, running))
                    server.check()
    return points


def judge(points: list[Point]) -> list[Row]:
    """A row for each number of sequences, and the line through all of them."""
    rows = []
    for model in dict.fromkeys(point.model for point in points):
        mine = [point for point in points if point.model == model]
        for running in sorted({point.running for point in mine}):
            value = estimate([point.python_us for point in mine if point.running == running])
            bound = Bound(_FIXED_US + _EACH_US * running, at_least=False, unit=" µs")
            rows.append(judged(NUMBER, f"{model} model, {running} running", bound, value, digits=0))
        fit = line([(float(point.running), point.python_us) for point in mine])
        rows.append(
            for_information(
                NUMBER,
                f"{model} model: line through them (asked: {_FIXED_US:g} + {_EACH_US:g} a sequence)",
                f"{fit.intercept.show(0)} µs + {fit.slope.show(1)} µs a sequence",
                f"{fit.intercept.interval(0)}; {fit.slope.interval(1)}",
            )
        )
    return rows


def _models(options: Options) -> tuple[str, ...]:
    return (options.shape,) if options.gpu_layers else (DEMO, options.shape)


async def _measure_point(bench: Bench, server: Server, model: str, running: int) -> Point:
    asks = (Ask("count on", _ANSWER_TOKENS, seed=index) for index in itertools.count())
    async with carrying(closed_loop(server.address, asks, running, _ANSWER_S)):
        await asyncio.sleep(1.0)
        before = await server.probe.metrics()
        await asyncio.sleep(bench.pick(4.0, 1.5))
        added = (await server.probe.metrics()).since(before)
    count, total_s = added.value(f"{SERIES}_count"), added.value(f"{SERIES}_sum")
    if not count > 0:
        raise Unmeasured(f"the engine's /metrics has no {SERIES} that counts steps")
    await until_quiet(server)
    return Point(model, running, total_s / count * 1e6, count)
