"""Small questions to a server beside the load: GET on one kept connection, timed; and what /metrics said."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import httptools

from tests.benchmarks.engine_bench.client import Address


@dataclass(frozen=True, slots=True)
class Reply:
    """status 0: the connection broke before an answer. Times are monotonic nanoseconds."""

    status: int
    body: bytes
    asked_ns: int
    answered_ns: int

    @property
    def took_s(self) -> float:
        return (self.answered_ns - self.asked_ns) / 1e9


class Probe:
    """Asks one thing at a time; connects anew when the last connection is gone."""

    def __init__(self, address: Address, key: str = "") -> None:
        self._address = address
        self._key = f"Authorization: Bearer {key}\r\n" if key else ""
        self._wire: _Wire | None = None

    async def get(self, path: str, timeout_s: float = 30.0) -> Reply:
        asked_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(timeout_s):
                if self._wire is None or self._wire.gone:
                    loop = asyncio.get_running_loop()
                    _, self._wire = await loop.create_connection(_Wire, self._address.host, self._address.port)
                head = f"GET {path} HTTP/1.1\r\nHost: {self._address.host}\r\n{self._key}\r\n"
                status, body, answered_ns = await self._wire.ask(head.encode())
        except (TimeoutError, OSError):
            self.close()
            status, body, answered_ns = 0, b"", time.monotonic_ns()
        return Reply(status, body, asked_ns, answered_ns)

    async def metrics(self) -> Metrics:
        """What /metrics says now; empty when the server has none."""
        reply = await self.get("/metrics")
        return Metrics.parse(reply.body.decode()) if reply.status == 200 else Metrics({})

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class _Wire(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._answer: asyncio.Future[tuple[int, bytes, int]] | None = None
        self.gone = False

    async def ask(self, head: bytes) -> tuple[int, bytes, int]:
        assert self._transport is not None
        self._body = []
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(head)
        return await self._answer

    def close(self) -> None:
        self.gone = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.connection_lost(None)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.gone = self.gone or not self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._body), time.monotonic_ns()))

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server closed the connection"))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Of one series: `cumulative[i]` observations were <= bounds[i]; the last bound is infinite."""

    bounds: tuple[float, ...]
    cumulative: tuple[float, ...]
    sum: float

    @property
    def count(self) -> float:
        return self.cumulative[-1] if self.cumulative else 0.0

    @property
    def mean(self) -> float:
        return self.sum / self.count if self.count else math.nan


@dataclass(frozen=True, slots=True)
class Metrics:
    """The samples of a Prometheus text page: series, labels included, to value."""

    samples: Mapping[str, float]

    @staticmethod
    def parse(text: str) -> Metrics:
        """Raises ValueError on a line that is neither sample nor comment."""
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return Metrics({series: float(value) for series, _, value in lines})

    def value(self, series: str) -> float:
        """NaN when it is not there."""
        return self.samples.get(series, math.nan)

    def since(self, before: Metrics) -> Metrics:
        """What was added between the two."""
        return Metrics({series: value - before.samples.get(series, 0.0) for series, value in self.samples.items()})

    def histogram(self, name: str) -> Histogram:
        """Empty when there is no such series without labels."""
        prefix = f'{name}_bucket{{le="'
        found = sorted(
            (float(series[len(prefix) : -2]), value)
            for series, value in self.samples.items()
            if series.startswith(prefix) and series.count("=") == 1
        )
        return Histogram(
            tuple(bound for bound, _ in found), tuple(count for _, count in found), self.samples.get(f"{name}_sum", 0.0)
        )
