"""Target 10: memory over twenty thousand requests, and beside llama-server after as many."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from tests.benchmarks.engine_bench.bench import DEMO, Bench, Options, check_answers
from tests.benchmarks.engine_bench.load import closed_loop
from tests.benchmarks.engine_bench.memory import private_bytes
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.prompts import endless
from tests.benchmarks.engine_bench.stats import line
from tests.benchmarks.engine_bench.table import Bound, Row, judged, not_run

NUMBER = 10
TITLE = "memory over many requests"
_SLOTS, _CTX, _CLIENTS = 8, 512, 8
_PROMPT_WORDS, _ANSWER_TOKENS, _ANSWER_S = 10, 4, 60.0
_WARM_UP = 0.1
"""Share of the requests in which caches and pools fill; the slope is of the rest."""
_SLOPE = Bound(1.0, at_least=False, unit=" KiB a request")
_MORE = Bound(200, at_least=False, unit=" MB more")


@dataclass(frozen=True, slots=True)
class Measured:
    """(requests answered, private bytes of all processes), ours and llama-server's."""

    ours: list[tuple[int, int]]
    peer: list[tuple[int, int]]
    missing: str


def expected_s(options: Options) -> float:
    return 40.0 if options.quick else 400.0


async def measure(bench: Bench) -> Measured:
    count, batch = bench.pick((20_000, 500), (1000, 50))
    missing = bench.missing(Kind.LLAMA_SERVER)
    kinds = [Kind.SERVE] if missing else [Kind.SERVE, Kind.LLAMA_SERVER]
    bench.progress.plan(len(kinds) * 10)
    found: dict[Kind, list[tuple[int, int]]] = {}
    for kind in kinds:
        async with bench.serving(kind, bench.setup(DEMO, _CTX, _SLOTS)) as server:
            found[kind] = await _samples(bench, server, count, batch)
    return Measured(found[Kind.SERVE], found.get(Kind.LLAMA_SERVER, []), missing)


def judge(measured: Measured) -> list[Row]:
    last, total = measured.ours[-1]
    settled = [(float(n), size / 1024) for n, size in measured.ours if n >= _WARM_UP * last]
    rows = [
        judged(NUMBER, f"{last:,} requests: slope of RssAnon + VmSwap, all processes", _SLOPE, line(settled).slope, 3)
    ]
    what = f"{last:,} requests: total against llama-server"
    if measured.missing:
        return [*rows, not_run(NUMBER, what, str(_MORE), measured.missing)]
    served, theirs = measured.peer[-1]
    more_mb = (total - theirs) / 1e6
    return [
        *rows,
        Row(
            NUMBER,
            f"{what} after {served:,} ({total / 1e6:.0f} MB, {theirs / 1e6:.0f} MB)",
            str(_MORE),
            f"{more_mb:+.0f} MB",
            "",
            _MORE.holds(more_mb),
            _MORE.verdict(more_mb),
        ),
    ]


async def _samples(bench: Bench, server: Server, count: int, batch: int) -> list[tuple[int, int]]:
    """After every `batch` requests, with nobody asking."""
    asks = endless(1, _PROMPT_WORDS, _ANSWER_TOKENS)
    samples = []
    for done in range(0, count, batch):
        if done % max(batch, count // 10) == 0:
            bench.progress.step(f"{server.kind.value}, {done:,} of {count:,} requests")
        some = itertools.islice(asks, batch)
        check_answers(server, await closed_loop(server.address, some, _CLIENTS, _ANSWER_S))
        samples.append((done + batch, private_bytes(server.processes())))
    return samples
