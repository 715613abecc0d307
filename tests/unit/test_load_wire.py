"""Wires over socket pairs, and the epoll object that many of them share."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from scenarios.load.alarm import SharpAlarm
from scenarios.load.sockets import Sockets
from scenarios.load.wire import SocketWire, TransportWire, Wire

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll here")
MS = 1_000_000


class Heard:
    """A receiver that keeps everything."""

    def __init__(self) -> None:
        self.data = b""
        self.reads: list[int] = []
        self.losses: list[Exception | None] = []
        self.changed = asyncio.Event()

    def received(self, data: bytes, now_ns: int) -> None:
        self.data += data
        self.reads.append(len(data))
        self.changed.set()

    def lost(self, error: Exception | None, now_ns: int) -> None:
        self.losses.append(error)
        self.changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                await self.changed.wait()
                self.changed.clear()


Make = Callable[[socket.socket, Heard], Awaitable[Wire]]


@pytest.fixture(params=["socket", "transport"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    loop = asyncio.get_running_loop()
    sockets = Sockets(loop)

    async def plain(ours: socket.socket, heard: Heard) -> Wire:
        return SocketWire(sockets, ours, heard)

    async def transport(ours: socket.socket, heard: Heard) -> Wire:
        _, wire = await loop.create_connection(lambda: TransportWire(heard), sock=ours)
        return wire

    yield plain if request.param == "socket" else transport
    sockets.close()


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


async def test_what_is_written_arrives_whole_however_slowly_it_is_taken(make: Make) -> None:
    ours, theirs = connected()
    heard = Heard()
    wire = await make(ours, heard)
    data = bytes(range(256)) * 40_000
    wire.write(data)
    assert wire.unsent_bytes > 0
    wire.write(b"end")
    got = b""
    async with asyncio.timeout(10):
        while not got.endswith(b"end"):
            got += await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)
    assert got == data + b"end"
    assert wire.unsent_bytes == 0
    wire.close()
    await heard.until(lambda: heard.losses == [None])
    theirs.close()


async def test_the_end_comes_once_after_the_last_bytes(make: Make) -> None:
    ours, theirs = connected()
    heard = Heard()
    wire = await make(ours, heard)
    theirs.sendall(b"bye")
    theirs.close()
    await heard.until(lambda: bool(heard.losses))
    wire.close()
    await asyncio.sleep(0)
    assert (heard.data, heard.losses) == (b"bye", [None])


async def test_a_reset_is_an_error(make: Make) -> None:
    ours, theirs = connected()
    heard = Heard()
    await make(ours, heard)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    await heard.until(lambda: bool(heard.losses))
    assert isinstance(heard.losses[0], ConnectionResetError)


async def test_after_close_nothing_is_read_and_the_loss_comes_later(make: Make) -> None:
    ours, theirs = connected()
    heard = Heard()
    wire = await make(ours, heard)
    theirs.sendall(b"late")
    wire.close()
    wire.close()
    assert heard.losses == []
    await heard.until(lambda: bool(heard.losses))
    assert (heard.data, heard.losses) == (b"", [None])
    theirs.close()


async def test_a_resting_wire_reads_nothing_until_it_has_rested(make: Make) -> None:
    ours, theirs = connected()
    heard = Heard()
    wire = await make(ours, heard)
    begun_ns = time.monotonic_ns()
    wire.rest(0.05)
    theirs.sendall(b"hello")
    await heard.until(lambda: heard.data == b"hello")
    assert time.monotonic_ns() - begun_ns >= 50 * MS
    wire.rest(60.0)
    wire.close()
    await heard.until(lambda: heard.losses == [None])
    theirs.close()


async def test_an_answer_given_before_the_other_side_stopped_listening_is_still_heard() -> None:
    sockets = Sockets(asyncio.get_running_loop())
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    heard = Heard()
    wire = SocketWire(sockets, ours, heard)
    theirs.sendall(b"too large")
    theirs.close()
    wire.write(b"x")
    await heard.until(lambda: bool(heard.losses))
    assert heard.data == b"too large"
    assert isinstance(heard.losses[0], BrokenPipeError)
    sockets.close()


async def test_a_socket_that_another_one_closed_in_the_same_look_is_not_called() -> None:
    sockets = Sockets(asyncio.get_running_loop())
    pairs = [socket.socketpair() for _ in range(2)]
    heard = [Heard(), Heard()]
    wires = [SocketWire(sockets, ours, one) for (ours, _), one in zip(pairs, heard, strict=True)]
    for one, other in zip(heard, reversed(wires), strict=True):
        one.received = lambda data, now_ns, other=other: other.close()  # type: ignore[method-assign,misc]
    for _, theirs in pairs:
        theirs.sendall(b"x")
    assert sockets.look()
    assert not sockets.look()
    await asyncio.sleep(0)
    assert sorted(len(one.losses) for one in heard) == [0, 1]
    for wire in wires:
        wire.close()
    await asyncio.sleep(0)
    sockets.close()
    for _, theirs in pairs:
        theirs.close()


async def test_an_alarm_that_comes_due_while_sockets_are_read_rings_between_two_of_them() -> None:
    sockets = Sockets(asyncio.get_running_loop())
    order: list[str] = []
    rings = SharpAlarm(sockets, lambda: order.append("ring"))
    pairs = [socket.socketpair() for _ in range(3)]
    wires = []
    for ours, theirs in pairs:
        heard = Heard()
        heard.received = lambda data, now_ns: order.append("read")  # type: ignore[method-assign]
        wires.append(SocketWire(sockets, ours, heard))
        theirs.sendall(b"x")
    sockets.due_ns = time.monotonic_ns()  # due, though its timer has not said so
    assert sockets.look()
    assert order == ["read", "ring", "read", "read"]
    rings.close()
    for wire in wires:
        wire.close()
    await asyncio.sleep(0)
    sockets.close()
    for _, theirs in pairs:
        theirs.close()


async def test_what_may_be_done_before_an_alarm_is_less_than_what_is_left() -> None:
    sockets = Sockets(asyncio.get_running_loop())
    assert sockets.spare_ns(1_000) >= 1_000
    assert sockets.spare_ns(200_000) == 200_000
    sockets.due_ns = time.monotonic_ns()
    assert 0 < sockets.spare_ns(200_000) < 100_000
    sockets.close()
