"""Target 6: four times as many requests as the engine can answer, for five minutes."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

import msgspec

from tests.benchmarks.engine_bench.bench import DEMO, Bench, Options, check_answers, until_quiet
from tests.benchmarks.engine_bench.client import NO_END, Answer
from tests.benchmarks.engine_bench.load import closed_loop, open_loop, tokens_within, until
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.probe import Probe
from tests.benchmarks.engine_bench.prompts import endless, poisson
from tests.benchmarks.engine_bench.stats import estimate, quantile
from tests.benchmarks.engine_bench.table import Bound, Row, for_information, judged

NUMBER = 6
TITLE = "four times overload"
_SLOTS, _CTX, _QUEUE = 16, 512, 32
_PROMPT_WORDS, _ANSWER_TOKENS, _ANSWER_S = 30, 48, 120.0
_CLIENTS = 24
"""Enough that a slot is never free, few enough that none is turned away."""
_OVERLOAD = 4.0
_SAMPLE_S = 0.1
_SETTLE_S = 5.0
_NO_MORE = Bound(0, at_least=False, unit="")
_REFUSAL = Bound(50, at_least=False, unit=" ms")
_GOODPUT = Bound(0.95, at_least=True)


@dataclass(frozen=True, slots=True)
class Measured:
    capacity: list[float]
    """Tokens/s of a closed loop, before and after."""
    requests_per_s: float
    """What was sent."""
    goodput: list[float]
    """Tokens/s of complete answers, one for each window of the overload."""
    seconds: float
    worst_held: int
    """Requests running and waiting, the most that any sample saw."""
    may_hold: int
    samples: int
    refused_s: list[float]
    """How long each 429 took."""
    without_retry_after: int
    unexpected: list[str]
    """Answers that are neither 200 nor 429."""
    never_ended: int
    sent: int


def expected_s(options: Options) -> float:
    return 35.0 if options.quick else 300.0 + 2 * 35.0 + 15.0


async def measure(bench: Bench) -> Measured:
    capacity_s, seconds, window_s = bench.pick((30.0, 300.0, 10.0), (5.0, 15.0, 3.0))
    bench.progress.plan(3)
    async with bench.serving(Kind.OURS, bench.setup(DEMO, _CTX, _SLOTS), queue_limit=_QUEUE) as server:
        bench.progress.step("capacity, before")
        tokens_per_s, answers_per_s = await _capacity(server, 1, capacity_s)
        rate = _OVERLOAD * answers_per_s
        bench.progress.step(f"{rate:.0f} requests/s for {seconds:g} s")
        held: list[int] = []
        sampler = asyncio.create_task(_sample(server, held))
        try:
            due = poisson(3, rate, seconds, endless(3, _PROMPT_WORDS, _ANSWER_TOKENS))
            load = await open_loop(server.address, due, _ANSWER_S)
        finally:
            sampler.cancel()
        await until_quiet(server)
        server.check()
        bench.progress.step("capacity, after")
        after, _ = await _capacity(server, 2, capacity_s)
    good = [answer for answer in load.answers if answer.ok]
    refused = [answer for answer in load.answers if answer.status == 429]
    windows = max(1, math.floor((seconds - _SETTLE_S) / window_s))
    starts_ns = [load.begin_ns + round((_SETTLE_S + index * window_s) * 1e9) for index in range(windows)]
    width_ns = round(window_s * 1e9)
    return Measured(
        capacity=[tokens_per_s, after],
        requests_per_s=rate,
        goodput=[tokens_within(good, start, start + width_ns) / window_s for start in starts_ns],
        seconds=seconds,
        worst_held=max(held, default=0),
        may_hold=_SLOTS + _QUEUE,
        samples=len(held),
        refused_s=[answer.e2e_s for answer in refused],
        without_retry_after=sum(not answer.retry_after for answer in refused),
        unexpected=sorted({_describe(answer) for answer in load.answers if not answer.ok and answer.status != 429}),
        never_ended=sum(answer.error == NO_END for answer in load.answers),
        sent=len(load.answers),
    )


def judge(measured: Measured) -> list[Row]:
    over = max(0, measured.worst_held - measured.may_hold)
    where = f"{measured.requests_per_s:.0f} requests/s for {measured.seconds:g} s"
    capacity = sum(measured.capacity) / len(measured.capacity)
    kept = estimate([tokens / capacity for tokens in measured.goodput])
    rows = [
        Row(
            NUMBER,
            f"{where}: requests held beyond slots + queue limit ({measured.may_hold})",
            str(_NO_MORE),
            f"{over} (most: {measured.worst_held})",
            f"{measured.samples} samples",
            _NO_MORE.holds(over),
            _NO_MORE.verdict(over),
        ),
        judged(NUMBER, f"{where}: goodput against capacity ({capacity:.0f} tokens/s)", _GOODPUT, kept),
    ]
    if measured.refused_s:
        p99_ms = 1e3 * quantile(measured.refused_s, 0.99)
        all_say_when = not measured.without_retry_after
        rows.append(
            Row(
                NUMBER,
                f"{where}: 429 with Retry-After, p99 of its latency",
                str(_REFUSAL),
                f"{p99_ms:.1f} ms",
                f"n={len(measured.refused_s)}",
                _REFUSAL.holds(p99_ms) and all_say_when,
                _REFUSAL.verdict(p99_ms)
                if all_say_when
                else f"short: {measured.without_retry_after} came without Retry-After",
            )
        )
    else:
        rows.append(for_information(NUMBER, f"{where}: 429", "none: this was no overload"))
    wrong = measured.never_ended + len(measured.unexpected)
    rows.append(
        Row(
            NUMBER,
            f"{where}: requests that never ended, answers other than 200 and 429",
            str(_NO_MORE),
            f"{measured.never_ended}; {', '.join(measured.unexpected) or 'none'}",
            f"n={measured.sent}",
            not wrong,
            _NO_MORE.verdict(wrong),
        )
    )
    return rows


async def _capacity(server: Server, seed: int, seconds: float) -> tuple[float, float]:
    """Tokens and answers a second when there is always somebody waiting."""
    asks = until(seconds, endless(seed, _PROMPT_WORDS, _ANSWER_TOKENS))
    load = check_answers(server, await closed_loop(server.address, asks, _CLIENTS, _ANSWER_S))
    tokens_per_s = load.tokens_per_s()
    return tokens_per_s, tokens_per_s / _ANSWER_TOKENS


async def _sample(server: Server, held: list[int]) -> None:
    """Requests that the server holds, ten times a second, on a connection of its own."""
    probe = Probe(server.address)
    try:
        while True:
            reply = await probe.get("/health", timeout_s=5.0)
            if reply.status == 200:
                state = msgspec.json.decode(reply.body)
                held.append(int(state["running"]) + int(state["waiting"]))
            await asyncio.sleep(_SAMPLE_S)
    finally:
        probe.close()


def _describe(answer: Answer) -> str:
    return f"{answer.status} {answer.error[:80]}".strip()
