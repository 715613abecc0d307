"""Target 11: what the server says of its latencies is what a client sees; and it can be asked during a long prefill."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.engine_bench.bench import DEMO, Bench, Options, check_answers, until_quiet
from tests.benchmarks.engine_bench.client import answer_to
from tests.benchmarks.engine_bench.errors import ServerFailed, Unmeasured
from tests.benchmarks.engine_bench.load import closed_loop
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.probe import Probe
from tests.benchmarks.engine_bench.prompts import Ask, chats, words
from tests.benchmarks.engine_bench.stats import bucket_quantile, estimate, quantile
from tests.benchmarks.engine_bench.table import Bound, Row, judged

NUMBER = 11
TITLE = "server-side histograms, /health and /metrics"
SERIES = {"TTFT": "seatrial_ttft_seconds", "ITL": "seatrial_itl_seconds", "E2E": "seatrial_e2e_seconds"}
_QUANTILES = (0.5, 0.95, 0.99)
_CLIENTS = 8
_PROMPT_WORDS, _ANSWER_TOKENS, _ANSWER_S = 40, 48, 120.0
_CTX_LONG = 4096
_POLL_S = 0.01
_OFF = Bound(2, at_least=False, unit=" %")
_PROBED = Bound(20, at_least=False, unit=" ms")


@dataclass(frozen=True, slots=True)
class Point:
    """One quantile of one latency, by client and by server, in seconds."""

    name: str
    q: float
    client_s: float
    server_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    rounds: list[list[Point]]
    transport_s: list[float]
    """Median time of GET /health on a new connection under the same load, one for each round."""
    model: str
    health_s: list[float]
    metrics_s: list[float]
    """Each answer during long prefills."""


def expected_s(options: Options) -> float:
    return options.pairs * (8.0 if options.quick else 30.0)


async def measure(bench: Bench) -> Measured:
    bench.progress.plan(2 * bench.pairs)
    rounds, transport = [], []
    async with bench.serving(Kind.OURS, bench.setup(DEMO, 512, 16)) as server:
        for index in range(bench.pairs):
            bench.progress.step(f"histograms, round {index + 1} of {bench.pairs}")
            points, transport_s = await _compare(server, index, bench.pick(300, 40))
            rounds.append(points)
            transport.append(transport_s)
    health: list[float] = []
    metrics: list[float] = []
    ctx = bench.pick(_CTX_LONG, 1024)
    async with bench.serving(Kind.OURS, bench.setup(bench.options.shape, ctx, 8)) as server:
        for index in range(bench.pairs):
            bench.progress.step(f"long prefill, round {index + 1} of {bench.pairs}")
            await _probe_during_prefill(server, ctx, index, health, metrics)
    return Measured(rounds, transport, bench.options.shape, health, metrics)


def judge(measured: Measured) -> list[Row]:
    transport_s = quantile(measured.transport_s, 0.5)
    rows = []
    for name in SERIES:
        for q in _QUANTILES:
            points = [point for found in measured.rounds for point in found if point.name == name and point.q == q]
            client_ms, server_ms = (
                1e3 * quantile([getattr(point, side) for point in points], 0.5) for side in ("client_s", "server_s")
            )
            # A gap between two events crosses the wire at both ends: transport does not lengthen it.
            allowed_s = 0.0 if name == "ITL" else transport_s
            off = estimate([_off_percent(point, allowed_s) for point in points])
            beside = "" if name == "ITL" else f", beyond {1e3 * transport_s:.2f} ms of transport"
            what = f"{name} p{q * 100:g}: server {server_ms:.2f} ms, client {client_ms:.2f} ms{beside}"
            rows.append(judged(NUMBER, what, _OFF, off, 1))
    for path, values in (("/health", measured.health_s), ("/metrics", measured.metrics_s)):
        p99 = estimate([1e3 * value for value in values], lambda found: np.quantile(found, 0.99, axis=-1))
        rows.append(judged(NUMBER, f"{path} during a long prefill ({measured.model} model), p99", _PROBED, p99, 1))
    return rows


def _off_percent(point: Point, transport_s: float) -> float:
    """How far apart they are beyond the transport time, in percent of the client's."""
    return 100.0 * max(0.0, abs(point.client_s - point.server_s) - transport_s) / point.client_s


async def _compare(server: Server, seed: int, count: int) -> tuple[list[Point], float]:
    """One load, seen from both sides, and the transport time under it."""
    await until_quiet(server)
    before = await server.probe.metrics()
    took_s: list[float] = []
    prober = asyncio.create_task(_probe_anew(server, took_s))
    try:
        asks = chats(seed, count, _PROMPT_WORDS, _ANSWER_TOKENS)
        load = check_answers(server, await closed_loop(server.address, asks, _CLIENTS, _ANSWER_S))
    finally:
        prober.cancel()
    await until_quiet(server)
    added = (await server.probe.metrics()).since(before)
    client = {
        "TTFT": [answer.ttft_s for answer in load.answers],
        "ITL": [gap_s for answer in load.answers for gap_s in answer.gaps_s],
        "E2E": [(answer.events_ns[-1] - answer.sent_ns) / 1e9 for answer in load.answers],
    }
    points = []
    for name, series in SERIES.items():
        buckets = added.histogram(series)
        if not buckets.count:
            raise Unmeasured(f"the engine's /metrics has no histogram {series} that counts")
        for q in _QUANTILES:
            server_s = bucket_quantile(buckets.bounds, buckets.cumulative, q)
            points.append(Point(name, q, quantile(client[name], q), server_s))
    return points, quantile(took_s, 0.5)


async def _probe_anew(server: Server, took_s: list[float]) -> None:
    """GET /health as a request is sent: on a connection of its own each time."""
    while True:
        probe = Probe(server.address)
        reply = await probe.get("/health")
        probe.close()
        if reply.status == 200:
            took_s.append(reply.took_s)
        await asyncio.sleep(0.05)


async def _probe_during_prefill(server: Server, ctx: int, seed: int, health: list[float], metrics: list[float]) -> None:
    prompt = Ask(words(np.random.default_rng(seed), ctx * 3 // 4), 1)
    task = asyncio.create_task(answer_to(server.address, prompt, 10 * _ANSWER_S))
    try:
        while not task.done():
            for path, found in (("/health", health), ("/metrics", metrics)):
                reply = await server.probe.get(path)
                if reply.status != 200:
                    raise ServerFailed(server.kind.value, f"answered {path} with {reply.status}", server.log_tail())
                found.append(reply.took_s)
                await asyncio.sleep(_POLL_S)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
