"""Where requests and answers end, however their bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.faults.proxy.framing import AnswerReader, RequestReader

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def cuts(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]


somewhere = st.lists(st.integers(0, 300), max_size=6)


@given(at=somewhere)
def test_a_request_is_held_until_its_head_is_whole_and_over_with_its_last_byte(at: list[int]) -> None:
    reader = RequestReader()
    out = b""
    for piece in cuts(POST + b"hello", at):
        assert not reader.over
        out += reader.feed(piece)
        assert not out or reader.head == POST
    assert reader.over
    assert out == POST + b"hello"


def test_a_request_without_a_length_is_over_with_its_head_and_a_chunked_one_is_endless() -> None:
    get, chunked = RequestReader(), RequestReader()
    get.feed(b"GET / HTTP/1.1\r\n\r\n")
    chunked.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert (get.over, get.endless) == (True, False)
    assert (chunked.over, chunked.endless) == (False, True)


def test_what_is_no_head_is_let_go_at_the_end_or_when_it_has_grown_too_large() -> None:
    short, long = RequestReader(), RequestReader()
    assert short.feed(b"no head") == b""
    assert short.end() == b"no head"
    endless = bytes(1 << 20)
    assert long.feed(endless) == endless
    assert (long.head, long.over) == (b"", True)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5;x=1\r\n0\r\n\r\n\r\n0\r\nTrailer: 1\r\n\r\n",
    ],
)
@given(at=somewhere)
def test_an_answer_is_over_with_its_last_byte(answer: bytes, at: list[int]) -> None:
    reader = AnswerReader()
    for piece in cuts(answer, at):
        assert not reader.over
        reader.feed(piece)
    assert reader.over


def test_an_answer_to_head_is_over_with_its_head_and_one_until_the_close_never_is() -> None:
    bare, open_ended = AnswerReader(bare=True), AnswerReader()
    bare.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    open_ended.feed(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert bare.over
    assert not open_ended.over
