"""Target 7: a client that goes away frees what it held, at once; many that do leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.engine_bench.bench import DEMO, Bench, Options, until_quiet
from tests.benchmarks.engine_bench.client import Stream, open_stream
from tests.benchmarks.engine_bench.errors import ServerFailed
from tests.benchmarks.engine_bench.memory import private_bytes
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.prompts import Ask, words
from tests.benchmarks.engine_bench.stats import estimate, quantile
from tests.benchmarks.engine_bench.table import Bound, Row, for_information, judged

NUMBER = 7
TITLE = "a disconnect frees memory"
_CTX, _SLOTS = 4096, 8
_BESIDE = 2
"""Streams that run on meanwhile, so that the decode loop is busy."""
_RENEW = 20
"""Disconnects after which those are begun anew: their context must not run out."""
_POLL_S = 0.003
_FREED_S = 20.0
_CANCEL_CLIENTS, _LONGEST_LIFE_S = 32, 0.15
_WITHIN = Bound(100, at_least=False, unit=" ms")
_NOTHING = Bound(0, at_least=False, unit="")
Moment = Callable[[Stream, np.random.Generator], Awaitable[None]]
"""Waits for the moment at which the client goes."""


@dataclass(frozen=True, slots=True)
class Freed:
    """Seconds from the closing of the socket to the first sample that shows the memory free, and how far apart the
    samples were."""

    took_s: float
    sampled_every_s: float


@dataclass(frozen=True, slots=True)
class Cancels:
    """Before and after many cancelled requests. Bytes are private memory of all processes."""

    count: int
    held: float
    """Requests and cells still held at the end."""
    descriptors: tuple[int, int]
    memory_bytes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Measured:
    model: str
    streaming: list[Freed]
    prefilling: list[Freed]
    cancels: Cancels


def expected_s(options: Options) -> float:
    return 60.0 if options.quick else 700.0


async def measure(bench: Bench) -> Measured:
    count, cancels = bench.pick((200, 10_000), (20, 500))
    bench.progress.plan(2 * -(-count // _RENEW) + 1)
    async with bench.serving(Kind.OURS, bench.setup(bench.options.shape, _CTX, _SLOTS)) as server:
        streaming = await _disconnects(bench, server, count, "while it streams", 20, _after_some_tokens)
        prefilling = await _disconnects(
            bench, server, count, "in the middle of a prefill", _CTX * 3 // 4, _after_a_while
        )
    async with bench.serving(Kind.OURS, bench.setup(DEMO, 1024, 16)) as server:
        bench.progress.step(f"{cancels} cancels")
        await _cancel(server, max(100, cancels // 10), seed=1)
        before = await _footprint(server)
        await _cancel(server, cancels, seed=2)
        after = await _footprint(server)
    left = Cancels(cancels, after[0], (before[1], after[1]), (before[2], after[2]))
    return Measured(bench.options.shape, streaming, prefilling, left)


def judge(measured: Measured) -> list[Row]:
    rows = []
    for where, found in (("while it streams", measured.streaming), ("during a long prefill", measured.prefilling)):
        p99 = estimate([one.took_s * 1e3 for one in found], lambda values: np.quantile(values, 0.99, axis=-1))
        error_ms = 1e3 * quantile([one.sampled_every_s for one in found], 0.5)
        what = f"{measured.model} model, client gone {where}: p99 until its memory is free"
        rows.append(judged(NUMBER, f"{what} (sampled every {error_ms:.1f} ms)", _WITHIN, p99, 1))
    cancels = measured.cancels
    descriptors = cancels.descriptors[1] - cancels.descriptors[0]
    left = int(cancels.held) + max(0, descriptors)
    rows.append(
        Row(
            NUMBER,
            f"{cancels.count:,} random cancels: requests, cells and descriptors left",
            str(_NOTHING),
            f"{cancels.held:g} held, {descriptors:+d} descriptors",
            "",
            _NOTHING.holds(left),
            _NOTHING.verdict(left),
        )
    )
    grown = (cancels.memory_bytes[1] - cancels.memory_bytes[0]) / cancels.count
    rows.append(for_information(NUMBER, f"{cancels.count:,} random cancels: memory", f"{grown:+.0f} bytes a cancel"))
    return rows


async def _after_some_tokens(stream: Stream, rng: np.random.Generator) -> None:
    await stream.wait_for_events(int(rng.integers(2, 6)))
    await asyncio.sleep(float(rng.uniform(0.0, 0.03)))


async def _after_a_while(stream: Stream, rng: np.random.Generator) -> None:
    """Until the engine has begun with the prompt, and a little more: far less than the whole prompt takes."""
    await asyncio.sleep(float(rng.uniform(0.2, 0.8)))


async def _disconnects(
    bench: Bench, server: Server, count: int, label: str, prompt_words: int, wait: Moment
) -> list[Freed]:
    rng = np.random.default_rng(prompt_words)
    found: list[Freed] = []
    for start in range(0, count, _RENEW):
        bench.progress.step(f"disconnect {label}, {start} of {count}")
        async with contextlib.AsyncExitStack() as stack:
            for index in range(_BESIDE):
                stream = await open_stream(server.address, Ask(words(rng, 10), _CTX, seed=index))
                stack.callback(stream.abort)
                await stream.wait_for_events(2)
            asks = [Ask(words(rng, prompt_words), 500) for _ in range(min(_RENEW, count - start))]
            found += [await _disconnect(server, ask, rng, wait) for ask in asks]
        await until_quiet(server)
    return found


async def _disconnect(server: Server, ask: Ask, rng: np.random.Generator, wait: Moment) -> Freed:
    """Raises ServerFailed when it is not seen to begin, or to be freed, within 20 s."""
    try:
        async with asyncio.timeout(_FREED_S):
            stream = await open_stream(server.address, ask)
            await _poll(server, lambda held: held > _BESIDE)
            await wait(stream, rng)
            gone_ns = stream.abort()
            begun_ns = time.monotonic_ns()
            polls = await _poll(server, lambda held: held <= _BESIDE)
            now_ns = time.monotonic_ns()
    except TimeoutError as error:
        what = f"did not take up a request, or did not let go of it, within {_FREED_S:g} s"
        raise ServerFailed(server.kind.value, what, server.log_tail()) from error
    return Freed((now_ns - gone_ns) / 1e9, (now_ns - begun_ns) / 1e9 / polls)


async def _poll(server: Server, wanted: Callable[[float], bool]) -> int:
    """Ask for the slots in use until the number is a wanted one; how often it was asked.

    The decode process says it after each step, when the cells of the slots that ended are free already.
    """
    polls = 1
    while not wanted((await server.probe.metrics()).value("seatrial_requests_running")):
        polls += 1
        await asyncio.sleep(_POLL_S)
    return polls


async def _cancel(server: Server, count: int, seed: int) -> None:
    """Requests of all sizes, each closed after a random time, in every state that a request can be in."""
    rng = np.random.default_rng(seed)
    left = iter(range(count))

    async def client() -> None:
        for index in left:
            size, tokens = int(rng.integers(1, 300)), int(rng.integers(1, 200))
            stream = await open_stream(server.address, Ask(words(rng, size), tokens, seed=index))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(rng.uniform(0.0, _LONGEST_LIFE_S))):
                    await stream.wait()
            stream.abort()

    async with asyncio.TaskGroup() as group:
        for _ in range(_CANCEL_CLIENTS):
            group.create_task(client())
    server.check()


async def _footprint(server: Server) -> tuple[float, int, int]:
    """What is held after everybody has gone: requests and cells, descriptors, private bytes."""
    held = 0.0
    try:
        await until_quiet(server)
    except ServerFailed:
        now = await server.probe.metrics()
        held = now.value("seatrial_requests_running") + now.value("seatrial_requests_waiting")
        held += now.value("seatrial_kv_cells_used")
    processes = server.processes()
    return held, sum(process.num_fds() for process in processes), private_bytes(processes)
