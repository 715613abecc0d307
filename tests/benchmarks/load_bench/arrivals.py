"""Target 7: arrivals are what they are called, and the same whoever sends them.

Gaps are rescaled by the cumulative rate: those of a process that follows it are independent, of mean 1 and of the
distribution asked for (Papangelou; Brown et al., Neural Computation 14, 2002). KS is the test of Kolmogorov and Smirnov
at level 0.01; dispersion is the coefficient of variation of the rescaled gaps against the one asked for. Of 200 seeds
about 1 % should be rejected: fewer than 3.5 % is what chance alone allows in 999 of 1,000 such counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from scenarios.arrivals import NANO, Ints, due_times_ns
from scenarios.definition import ArrivalKind, Arrivals, Scenario, Window, Workload
from scenarios.draws import Floats, stream
from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan, make_plan
from tests.benchmarks.load_bench.table import Row

TARGET = 7
TITLE = "arrivals: KS at 0.01, dispersion, the same sends at 1, 2 and 4 workers"
LEVEL = 0.01
_GAPS = 20_000
_SEEDS = 200
_GAPS_OF_A_SEED = 1_000


@dataclass(frozen=True, slots=True)
class _Kind:
    """Arrivals, their cumulative rate by a formula of its own, and the distribution of their rescaled gaps."""

    name: str
    arrivals: Arrivals
    cumulative: Callable[[Floats], Floats]
    cv: float = 1.0
    cdf: Callable[[Floats], Floats] = stats.expon.cdf

    def gaps(self, seed: int) -> Floats:
        """Of mean 1 where the arrivals are what they are called."""
        bits = stream(seed, sum(self.name.encode()))
        return np.diff(self.cumulative(due_times_ns(self.arrivals, bits) / NANO))


def measure(quick: bool) -> list[Row]:
    rows: list[Row] = []
    for kind in _kinds(_GAPS):
        gaps = kind.gaps(1)
        p = float(stats.kstest(gaps, kind.cdf).pvalue)
        off = abs(float(gaps.std() / gaps.mean()) / kind.cv - 1) * 100
        note = f"{len(gaps):,} gaps, one seed"
        rows.append(Row(TARGET, f"{kind.name}: KS p", p, "", LEVEL, at_least=True, note=note))
        rows.append(Row(TARGET, f"{kind.name}: dispersion off", off, "%", 5.0, note=f"cv {kind.cv:g} asked for"))
    seeds = _SEEDS // 4 if quick else _SEEDS
    for kind in _kinds(_GAPS_OF_A_SEED):
        refused = sum(stats.kstest(kind.gaps(seed), kind.cdf).pvalue < LEVEL for seed in range(seeds))
        bound = stats.binom(seeds, LEVEL).ppf(0.999) / seeds * 100
        note = f"{seeds} seeds of {_GAPS_OF_A_SEED:,} gaps"
        rows.append(Row(TARGET, f"{kind.name}: seeds rejected", refused / seeds * 100, "%", float(bound), note=note))
    rows.append(_constant())
    return rows + _workers(200 if quick else 1_000)


def _kinds(count: int) -> list[_Kind]:
    """Every kind, about `count` requests long."""
    rate = 50.0
    long_s = count / rate
    third_s, half_s = long_s / 3, long_s / 2
    low, high = rate / 5, 1.8 * rate

    def steady(t_s: Floats) -> Floats:
        return rate * t_s

    def ramp(t_s: Floats) -> Floats:
        return rate * t_s * t_s / long_s

    def spike(t_s: Floats) -> Floats:
        return rate / 2 * t_s + 1.5 * rate * np.clip(t_s - third_s, 0.0, third_s)

    def day(t_s: Floats) -> Floats:
        return low * t_s + (high - low) / 2 * (t_s - np.sin(2 * np.pi * t_s / third_s) * third_s / (2 * np.pi))

    def windows(t_s: Floats) -> Floats:
        return rate / 2 * t_s + rate * np.maximum(t_s - half_s, 0.0)

    spiky = Arrivals(ArrivalKind.SPIKE, long_s, base=rate / 2, peak=2 * rate, spike_at_s=third_s, spike_s=third_s)
    parts = (Window(half_s, rate / 2, 2.0, True), Window(half_s, 1.5 * rate, 2.0, True))
    renewal = [
        _Kind(f"{kind.value}, cv {cv:g}", Arrivals(kind, long_s, rate=rate, cv=cv), steady, cv, cdf(cv))
        for kind, cdf in ((ArrivalKind.GAMMA, _gamma), (ArrivalKind.WEIBULL, _weibull))
        for cv in (0.5, 2.0)
    ]
    return [
        _Kind("poisson", Arrivals(ArrivalKind.POISSON, long_s, rate=rate), steady),
        *renewal,
        _Kind("ramp", Arrivals(ArrivalKind.RAMP, long_s, base=0.0, peak=2 * rate), ramp),
        _Kind("spike", spiky, spike),
        _Kind("diurnal", Arrivals(ArrivalKind.DIURNAL, long_s, base=low, peak=high, period_s=third_s), day),
        _Kind("windows, cv 2", Arrivals(ArrivalKind.WINDOWS, long_s, windows=parts), windows, 2.0, _weibull(2.0)),
    ]


def _gamma(cv: float) -> Callable[[Floats], Floats]:
    return stats.gamma(1 / cv**2, scale=cv**2).cdf


def _weibull(cv: float) -> Callable[[Floats], Floats]:
    """The shape by scipy's own means, so that a mistake in ours does not hide itself."""
    shape = brentq(lambda k: stats.weibull_min(k).std() / stats.weibull_min(k).mean() - cv, 0.1, 100.0)
    return stats.weibull_min(shape, scale=1 / math.gamma(1 + 1 / shape)).cdf


def _constant() -> Row:
    """Constant arrivals have no dispersion: the k-th is due at k / rate, to the whole nanosecond below."""
    rate = 333.0
    due: Ints = due_times_ns(Arrivals(ArrivalKind.CONSTANT, 60.0, rate=rate), stream(1, 0))
    off_ns = max(abs(int(at) - k * NANO // int(rate)) for k, at in enumerate(due))
    return Row(TARGET, "constant: off the grid", float(off_ns), "ns", 1.0, note=f"{len(due):,} requests")


def _workers(requests: int) -> list[Row]:
    arrivals = Arrivals(ArrivalKind.POISSON, 4.0, rate=requests / 4.0)
    scenario = Scenario("bench", "", Workload((("support-chat", 1.0), ("it-ops", 1.0))), arrivals)
    sends, hashes, due = [], [], []
    for workers in (1, 2, 4):
        plan = make_plan(scenario, 1)
        received, observations = asyncio.run(_driven(plan, workers))
        bad = sum(one.outcome is not Outcome.OK for one in observations)
        if bad:
            raise AssertionError(f"{bad} of {len(observations)} requests failed with {workers} workers")
        hashes.append(plan.hash)
        sends.append(received)
        due.append(sorted((one.index, one.due_ns) for one in observations))
    differing = sum((sends[0] - other).total() + (other - sends[0]).total() for other in sends[1:])
    moved = sum(left != right for other in due[1:] for left, right in zip(due[0], other, strict=True))
    note = f"{sends[0].total():,} requests at 1, 2 and 4 workers"
    return [
        Row(TARGET, "plans with another hash", float(len(set(hashes)) - 1), "", 0.0, note="1, 2 and 4 workers"),
        Row(TARGET, "requests received that differ in a byte", float(differing), "", 0.0, note=note),
        Row(TARGET, "requests with another due time", float(moved), "", 0.0, note=note),
    ]


async def _driven(plan: Plan, workers: int) -> tuple[Counter[str], list[Observation]]:
    """What a server received, by digest of path and body, and what the workers observed."""
    received: Counter[str] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = b'data: {"choices":[{"delta":{"content":"ok"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                lines = request.decode("latin-1").lower().split("\r\n")
                length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
                body = await reader.readexactly(length)
                received[hashlib.sha256(lines[0].encode() + body).hexdigest()] += 1
                writer.write(head + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pool = LoadPool(plan, f"http://127.0.0.1:{port}", workers=workers)
        try:
            await pool.prepare()
            pool.start(time.monotonic_ns() + 200_000_000)
            observations = [one async for batch in pool.batches() for one in batch.observations]
        finally:
            await pool.close()
    return received, observations
