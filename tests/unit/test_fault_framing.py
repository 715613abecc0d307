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


REQUESTS = [
    POST + b"hello",
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\nSum: 1\r\n\r\n",
]


@given(request=st.sampled_from(REQUESTS), at=somewhere)
def test_a_request_is_held_until_its_head_is_whole_and_over_with_its_last_byte(request: bytes, at: list[int]) -> None:
    reader = RequestReader()
    out = b""
    for piece in cuts(request, at):
        assert not reader.over
        some, beyond = reader.feed(piece)
        out += some
        assert beyond == b""
        assert not out or (reader.head is not None and out.startswith(reader.head))
    assert reader.over
    assert out == request


@given(requests=st.lists(st.sampled_from(REQUESTS), min_size=2, max_size=5), at=somewhere)
def test_requests_that_come_one_upon_the_other_are_told_apart(requests: list[bytes], at: list[int]) -> None:
    readers, out = [RequestReader()], [b""]
    for piece in cuts(b"".join(requests), at):
        data = piece
        while data:
            if readers[-1].over:
                readers.append(RequestReader())
                out.append(b"")
            some, data = readers[-1].feed(data)
            out[-1] += some
    assert out == requests
    assert all(reader.over for reader in readers)


def test_what_is_no_head_is_let_go_at_the_end_or_when_it_has_grown_too_large_and_nothing_is_held_after_that() -> None:
    short, long = RequestReader(), RequestReader()
    assert short.feed(b"no head") == (b"", b"")
    assert short.end() == b"no head"
    endless = bytes(1 << 20)
    assert long.feed(endless) == (endless, b"")
    assert long.feed(b"more") == (b"more", b"")
    assert (long.head, long.over) == (b"", False)


@given(data=st.lists(st.binary(max_size=300), max_size=8))
def test_no_bytes_of_a_request_are_lost_whatever_they_are(data: list[bytes]) -> None:
    for start in (b"", POST, REQUESTS[3][:50]):
        readers, out = [RequestReader()], b""
        for piece in (start, *data):
            rest = piece
            while rest:
                if readers[-1].over:
                    readers.append(RequestReader())
                some, rest = readers[-1].feed(rest)
                out += some
        assert out + readers[-1].end() == start + b"".join(data)


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
