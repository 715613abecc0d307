"""Target 5: eight API keys that ask alike get alike; one that asks ten times as much does not slow the others."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.engine_bench.bench import DEMO, Bench, Options, check_answers, until_quiet
from tests.benchmarks.engine_bench.client import Answer
from tests.benchmarks.engine_bench.load import Loaded, closed_loop, open_loop, tokens_within, until
from tests.benchmarks.engine_bench.peers import Kind, Server
from tests.benchmarks.engine_bench.probe import Probe
from tests.benchmarks.engine_bench.prompts import endless, poisson
from tests.benchmarks.engine_bench.stats import estimate, jain, quantile, ratio
from tests.benchmarks.engine_bench.table import Bound, Row, for_information, judged

NUMBER = 5
TITLE = "fairness among API keys"
_KEYS = tuple(f"bench-key-{index}" for index in range(8))
_LOUD = _KEYS[0]
_SLOTS, _CTX, _QUEUE = 16, 512, 64
_PROMPT_WORDS, _ANSWER_TOKENS, _ANSWER_S = 30, 48, 120.0
_EQUAL, _TENFOLD = 2, 20
"""Clients of an ordinary key, and of one that sends ten times as much."""
_SATURATED = 4
"""Clients a key where every slot must be fought for."""
_JAIN = Bound(0.98, at_least=True, unit="")
_SLOWER = Bound(1.2, at_least=False)


@dataclass(frozen=True, slots=True)
class Measured:
    shares: list[list[float]]
    """Tokens served to each key, one list for each saturated run."""
    others: list[tuple[float, float]]
    """The seven other keys' TTFT p95 in seconds, closed loop: with one key tenfold, with all keys equal."""
    others_open: tuple[float, float]
    """The same in an open loop."""
    open_rates: tuple[float, float]
    """Requests a second in all: with one key tenfold, with all keys equal."""


def expected_s(options: Options) -> float:
    pairs = 2 if options.quick else options.pairs
    return 30.0 + pairs * 2 * 6.0 if options.quick else 3 * 63.0 + pairs * 2 * 18.0 + 60.0


async def measure(bench: Bench) -> Measured:
    saturated_runs, saturated_s, window_s = bench.pick((3, 60.0, 15.0), (1, 6.0, 4.0))
    bench.progress.plan(saturated_runs + bench.pairs + 1)
    with tempfile.TemporaryDirectory(prefix="seatrial-bench-") as folder:
        keys = Path(folder) / "keys"
        keys.write_text("\n".join(_KEYS))
        setup = bench.setup(DEMO, _CTX, _SLOTS)
        async with bench.serving(Kind.OURS, setup, api_key_file=keys, queue_limit=_QUEUE) as server:
            server.probe = Probe(server.address, _LOUD)  # /metrics asks for a key as well
            shares = []
            for index in range(saturated_runs):
                bench.progress.step(f"saturated {saturated_s:g} s, run {index + 1} of {saturated_runs}")
                load = await _closed(server, index + 1, dict.fromkeys(_KEYS, _SATURATED), saturated_s)
                shares.append([_tokens_of(load, key) for key in _KEYS])
            others = []
            rate = 0.0
            for index in range(bench.pairs):
                bench.progress.step(f"one key tenfold, round {index + 1} of {bench.pairs}")
                found: dict[int, float] = {}
                for clients in (_TENFOLD, _EQUAL) if index % 2 else (_EQUAL, _TENFOLD):
                    wanted = dict.fromkeys(_KEYS, _EQUAL) | {_LOUD: clients}
                    load = await _closed(server, 100 + index, wanted, window_s)
                    found[clients] = _others_p95(load.answers)
                    rate = sum(answer.ok for answer in load.answers) / ((load.full_until_ns - load.begin_ns) / 1e9)
                others.append((found[_TENFOLD], found[_EQUAL]))
            bench.progress.step("open loop")
            each = 0.08 * rate
            tenfold = await _open(server, each, 10 * each, 2 * window_s)
            equal = await _open(server, each, each, 2 * window_s)
    return Measured(shares, others, (tenfold, equal), (17 * each, 8 * each))


def judge(measured: Measured) -> list[Row]:
    fairest = estimate([jain(shares) for shares in measured.shares])
    slower = ratio(measured.others)
    tenfold_s, equal_s = (estimate([pair[index] for pair in measured.others]).show(3) for index in (0, 1))
    open_tenfold_s, open_equal_s = measured.others_open
    return [
        judged(NUMBER, f"{len(_KEYS)} keys, {_SATURATED} clients each: Jain index of tokens served", _JAIN, fairest, 4),
        judged(
            NUMBER,
            f"one key with {_TENFOLD} clients, seven with {_EQUAL}: TTFT p95 of the seven ({tenfold_s} s) against all "
            f"keys with {_EQUAL} ({equal_s} s)",
            _SLOWER,
            slower,
        ),
        for_information(
            NUMBER,
            f"the same in an open loop, {measured.open_rates[0]:.1f} against {measured.open_rates[1]:.1f} requests/s",
            f"{open_tenfold_s / open_equal_s:.2f}x ({open_tenfold_s:.3f} s, {open_equal_s:.3f} s)",
        ),
    ]


async def _closed(server: Server, seed: int, clients: Mapping[str, int], seconds: float) -> Loaded:
    """Every key with its number of clients, until `seconds` have gone by."""
    loads = await asyncio.gather(
        *(
            closed_loop(
                server.address,
                until(seconds, endless(seed * 100 + index, _PROMPT_WORDS, _ANSWER_TOKENS, key)),
                count,
                _ANSWER_S,
            )
            for index, (key, count) in enumerate(clients.items())
        )
    )
    await until_quiet(server)
    answers = [answer for load in loads for answer in load.answers]
    begin_ns, full_until_ns = min(load.begin_ns for load in loads), min(load.full_until_ns for load in loads)
    # The key that asks for too much may be turned away; nobody else may.
    check_answers(
        server, Loaded([one for one in answers if one.status != 429 or one.key != _LOUD], begin_ns, full_until_ns)
    )
    return Loaded(answers, begin_ns, full_until_ns)


async def _open(server: Server, each: float, loud: float, seconds: float) -> float:
    """TTFT p95 of the others while `loud` requests a second come with one key; it may be shed, they may not."""
    due = [
        arrival
        for index, key in enumerate(_KEYS)
        for arrival in poisson(
            index,
            loud if key == _LOUD else each,
            seconds,
            endless(7000 + index, _PROMPT_WORDS, _ANSWER_TOKENS, key),
        )
    ]
    load = await open_loop(server.address, sorted(due, key=lambda arrival: arrival[0]), _ANSWER_S)
    server.check()
    await until_quiet(server)
    return _others_p95(load.answers)


def _others_p95(answers: Sequence[Answer]) -> float:
    """A request that got no token counts as one that waited for the longest time there is."""
    return quantile([answer.ttft_s if answer.ok else _ANSWER_S for answer in answers if answer.key != _LOUD], 0.95)


def _tokens_of(load: Loaded, key: str) -> float:
    mine = [answer for answer in load.answers if answer.key == key]
    return tokens_within(mine, load.begin_ns, load.full_until_ns)
