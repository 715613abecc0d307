"""A connection fed byte strings: the short way past the parser and the long way through it tell the same story."""

from __future__ import annotations

import asyncio
import itertools
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.load.connection import Connection
from scenarios.load.exchange import Ending, Exchange, Job

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"e\r\ndata: [DONE]\n\n\r\n"
END = b"0\r\n\r\n"


class Quiet:
    """Owner and wire in one; remembers what it is told."""

    def __init__(self) -> None:
        self.over: list[Exchange] = []
        self.free = self.closed = 0
        self.unsent_bytes = 0

    def ended(self, exchange: Exchange) -> None:
        self.over.append(exchange)

    def freed(self, connection: Connection) -> None:
        self.free += 1

    def gone(self, connection: Connection) -> None: ...

    def lost(self, exchange: Exchange, ending: Ending, now_ns: int, reason: str) -> None: ...

    def write(self, data: bytes) -> None: ...

    def read_at_most(self, count: int) -> None: ...

    def rest(self, pause_s: float) -> None: ...

    def close(self) -> None:
        self.closed += 1


def begin() -> tuple[Connection, Exchange, Quiet]:
    around = Quiet()
    connection = Connection(around)
    connection.attach(around)
    exchange = Exchange(Job(0, 0, b"x", 1.0, stream=True, raw=False, head=False, contract=True), 0)
    connection.send(exchange)
    return connection, exchange, around


def fed(pieces: list[bytes]) -> tuple[list[bytes], list[int], Ending | None, int]:
    """Events, which piece completed each, the ending, and how often the connection was free to be used again."""

    async def feed() -> tuple[Exchange, Quiet]:
        connection, exchange, around = begin()
        for number, piece in enumerate(pieces):
            if around.free or around.closed:
                break
            connection.received(piece, number)
        return exchange, around

    exchange, around = asyncio.run(feed())
    splitter = exchange.splitter
    assert splitter is not None
    return splitter.events, splitter.times_ns, cast(Ending | None, exchange.ending), around.free


def chunk(data: bytes, size: str = "%x", extension: bytes = b"") -> bytes:
    return (size % len(data)).encode() + extension + b"\r\n" + data + b"\r\n"


TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


@st.composite
def wires(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """The body of a stream in chunks of every form, and the events in it."""
    wire, events = b"", []
    for text in draw(st.lists(TEXT, max_size=8)):
        raw = draw(st.sampled_from([b'data: {"a":"%s"}', b"data: {%s", b"data: %s", b"data:{%s}", b": %s\ndata: {}"]))
        raw %= text.encode()
        whole = raw + b"\n\n"
        form = draw(st.integers(0, 5))
        events.append(raw)
        if form == 0:
            wire += chunk(whole, "%X")
        elif form == 1:
            wire += chunk(whole, "%08x")
        elif form == 2:
            wire += chunk(whole, extension=b";a=b")
        elif form == 3:  # two events in one chunk
            wire += chunk(whole + whole)
            events.append(raw)
        elif form == 4:  # an event in two chunks
            at = draw(st.integers(1, len(whole) - 1))
            wire += chunk(whole[:at]) + chunk(whole[at:])
        else:
            wire += chunk(whole)
    return wire, events


@given(wires(), st.lists(st.integers(0, 10_000), max_size=30))
def test_chunks_of_any_form_in_any_pieces_give_their_events_and_a_connection_to_use_again(
    made: tuple[bytes, list[bytes]], places: list[int]
) -> None:
    body, events = made
    wire = HEAD + body + DONE + END
    marks = sorted({0, len(wire), *(place % (len(wire) + 1) for place in places)})
    found, _, ending, free = fed([wire[a:b] for a, b in itertools.pairwise(marks)])
    assert found == [*events, b"data: [DONE]"]
    assert (ending, free) == (Ending.COMPLETE, 1)


@given(wires())
def test_whole_chunks_in_a_read_each_carry_the_time_of_that_read(made: tuple[bytes, list[bytes]]) -> None:
    body, events = made
    assert fed([HEAD, body, DONE + END])[1] == [1] * len(events) + [2]


@pytest.mark.parametrize(
    "broken",
    [b"5\r\ndata: {}\n\n\r\n", b"ff\r\ndata: {}\n\n\r\n" + b"x" * 400, b"-b\r\ndata: {}\n\n\r\n", b"x\r\n"],
)
def test_a_chunk_that_is_not_as_long_as_it_says_is_a_breach_also_after_sound_ones(broken: bytes) -> None:
    sound = chunk(b'data: {"a":1}\n\n')
    assert fed([HEAD, sound, sound + broken, sound])[2] is Ending.BREACH


def test_bytes_that_look_like_a_chunk_in_a_body_of_known_length_are_body() -> None:
    body = chunk(b"data: {}\n\n") + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    events, _, ending, _ = fed([head, body])
    assert events == [b"a\r\ndata: {}", b"\r\ndata: [DONE]"]
    assert ending is Ending.COMPLETE


def test_a_stream_past_its_limit_is_a_breach_on_the_short_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.load.exchange.BODY_LIMIT_BYTES", 1000)
    assert fed([HEAD, *[chunk(b'data: {"a":1}\n\n')] * 100])[2] is Ending.BREACH
