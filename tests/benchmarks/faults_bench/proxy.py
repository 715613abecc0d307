"""Target 1: what the fault proxy costs while no fault is in force, and how true its latency and bandwidth are.

The server of the load generator's benchmark stamps each event as it hands it to the kernel, the client as it reads it;
runs on the direct road and through the proxy take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from scenarios.address import DIRECT
from scenarios.faults.injector import Order
from scenarios.faults.proxy import ProxyInjector
from tests.benchmarks.load_bench.driver import Driven, drive, requests
from tests.benchmarks.load_bench.server import Server, cores, serving
from tests.benchmarks.load_bench.table import Row, medians, not_run

TARGET = 1
TITLE = "the proxy in the path: its cost without a fault, the fidelity of latency and bandwidth"
_ADDED_MS = 0.3
_EVENTS = 30_000.0
_STREAMS = 32
_INTERVAL_US = 20_000
_PACED_STREAMS = 1_600
_PACED_US = 40_000
_WINDOW_S = (1.5, 5.0)
_DELAYS_S = (0.001, 0.01, 0.2)
_OFF_MS = 1.0
_RATES = ((2_000.0, 4.0), (50_000.0, 3.0), (1_000_000.0, 3.0), (10_000_000.0, 3.0))  # bytes/s, and for how long
_OFF_SHARE = 3.0


def measure(quick: bool) -> list[Row]:
    rounds = 1 if quick else 5
    rows = medians([asyncio.run(_added(quick)) for _ in range(rounds)])
    rows += medians([asyncio.run(_throughput()) for _ in range(1 if quick else 3)])
    for delay_s in _DELAYS_S:
        rows += medians([asyncio.run(_latency(delay_s)) for _ in range(1 if quick else 3)])
    for rate, for_s in _RATES:
        rows += medians([asyncio.run(_bandwidth(rate, for_s)) for _ in range(1 if quick else 3)])
    why = "no build of it for this machine comes from a package registry; its documented figures are not measured here"
    return [*rows, not_run(TARGET, "Toxiproxy on the same roads", why)]


@asynccontextmanager
async def _proxied(url: str, core: int) -> AsyncIterator[ProxyInjector]:
    with tempfile.TemporaryDirectory() as folder:
        proxy = await ProxyInjector.start(url, DIRECT, Path(folder))
        try:
            os.sched_setaffinity(proxy.pid, {core})
            yield proxy
        finally:
            await proxy.close()


@asynccontextmanager
async def _fault(proxy: ProxyInjector, kind: str, **params: float | str) -> AsyncIterator[None]:
    on = asyncio.Event()
    task = asyncio.create_task(proxy.hold(Order(number=1, kind=kind, for_s=600.0, params=params), on.set))
    try:
        await asyncio.wait_for(on.wait(), 10)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _through(server: Server, proxy: ProxyInjector) -> Server:
    return replace(server, url=proxy.base_url)


def _events_ms(driven: Driven) -> np.ndarray:
    """How long each event took from the server's hand to the client's, ms."""
    return np.array(driven.stamps_ns()) / 1e6


async def _added(quick: bool) -> list[Row]:
    """The same streams on both roads, one after the other, several times; what the proxy adds to each event."""
    plan = requests([i * _INTERVAL_US * 1000 // _STREAMS for i in range(_STREAMS)], stream=True)
    direct: list[np.ndarray] = []
    carried: list[np.ndarray] = []
    with serving(100, _INTERVAL_US) as server:
        async with _proxied(server.url, cores()[0]) as proxy:
            for _ in range(1 if quick else 3):
                direct.append(_events_ms(await drive(plan, server)))
                carried.append(_events_ms(await drive(plan, _through(server, proxy))))
    bare, more = np.concatenate(direct), np.concatenate(carried)
    rows = []
    for q, bound in ((50.0, None), (99.0, _ADDED_MS)):
        without, with_it = float(np.percentile(bare, q)), float(np.percentile(more, q))
        note = f"{with_it:.3f} ms with it, {without:.3f} ms without; {_STREAMS} streams of 50 events/s"
        rows.append(Row(TARGET, f"added to an event, p{q:g}", with_it - without, "ms", bound, note=note))
    return rows


async def _throughput() -> list[Row]:
    """Many streams, each event at a time of its own and so a write of its own; the proxy alone on its core."""
    tokens = int((_WINDOW_S[1] + 0.5) * 1e6 / _PACED_US)
    gap_ns = _PACED_US * 1000 // _PACED_STREAMS
    plan = requests([i * gap_ns for i in range(_PACED_STREAMS)], stream=True)
    with serving(tokens, _PACED_US) as server:
        others, own = cores()
        async with _proxied(server.url, own) as proxy:
            process = psutil.Process(proxy.pid)
            busy_s: list[float] = []

            async def watch(t0_ns: int) -> None:
                for at_s in _WINDOW_S:
                    await asyncio.sleep(max(0.0, (t0_ns - time.monotonic_ns()) / 1e9 + at_s))
                    used = process.cpu_times()
                    busy_s.append(used.user + used.system)

            through = _through(server, proxy)
            driven = await drive(plan, through, connections=8192, meanwhile=watch, worker_core=others)
    times = np.concatenate([np.array(one.event_ns) for one in driven.observations]) / 1e9
    begun, ended = _WINDOW_S
    rate = float(((times >= begun) & (times < ended)).sum() / (ended - begun))
    alone = sum(len(set(one.event_ns)) for one in driven.observations) / driven.events
    share = (busy_s[1] - busy_s[0]) / (ended - begun)
    offered = _PACED_STREAMS * 1e6 / _PACED_US
    note = (
        f"{offered:,.0f} offered on {_PACED_STREAMS:,} streams; {alone:.1%} of the events came alone in their read; "
        f"client less server p50 {float(np.percentile(_events_ms(driven), 50)):.2f} ms"
    )
    return [
        Row(TARGET, "SSE events/s on one core", rate, "/s", _EVENTS, at_least=True, note=note),
        Row(TARGET, "its CPU for each event", share / rate * 1e6, "µs", note=f"{share:.0%} of its core at that rate"),
    ]


async def _latency(delay_s: float) -> list[Row]:
    """How far the added time is from the one that was asked for."""
    plan = requests([i * _INTERVAL_US * 1000 // 8 for i in range(8)], stream=True)
    with serving(100, _INTERVAL_US) as server:
        async with _proxied(server.url, cores()[0]) as proxy:
            through = _through(server, proxy)
            bare = _events_ms(await drive(plan, through))
            async with _fault(proxy, "network.latency", delay=delay_s, jitter=0.0, direction="down"):
                late = _events_ms(await drive(plan, through))
    off = late - float(np.percentile(bare, 50)) - delay_s * 1e3
    what = f"latency of {delay_s * 1e3:g} ms, off by"
    return [
        Row(TARGET, f"{what}, p{q:g}", float(np.percentile(np.abs(off), q)), "ms", _OFF_MS, note=f"{len(off)} events")
        for q in (50.0, 99.0)
    ]


@contextlib.contextmanager
def _source(size: int) -> Iterator[str]:
    """A server that gives each connection so many bytes as fast as it takes them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    taken, _ = listener.accept()
                    with taken:
                        if taken.recv(64):
                            taken.sendall(bytes(size))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _taken_s(port: int) -> tuple[int, float]:
    """Bytes that come on one connection, and the seconds from asking to the last of them."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"?")
        begun_ns = last_ns = time.monotonic_ns()
        size = 0
        while data := client.recv(1 << 16):
            size += len(data)
            last_ns = time.monotonic_ns()
    return size, (last_ns - begun_ns) / 1e9


async def _bandwidth(rate: float, for_s: float) -> list[Row]:
    size = int(rate * for_s)
    with _source(size) as url:
        async with (
            _proxied(url, cores()[1]) as proxy,
            _fault(proxy, "network.bandwidth", rate=rate, direction="down"),
        ):
            got, took_s = await asyncio.to_thread(_taken_s, int(proxy.base_url.rpartition(":")[2]))
    assert got == size, f"{got} of {size} bytes came"
    off = abs(got / took_s / rate - 1) * 100
    note = f"{got / took_s:,.0f} bytes/s over {took_s:.1f} s"
    return [Row(TARGET, f"bandwidth of {rate:,.0f} bytes/s, off by", off, "%", _OFF_SHARE, note=note)]
