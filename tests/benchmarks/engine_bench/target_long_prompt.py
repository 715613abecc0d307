"""Target 3: a prompt of 75 % of the context lands on four running streams."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.engine_bench.bench import Bench, Options
from tests.benchmarks.engine_bench.client import Answer, answer_to
from tests.benchmarks.engine_bench.errors import ServerFailed
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.prompts import Ask, words
from tests.benchmarks.engine_bench.stats import estimate, ratio
from tests.benchmarks.engine_bench.table import Bound, Row, for_information, judged, not_run

NUMBER = 3
TITLE = "a long prompt lands on four running streams"
_STREAMS, _SLOTS = 4, 8
_LAND_S = 2.0
_LONG_ANSWER = 16
_RUN_S = 400.0
_GAP = Bound(0.25, at_least=False)
_KEPT = Bound(0.95, at_least=True)


@dataclass(frozen=True, slots=True)
class Landing:
    """One run: four streams of a fixed length, with or without the long prompt."""

    worst_gap_s: float
    """Between two tokens of one of the four, after the long prompt was sent."""
    tokens: int
    """Prompts and answers of all five."""
    wall_s: float
    long_ttft_s: float

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.wall_s


@dataclass(frozen=True, slots=True)
class Round:
    """`apart_s`: our engine's time for the streams alone plus its time for the long prompt alone."""

    ours: Landing
    peer: Landing | None
    apart_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    model: str
    ctx: int
    long_words: int
    rounds: list[Round]
    missing: str


def expected_s(options: Options) -> float:
    return options.pairs * (45.0 if options.quick else 100.0)


async def measure(bench: Bench) -> Measured:
    ctx = bench.pick(4096, 1024)
    setup = bench.setup(bench.options.shape, ctx, _SLOTS)
    missing = bench.missing(Kind.LLAMA_SERVER)
    bench.progress.plan(bench.pairs)
    rounds: list[Round] = []
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(bench.serving(Kind.OURS, setup))]
        if not missing:
            servers.append(await stack.enter_async_context(bench.serving(Kind.LLAMA_SERVER, setup)))
        await bench.check_idle(servers)

        async def one(server: Server, seed: int) -> tuple[Landing, float]:
            landing = await _land(server, ctx, seed, streams=True, long=True)
            if server.kind is not Kind.OURS:
                return landing, 0.0
            alone = await _land(server, ctx, 1000 + seed, streams=True, long=False)
            prompt = await _land(server, ctx, 2000 + seed, streams=False, long=True)
            return landing, alone.wall_s + prompt.wall_s

        for found in await bench.in_turns(servers, one, f"{ctx} tokens of context"):
            (ours, apart_s), peer = found[0], found[1][0] if len(found) > 1 else None
            rounds.append(Round(ours, peer, apart_s))
    return Measured(bench.options.shape, ctx, _long_words(ctx), rounds, missing)


def judge(measured: Measured) -> list[Row]:
    rounds = measured.rounds
    where = f"{measured.model} model, {measured.long_words} of {measured.ctx} tokens on {_STREAMS} streams"
    gap, speed = f"{where}: worst gap against llama-server", f"{where}: throughput against llama-server"
    rows = []
    if measured.missing:
        rows += [
            not_run(NUMBER, gap, str(_GAP), measured.missing),
            not_run(NUMBER, speed, str(_KEPT), measured.missing),
        ]
    else:
        gaps = [(one.ours.worst_gap_s, one.peer.worst_gap_s) for one in rounds if one.peer]
        speeds = [(one.ours.tokens_per_s, one.peer.tokens_per_s) for one in rounds if one.peer]
        ours_s, theirs_s = (estimate([pair[index] for pair in gaps]).show(3) for index in (0, 1))
        rows.append(judged(NUMBER, f"{gap} ({ours_s} s, {theirs_s} s)", _GAP, ratio(gaps), 3))
        rows.append(judged(NUMBER, speed, _KEPT, ratio(speeds)))
    kept = ratio([(one.apart_s, one.ours.wall_s) for one in rounds])
    rows.append(judged(NUMBER, f"{where}: throughput against the same work one after the other", _KEPT, kept))
    ttft = estimate([one.ours.long_ttft_s for one in rounds])
    theirs = [one.peer.long_ttft_s for one in rounds if one.peer]
    beside = f"; llama-server {estimate(theirs).show(1)} s" if theirs else ""
    rows.append(
        for_information(
            NUMBER, f"{where}: time to the long prompt's first token", f"{ttft.show(1)} s{beside}", ttft.interval(1)
        )
    )
    return rows


def _long_words(ctx: int) -> int:
    return ctx * 3 // 4


async def _land(server: Server, ctx: int, seed: int, *, streams: bool, long: bool) -> Landing:
    """Fixed work: everything is asked for, and everything is waited for."""
    rng = np.random.default_rng(seed)
    answer_tokens = ctx // 20
    asks = [Ask(words(rng, 20), answer_tokens, seed=seed * 10 + index) for index in range(_STREAMS if streams else 0)]
    tasks = [asyncio.create_task(answer_to(server.address, ask, _RUN_S)) for ask in asks]
    try:
        prompt: Answer | None = None
        if long:
            await asyncio.sleep(_LAND_S if streams else 0.0)
            prompt = await answer_to(server.address, Ask(words(rng, _long_words(ctx)), _LONG_ANSWER, seed=seed), _RUN_S)
        answers = list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
    all_answers = [*answers, *([prompt] if prompt else [])]
    for answer in all_answers:
        if not answer.ok:
            raise ServerFailed(server.kind.value, f"answered {answer.status} {answer.error!r}", server.log_tail())
    landed_ns = prompt.sent_ns if prompt else 0
    gaps = [
        (after - before) / 1e9
        for answer in answers
        for before, after in zip(answer.events_ns, answer.events_ns[1:], strict=False)
        if after > landed_ns
    ]
    # Peers that do not say how long a prompt was: every word is a token of this model.
    tokens = sum(answer.tokens for answer in all_answers) + 20 * len(asks) + (_long_words(ctx) if prompt else 0)
    wall_s = (max(answer.end_ns for answer in all_answers) - min(answer.sent_ns for answer in all_answers)) / 1e9
    return Landing(max(gaps, default=float("nan")), tokens, wall_s, prompt.ttft_s if prompt else float("nan"))
