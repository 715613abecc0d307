"""Target 8: the decode process is killed under load, and stopped; and it is never taken for dead while it works."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psutil

from tests.benchmarks.engine_bench.bench import DEMO, Bench, Options
from tests.benchmarks.engine_bench.client import Answer, answer_to
from tests.benchmarks.engine_bench.errors import ServerFailed
from tests.benchmarks.engine_bench.load import closed_loop, until
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.probe import Probe
from tests.benchmarks.engine_bench.prompts import endless
from tests.benchmarks.engine_bench.stats import quantile
from tests.benchmarks.engine_bench.table import Bound, Row, for_information, not_run

NUMBER = 8
TITLE = "death of the decode process"
_CTX, _SLOTS, _CLIENTS = 1024, 8, 12
_PROMPT_WORDS, _ANSWER_TOKENS, _ANSWER_S = 20, 200, 120.0
_UNDER_LOAD_S = 1.5
"""Load before each kill; longer than the window after which the engine forgets an earlier death."""
_RETRY_S = 0.05
_HEALTH_S = 0.01
_RECOVERY_S = 60.0
_LOADS, _STOPS = 5, 5
_LONG_S = 1200.0
_TOLD = Bound(1.0, at_least=False, unit=" s")
_NOT_READY = Bound(250, at_least=False, unit=" ms")
_STOP_SEEN = Bound(5.0, at_least=False, unit=" s")
_NONE = Bound(0, at_least=False, unit="")


@dataclass(frozen=True, slots=True)
class Death:
    """Times in seconds from the signal."""

    in_flight: int
    told_s: list[float]
    """When each in-flight client had its end: an error, or the last of its answer."""
    untold: list[str]
    """In-flight clients whose connection just broke, or who never heard: what they saw."""
    not_ready_s: float
    ready_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    warm_loads_s: list[float]
    deaths: list[Death]
    stop_seen_s: list[float]
    saturated_s: float
    """0: not run."""
    false_restarts: int


@dataclass(slots=True)
class _Load:
    """Clients that ask on and on, and somebody who looks at /health a hundred times a second."""

    answers: list[Answer]
    health: list[tuple[int, int]]
    """(monotonic ns of the answer, status; 0: no answer)."""
    asking: dict[int, int]
    """Client -> monotonic ns at which the request began that it waits for."""


def expected_s(options: Options) -> float:
    kills = 4 if options.quick else 50
    return 20.0 + kills * 4.0 + (1 if options.quick else _STOPS) * 8.0 + (_LONG_S if options.long else 0.0)


async def measure(bench: Bench) -> Measured:
    kills, stops = bench.pick((50, _STOPS), (4, 1))
    bench.progress.plan(1 + kills + stops + bench.options.long)
    setup = bench.setup(DEMO, _CTX, _SLOTS)
    bench.progress.step("warm load")
    loads_s = []
    for _ in range(_LOADS):
        begun_s = time.monotonic()
        async with bench.serving(Kind.OURS, setup):
            loads_s.append(time.monotonic() - begun_s)
    # Each death is to be the first one: what several in a row cost is the restart budget's doing, and wanted.
    async with bench.serving(Kind.OURS, setup, max_deaths=1000, restart_window_s=1.0) as server:
        deaths = []
        for index in range(kills):
            bench.progress.step(f"kill {index + 1} of {kills}")
            deaths.append(await _kill(server, index))
        stop_seen_s = []
        for index in range(stops):
            bench.progress.step(f"SIGSTOP {index + 1} of {stops}")
            stop_seen_s.append(await _stop(server, index))
        restarts, saturated_s = 0, 0.0
        if bench.options.long:
            saturated_s = bench.pick(_LONG_S, 20.0)
            bench.progress.step(f"saturated for {saturated_s / 60:.0f} minutes")
            restarts = await _saturate(server, saturated_s)
    return Measured(loads_s, deaths, stop_seen_s, saturated_s, restarts)


def judge(measured: Measured) -> list[Row]:
    deaths = measured.deaths
    warm_s = quantile(measured.warm_loads_s, 0.5)
    serving = Bound(round(warm_s + 1.0, 2), at_least=False, unit=" s")
    told = [value for death in deaths for value in death.told_s]
    untold = [what for death in deaths for what in death.untold]
    each_told_s = [max(death.told_s, default=0.0) if not death.untold else float("inf") for death in deaths]
    not_ready_ms = [1e3 * death.not_ready_s for death in deaths]
    rows = [
        _every(f"kill -9: in-flight clients ({len(told) + len(untold)}) told the end, slowest", _TOLD, each_told_s),
        _every("kill -9: /health not ready, slowest", _NOT_READY, not_ready_ms),
        _every(
            f"kill -9: serving again, slowest (asked: warm load {warm_s:.2f} s + 1 s)",
            serving,
            [death.ready_s for death in deaths],
        ),
        _every("SIGSTOP: /health not ready, slowest", _STOP_SEEN, measured.stop_seen_s),
    ]
    if untold:
        rows.append(for_information(NUMBER, "kill -9: clients that were not told", "; ".join(sorted(set(untold)))))
    what = "saturated for 20 minutes: restarts"
    if not measured.saturated_s:
        return [*rows, not_run(NUMBER, what, str(_NONE), "it was not asked for")]
    met = _NONE.holds(measured.false_restarts)
    return [
        *rows,
        Row(
            NUMBER,
            what,
            str(_NONE),
            str(measured.false_restarts),
            f"{measured.saturated_s:g} s",
            met,
            _NONE.verdict(measured.false_restarts),
        ),
    ]


def _every(what: str, bound: Bound, values: list[float]) -> Row:
    """Met when each value is inside; the interval column says how many were, and their median."""
    held = sum(bound.holds(value) for value in values)
    worst, middle = max(values), statistics.median_low(values)  # a value may be infinite
    interval = f"{held} of {len(values)}; median {middle:.3g}{bound.unit}"
    return Row(
        NUMBER, what, str(bound), f"{worst:.3g}{bound.unit}", interval, held == len(values), bound.verdict(worst)
    )


@contextlib.asynccontextmanager
async def _loaded(server: Server, seed: int) -> AsyncIterator[_Load]:
    load = _Load([], [], {})

    async def client(index: int) -> None:
        for ask in endless(seed * 100 + index, _PROMPT_WORDS, _ANSWER_TOKENS):
            load.asking[index] = time.monotonic_ns()
            answer = await answer_to(server.address, ask, _ANSWER_S)
            del load.asking[index]
            load.answers.append(answer)
            if not answer.ok:
                await asyncio.sleep(_RETRY_S)

    async def watch() -> None:
        probe = Probe(server.address)
        try:
            while True:
                reply = await probe.get("/health", timeout_s=2.0)
                load.health.append((reply.answered_ns, reply.status))
                await asyncio.sleep(_HEALTH_S)
        finally:
            probe.close()

    tasks = [asyncio.create_task(client(index)) for index in range(_CLIENTS)]
    tasks.append(asyncio.create_task(watch()))
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kill(server: Server, index: int) -> Death:
    """Kill the decode process under load; wait until an answer comes through again and every old client has its end."""
    async with _loaded(server, index) as load:
        await asyncio.sleep(_UNDER_LOAD_S)
        victim = server.decode_process()
        killed_ns = time.monotonic_ns()
        victim.kill()
        ready_s = await _serving_again(server, load, killed_ns)
        await asyncio.sleep(max(0.0, 1.1 - ready_s))
        cut_ns, asking = time.monotonic_ns(), dict(load.asking)
    told, untold = [], []
    for answer in load.answers:
        if answer.sent_ns < killed_ns < answer.end_ns < cut_ns:
            if answer.broken:
                untold.append(answer.error)
            else:
                told.append((answer.end_ns - killed_ns) / 1e9)
    # A client that was between two requests when the signal came has nothing to be told.
    untold += ["nothing at all"] * sum(begun_ns < killed_ns for begun_ns in asking.values())
    down_ns = next((stamp for stamp, status in load.health if stamp > killed_ns and status != 200), 0)
    not_ready_s = (down_ns - killed_ns) / 1e9 if down_ns else float("inf")
    return Death(_CLIENTS, told, untold, not_ready_s, ready_s)


async def _serving_again(server: Server, load: _Load, killed_ns: int) -> float:
    """Seconds from the signal to the first token of a request that was sent after it."""
    try:
        async with asyncio.timeout(_RECOVERY_S):
            while True:
                server.check()
                answered = [one.events_ns[0] for one in load.answers if one.ok and one.sent_ns > killed_ns]
                # A request that was sent between the signal and the death it brings may still be answered before it.
                down_ns = next((stamp for stamp, status in load.health if stamp > killed_ns and status != 200), None)
                if after := [stamp for stamp in answered if down_ns is not None and stamp > down_ns]:
                    return (min(after) - killed_ns) / 1e9
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise ServerFailed(server.kind.value, f"did not come back in {_RECOVERY_S:g} s", server.log_tail()) from error


async def _stop(server: Server, index: int) -> float:
    """Seconds from SIGSTOP to the first /health that is not ready; the engine is whole again afterwards."""
    async with _loaded(server, 1000 + index) as load:
        await asyncio.sleep(_UNDER_LOAD_S)
        victim = server.decode_process()
        stopped_ns = time.monotonic_ns()
        victim.send_signal(signal.SIGSTOP)
        try:
            await _serving_again(server, load, stopped_ns)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGCONT)
    return (next(stamp for stamp, status in load.health if stamp > stopped_ns and status != 200) - stopped_ns) / 1e9


async def _saturate(server: Server, seconds: float) -> int:
    """Restarts during so much load that somebody always waits."""
    before = (await server.probe.metrics()).value("seatrial_decode_restarts_total")
    asks = until(seconds, endless(5, 200, 200))
    async with asyncio.timeout(seconds + _ANSWER_S):
        await closed_loop(server.address, asks, 3 * _SLOTS, _ANSWER_S)
    server.check()
    return round((await server.probe.metrics()).value("seatrial_decode_restarts_total") - before)
