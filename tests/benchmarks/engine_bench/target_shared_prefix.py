"""Target 4: a burst of requests that share a system prompt, which the server has never seen, and then has."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.engine_bench.bench import Bench, Options
from tests.benchmarks.engine_bench.client import answer_to
from tests.benchmarks.engine_bench.errors import ServerFailed
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.prompts import Ask, words
from tests.benchmarks.engine_bench.stats import estimate, quantile, ratio
from tests.benchmarks.engine_bench.table import Bound, Row, judged, not_run

NUMBER = 4
TITLE = "requests that share a system prompt"
_QUESTION_WORDS, _ANSWER_TOKENS = 12, 16
_BURST_S = 900.0
_COLD = Bound(0.5, at_least=False)
_WARM = Bound(0.15, at_least=False)


@dataclass(frozen=True, slots=True)
class Round:
    """95th percentile of the burst's TTFT, seconds."""

    ours_cold_s: float
    ours_warm_s: float
    peer_cold_s: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    model: str
    requests: int
    prefix_tokens: int
    rounds: list[Round]
    missing: str


def expected_s(options: Options) -> float:
    return options.pairs * (45.0 if options.quick else 170.0)


async def measure(bench: Bench) -> Measured:
    requests, prefix = bench.pick((32, 1000), (16, 250))
    setup = bench.setup(bench.options.shape, prefix + 280, requests)
    missing = bench.missing(Kind.LLAMA_SERVER)
    bench.progress.plan(bench.pairs)
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(bench.serving(Kind.OURS, setup))]
        if not missing:
            servers.append(await stack.enter_async_context(bench.serving(Kind.LLAMA_SERVER, setup)))
        await bench.check_idle(servers)

        async def one(server: Server, seed: int) -> tuple[float, float]:
            system = words(np.random.default_rng(seed), prefix)
            cold_s = await _burst(server, system, requests, 2 * seed)
            # The peer is asked cold only: what it keeps of the last answers in its slots is not what is asked for.
            return cold_s, await _burst(server, system, requests, 2 * seed + 1) if server.kind is Kind.OURS else 0.0

        found = await bench.in_turns(servers, one, f"{requests} requests, {prefix} tokens shared")
    rounds = [Round(each[0][0], each[0][1], each[1][0] if len(each) > 1 else None) for each in found]
    return Measured(bench.options.shape, requests, prefix, rounds, missing)


def judge(measured: Measured) -> list[Row]:
    rounds = measured.rounds
    where = f"{measured.model} model, {measured.requests} requests, {measured.prefix_tokens} tokens shared: TTFT p95"
    cold_s, warm_s = (estimate([r.ours_cold_s for r in rounds]), estimate([r.ours_warm_s for r in rounds]))
    what = f"{where}, cold, against llama-server cold"
    if measured.missing:
        rows = [not_run(NUMBER, what, str(_COLD), measured.missing)]
    else:
        pairs = [(one.ours_cold_s, one.peer_cold_s) for one in rounds if one.peer_cold_s]
        theirs = estimate([pair[1] for pair in pairs])
        rows = [judged(NUMBER, f"{what} ({cold_s.show()} s, {theirs.show()} s)", _COLD, ratio(pairs))]
    warm = ratio([(one.ours_warm_s, one.ours_cold_s) for one in rounds])
    return [*rows, judged(NUMBER, f"{where}, warm ({warm_s.show()} s) against our own cold", _WARM, warm, 3)]


async def _burst(server: Server, system: str, requests: int, seed: int) -> float:
    """All at once, each with its own question; the 95th percentile of their TTFT in seconds."""
    rng = np.random.default_rng(100_000 + seed)
    asks = [
        Ask(words(rng, _QUESTION_WORDS), _ANSWER_TOKENS, system=system, seed=seed * 1000 + index)
        for index in range(requests)
    ]
    answers = await asyncio.gather(*(answer_to(server.address, ask, _BURST_S) for ask in asks))
    for answer in answers:
        if not answer.ok:
            raise ServerFailed(server.kind.value, f"answered {answer.status} {answer.error!r}", server.log_tail())
    return quantile([answer.ttft_s for answer in answers], 0.95)
