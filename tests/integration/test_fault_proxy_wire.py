"""The proxy byte by byte: requests and answers as few clients and servers send them, and ends in unusual orders."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from carried import Carried

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the proxy is made of epoll")

POST = b"POST /v1/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
A, B, C = (b"9\r\ndata: %b\n\n\r\n" % word for word in (b"a", b"b", b"c"))
LAST = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carried]:
    one = Carried(tmp_path_factory.mktemp("carried"))
    yield one
    one.close()


@contextmanager
def in_force(carried: Carried, kind: str, **params: float | str) -> Iterator[int]:
    number = carried.start(kind, **params)
    try:
        yield number
    finally:
        carried.stop(number)


def hear(source: socket.socket, count: int) -> bytes:
    """So many bytes."""
    heard = b""
    while len(heard) < count:
        piece = source.recv(count - len(heard))
        assert piece, heard
        heard += piece
    return heard


def rest_of(source: socket.socket) -> bytes:
    """All until it is closed in order."""
    heard = []
    while piece := source.recv(65_536):
        heard.append(piece)
    return b"".join(heard)


def quiet(source: socket.socket) -> bool:
    """Whether nothing has come, no end either."""
    return not select.select([source], [], [], 0.1)[0]


def test_a_chunked_body_that_waits_to_be_asked_for_is_passed_on(carried: Carried) -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    near, far = carried.pair()
    with near, far, in_force(carried, "stream.duplicate", event=1.0):
        near.sendall(head)
        assert hear(far, len(head)) == head
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        far.sendall(interim)
        assert hear(near, len(interim)) == interim
        for body in (b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n"):
            near.sendall(body)
            assert hear(far, len(body)) == body
        far.sendall(SSE + A + LAST)
        assert hear(near, len(SSE + A + A + LAST)) == SSE + A + A + LAST


def test_a_fault_that_comes_between_a_head_and_its_body_lets_the_body_through(carried: Carried) -> None:
    head, interim = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"
    near, far = carried.pair()
    with near, far:
        near.sendall(head)
        assert hear(far, len(head)) == head
        far.sendall(interim)
        assert hear(near, len(interim)) == interim
        with in_force(carried, "http.error", status="500"):
            near.sendall(b"hello")
            assert hear(far, 5) == b"hello"


def test_requests_that_come_one_upon_the_other_are_each_answered_in_the_targets_place(carried: Carried) -> None:
    near, far = carried.pair()
    with near, far, in_force(carried, "http.error", status="503"):
        near.sendall(POST + POST[:10])
        near.sendall(POST[10:] + POST)
        near.shutdown(socket.SHUT_WR)
        assert rest_of(far) == b""
        far.close()
        assert rest_of(near).count(b"HTTP/1.1 503 ") == 3


def test_a_request_that_comes_before_the_answer_to_the_one_ahead_of_it_goes_through_whole(carried: Carried) -> None:
    near, far = carried.pair()
    second = b"POST /2 HTTP/1.1\r\nContent-Length: 10\r\n\r\n"
    with near, far, in_force(carried, "stream.duplicate", event=1.0):
        near.sendall(POST + second + b"01234")
        assert hear(far, len(POST + second) + 5) == POST + second + b"01234"
        far.sendall(SSE + A + LAST)
        assert hear(near, len(SSE + A + A + LAST)) == SSE + A + A + LAST
        near.sendall(b"56789")
        assert hear(far, 5) == b"56789"
        far.sendall(SSE + A + LAST)
        assert hear(near, len(SSE + A + LAST)) == SSE + A + LAST


@pytest.mark.parametrize(
    "request_head",
    [
        b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_an_answer_in_the_targets_place_ends_the_connection_where_the_client_waits_for_that(
    carried: Carried, request_head: bytes
) -> None:
    near, far = carried.pair()
    with near, far, in_force(carried, "http.error", status="500"):
        near.sendall(request_head)
        assert rest_of(near).startswith(b"HTTP/1.1 500 ")
        assert rest_of(far) == b""


def test_a_truncated_stream_is_over_at_once_and_its_target_is_heard_out(carried: Carried) -> None:
    near, far = carried.pair()
    with near, far, in_force(carried, "stream.truncate", after=1.0):
        near.sendall(POST)
        assert hear(far, len(POST)) == POST
        far.sendall(SSE + A)
        head, _, body = rest_of(near).partition(b"\r\n\r\n")
        assert body == A + LAST
        assert b"\r\nConnection: close" in head
        near.close()
        assert quiet(far)
        for _ in range(100):
            far.sendall(B * 1000)
        assert quiet(far)
        far.sendall(LAST)
        assert rest_of(far) == b""


@pytest.mark.parametrize("ends", ["fin", "rst"])
def test_a_target_that_goes_while_it_is_heard_out_goes_alone(carried: Carried, ends: str) -> None:
    near, far = carried.pair()
    with near, far, in_force(carried, "stream.truncate", after=1.0):
        near.sendall(POST)
        assert hear(far, len(POST)) == POST
        far.sendall(SSE + A)
        head_and_body = b""
        while not head_and_body.endswith(LAST):
            head_and_body += near.recv(65_536)
        if ends == "rst":
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        far.close()
        assert rest_of(near) == b""


def test_a_fault_of_content_that_is_over_leaves_the_rest_of_an_answer_alone(carried: Carried) -> None:
    near, far = carried.pair()
    with near, far:
        with in_force(carried, "stream.duplicate", event=2.0):
            near.sendall(POST)
            assert hear(far, len(POST)) == POST
            far.sendall(SSE + A)
            assert hear(near, len(SSE + A)) == SSE + A
        far.sendall(B + C + LAST)
        assert hear(near, len(B + C + LAST)) == B + C + LAST


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_client_that_speaks_to_a_target_which_is_gone_leaves_nothing_behind(carried: Carried) -> None:
    before = descriptors()
    for _ in range(5):
        near, far = carried.pair()
        far.sendall(b"bye")
        far.close()
        with near:
            assert rest_of(near) == b"bye"
            with contextlib.suppress(ConnectionError):
                while select.select([], [near], [], 1.0)[1] and not select.select([near], [], [], 0.01)[0]:
                    near.sendall(b"hello?")
                while near.recv(1):
                    pass
    until = time.monotonic() + 20
    while descriptors() > before:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_half_open_connection_that_a_slow_reader_has_yet_to_reach_breaks_when_the_fault_ends(
    carried: Carried,
) -> None:
    near, far = carried.pair()
    with near, far:
        near.sendall(b"GET / HTTP/1.1\r\n\r\n")
        far.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while select.select([], [far], [], 0.2)[1]:
                far.send(bytes(65_536))
        with in_force(carried, "network.half_open"):
            pass
        with pytest.raises(ConnectionResetError):
            rest_of(near)
