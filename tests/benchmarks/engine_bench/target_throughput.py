"""Target 1: tokens a second under a closed loop of streaming clients, beside each peer."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass

from tests.benchmarks.engine_bench.bench import DEMO, Bench, Options, check_answers
from tests.benchmarks.engine_bench.errors import ServerFailed
from tests.benchmarks.engine_bench.load import closed_loop
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.prompts import Ask, chats
from tests.benchmarks.engine_bench.stats import estimate, ratio
from tests.benchmarks.engine_bench.table import Bound, Row, for_information, judged, not_run

NUMBER = 1
TITLE = "closed-loop tokens/s, streaming"
_CLIENTS = (1, 8, 32)
_CTX = 512
_FEWEST_SLOTS = 4
"""As llama-server chooses by itself."""
_PROMPT_WORDS, _ANSWER_TOKENS, _WARM_TOKENS = 40, 64, 16
_ANSWER_S = 300.0


@dataclass(frozen=True, slots=True)
class Case:
    """One model and number of clients. `rounds[i]` holds tokens/s of each of `servers`, ours first."""

    model: str
    clients: int
    servers: list[str]
    rounds: list[list[float]]
    missing: dict[str, str]
    """Peer -> why it was not measured."""
    client_cpu: float
    """Most of a core that the load client itself took in any measurement."""


def expected_s(options: Options) -> float:
    cases = len(_cases(options))
    return cases * options.pairs * (20.0 if options.quick else 75.0)


async def measure(bench: Bench) -> list[Case]:
    cases = _cases(bench.options)
    bench.progress.plan(len(cases) * bench.pairs)
    return [await _measure_case(bench, model, clients) for model, clients in cases]


def judge(cases: list[Case]) -> list[Row]:
    """One row for each case and peer, and one with the plain speeds."""
    rows = []
    for case in cases:
        where = f"{case.model} model, {case.clients} client{'s' if case.clients > 1 else ''}"
        for index, server in enumerate(case.servers):
            speeds = estimate([speeds[index] for speeds in case.rounds])
            if index == 0:
                text = f"{speeds.show(0)} tokens/s (the load client: at most {case.client_cpu:.0%} of a core)"
                rows.append(for_information(NUMBER, f"{where}: {server}", text, speeds.interval(0)))
            else:
                value = ratio([(speeds[0], speeds[index]) for speeds in case.rounds])
                what = f"{where}: against {server} ({speeds.show(0)} tokens/s)"
                rows.append(judged(NUMBER, what, _bound(case, server), value))
        rows += [
            not_run(NUMBER, f"{where}: against {server}", str(_bound(case, server)), why)
            for server, why in case.missing.items()
        ]
    return rows


def _cases(options: Options) -> list[tuple[str, int]]:
    models = (options.shape,) if options.gpu_layers else (options.shape, DEMO)
    return [(model, clients) for model in models for clients in _CLIENTS]


def _bound(case: Case, server: str) -> Bound:
    match server:
        case Kind.EXAMPLE.value:
            return Bound(1.2, at_least=True)
        case Kind.LLAMA_CPP_SERVER.value:
            return Bound(4.0, at_least=True)
    return Bound(0.9 if case.model == DEMO else 1.0, at_least=True)


async def _measure_case(bench: Bench, model: str, clients: int) -> Case:
    setup = bench.setup(model, _CTX, max(_FEWEST_SLOTS, clients))
    kinds = [Kind.LLAMA_SERVER, Kind.EXAMPLE] + ([Kind.LLAMA_CPP_SERVER] if clients == 8 else [])
    missing: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(bench.serving(Kind.OURS, setup))]
        for kind in kinds:
            if why := bench.missing(kind):
                missing[kind.value] = why
                continue
            try:
                servers.append(await stack.enter_async_context(bench.serving(kind, setup)))
            except ServerFailed as error:
                missing[kind.value] = str(error)
        await bench.check_idle(servers)
        warm = chats(9999, max(2, clients), _PROMPT_WORDS, _WARM_TOKENS)
        quickest = max([await _speed(server, clients, warm) for server in servers])
        length = bench.pick(_ANSWER_TOKENS, _WARM_TOKENS)
        # Sized by the quickest server, so that one measurement of it takes this long; at least twice round.
        count = max(4, 2 * clients, math.ceil(quickest * bench.pick(10.0, 2.0) / length))
        label = f"{model}, {clients} clients"
        shares: list[float] = []

        async def one(server: Server, seed: int) -> float:
            asks = chats(seed, count, _PROMPT_WORDS, length)
            cpu_s, wall_s = time.process_time(), time.monotonic()
            speed = await _speed(server, clients, asks)
            shares.append((time.process_time() - cpu_s) / (time.monotonic() - wall_s))
            return speed

        rounds = await bench.in_turns(servers, one, label)
    names = [server.kind.value for server in servers]
    return Case(model, clients, names, [list(found) for found in rounds], missing, max(shares))


async def _speed(server: Server, clients: int, asks: list[Ask]) -> float:
    """Tokens a second while every client is busy."""
    return check_answers(server, await closed_loop(server.address, asks, clients, _ANSWER_S)).tokens_per_s()
