"""What the pool and its workers say to each other, and how it is framed: four bytes of length, then MessagePack.

They talk over an inherited socket pair rather than stdin and stdout: a stray print cannot corrupt it, one descriptor
carries both ways, and either side sees the other's death as an end of file at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec

from scenarios.address import Road
from scenarios.load.exchange import Job
from scenarios.load.health import Health
from scenarios.load.lag import LagCounts
from scenarios.observation import Observation

FRAME_LIMIT_BYTES = 1 << 28
_LENGTH_BYTES = 4


class Setup(msgspec.Struct, frozen=True, tag=True):
    """First word to a worker. The keys themselves travel in the environment variables named here, one a tenant."""

    worker: int
    base_url: str
    road: Road
    api_key_envs: dict[str, str]
    connections: int
    planned: int  # requests of the whole plan


class Jobs(msgspec.Struct, frozen=True, tag=True):
    """Some of the plan, well before it is due; `last`: there is no more of it."""

    jobs: tuple[Job, ...]
    last: bool = False


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """What is due first has been handed over: get ready."""


class Start(msgspec.Struct, frozen=True, tag=True):
    """Go: due times count from `t0_ns` of time.monotonic_ns(), which all processes of a machine share."""

    t0_ns: int


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Send nothing more; what is in flight may end by itself for `grace_s`."""

    grace_s: float


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker could start now, or says in `problem` why it cannot run."""

    problem: str = ""


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Since the last one: requests first written (index, ns from t0), requests that are over, the worker's own lag.

    `begun`: indices of requests that were tried, could not be written yet and will be tried again.

    Written and read it costs both sides half a microsecond for each request; pairs as packed bytes would cost more.
    """

    sent: tuple[tuple[int, int], ...]
    observations: tuple[Observation, ...]
    in_flight: int
    send_lag: LagCounts
    loop_lag: LagCounts
    health: Health
    begun: tuple[int, ...] = ()


class Finished(msgspec.Struct, frozen=True, tag=True):
    """Nothing more will come: all that was handed over is over, or will not be sent after a stop."""


ToWorker = Setup | Jobs | Prepare | Start | Stop
FromWorker = Ready | Progress | Finished


class Channel(asyncio.BufferedProtocol):
    """Framed messages over a stream socket; `on_message` for each, `on_closed` once when the other side is gone.

    `turn_bytes` are read in one turn of the loop at most: what a turn costs delays whatever else is due in it.
    """

    def __init__(
        self, types: Any, on_message: Callable[[Any], None], on_closed: Callable[[], None], turn_bytes: int
    ) -> None:
        self._decode = msgspec.msgpack.Decoder(types).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._on_message = on_message
        self._on_closed = on_closed
        self._read = memoryview(bytearray(turn_bytes))
        self._rest = bytearray()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def send(self, message: ToWorker | FromWorker) -> None:
        """Queue a message; to a side that is gone it goes nowhere."""
        if self._transport is not None and not self._transport.is_closing():
            payload = self._encode(message)
            self._transport.write(len(payload).to_bytes(_LENGTH_BYTES, "big") + payload)

    async def drained(self) -> None:
        """Wait until the other side has taken most of what was sent, or is gone."""
        await self._writable.wait()

    def close(self) -> None:
        """Close after what was queued is written."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        rest = self._rest
        rest += self._read[:nbytes]
        at = 0
        while len(rest) - at >= _LENGTH_BYTES:
            begin = at + _LENGTH_BYTES
            length = int.from_bytes(rest[at:begin], "big")
            if length > FRAME_LIMIT_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            if len(rest) < begin + length:
                break
            at = begin + length
            self._on_message(self._decode(rest[begin:at]))
        del rest[:at]

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._on_closed()
