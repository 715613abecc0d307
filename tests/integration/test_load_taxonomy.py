"""Every way to answer badly has exactly one outcome."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
import zlib

import pytest
from scripted_server import (
    COMPLETION,
    CUT,
    DONE,
    END,
    JSON,
    LAST,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Script,
    ScriptedServer,
    Turn,
    answer,
    chunk,
    event,
    stream,
)

from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest

TIMEOUT_S = 1.5
OK = Outcome.OK
SHED = Outcome.SHED
RESET = Outcome.RESET
TIMEOUT = Outcome.TIMEOUT
TRUNCATED = Outcome.TRUNCATED
MALFORMED = Outcome.MALFORMED
HTTP_4XX = Outcome.HTTP_4XX
HTTP_5XX = Outcome.HTTP_5XX
CANCELLED = Outcome.CANCELLED

A, B = chunk(event("A")), chunk(event(" B"))
GZIP_STREAM_HEAD = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
CLOSE_STREAM_HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
ERROR = b'{"error":{"message":"the model is gone","code":1}}'


def says(*pieces: bytes) -> Script:
    """Say this, then close."""

    async def script(turn: Turn) -> None:
        await turn.say(*pieces)

    return script


def says_and_keeps(*pieces: bytes) -> Script:
    async def script(turn: Turn) -> bool:
        await turn.say(*pieces)
        return True

    return script


def says_and_hangs(*pieces: bytes) -> Script:
    async def script(turn: Turn) -> None:
        await turn.say(*pieces)
        await turn.until_closed()

    return script


def says_and_resets(*pieces: bytes) -> Script:
    async def script(turn: Turn) -> None:
        await turn.say(*pieces)
        turn.reset()

    return script


def says_by_the_byte(data: bytes) -> Script:
    async def script(turn: Turn) -> None:
        for at in range(len(data)):
            await turn.say(data[at : at + 1])
            await asyncio.sleep(0)

    return script


async def repeats_a_header_for_ever(turn: Turn) -> None:
    await turn.say(b"HTTP/1.1 200 OK\r\n")
    while True:
        await turn.say(b"X-More: " + b"x" * 4000 + b"\r\n")


async def drips(turn: Turn) -> None:
    await turn.say(CUT)
    while True:
        await turn.say(chunk(b": still here\n"))
        await asyncio.sleep(0.02)


def gzip_stream(*events: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(one) + packer.flush(zlib.Z_SYNC_FLUSH) for one in events] + [packer.flush()]
    return GZIP_STREAM_HEAD + b"".join(chunk(part) for part in parts) + END


STREAMED: dict[str, tuple[Outcome, Script]] = {
    "a-whole-stream": (OK, says_and_keeps(stream(ROLE, event("A"), event(" B"), LAST, USAGE))),
    "a-stream-by-the-byte": (OK, says_by_the_byte(stream(ROLE, event("A"), event(" B"), LAST, USAGE))),
    "a-stream-with-crlf": (OK, says(stream(*(one.replace(b"\n", b"\r\n") for one in (ROLE, event("A"), event(" B")))))),
    "interim-answers-first": (
        OK,
        says(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n",
            stream(event("A"), event(" B")),
        ),
    ),
    "a-stream-without-length": (OK, says(CLOSE_STREAM_HEAD + event("A") + event(" B") + LAST + DONE)),
    "done-and-then-nothing": (OK, says_and_hangs(STREAM_HEAD + A + B + chunk(LAST + DONE))),
    "done-and-then-a-reset": (OK, says_and_resets(STREAM_HEAD + A + B + chunk(LAST + DONE))),
    "done-without-a-finish-reason": (TRUNCATED, says(STREAM_HEAD + A + B + chunk(DONE) + END)),
    "done-without-a-word": (TRUNCATED, says(STREAM_HEAD + chunk(ROLE + DONE) + END)),
    "done-without-a-blank-line": (OK, says(STREAM_HEAD + A + B + chunk((LAST + DONE)[:-2]) + END)),
    "comments-between-events": (OK, says(stream(b": ping\n\n", event("A"), b": ping\n\n", event(" B")))),
    "rubbish-after-the-end": (OK, says(stream(event("A"), event(" B")) + b"rubbish\r\n\r\n")),
    "a-gzipped-stream": (OK, says(gzip_stream(event("A"), event(" B"), LAST + DONE))),
    "shed-429": (SHED, says_and_keeps(answer("429 Too Many", ERROR, JSON, "Retry-After: 2"))),
    "shed-503": (SHED, says_and_keeps(answer("503 Busy", b"", "Retry-After: 0.5"))),
    "shed-until-a-date": (
        SHED,
        says(
            answer("503 Busy", b"", "Date: Mon, 23 Nov 2026 10:00:00 GMT", "Retry-After: Mon, 23 Nov 2026 10:00:07 GMT")
        ),
    ),
    "429-without-retry-after": (HTTP_4XX, says(answer("429 Too Many", ERROR, JSON))),
    "400": (HTTP_4XX, says(answer("400 Bad Request", ERROR, JSON))),
    "404-of-html": (HTTP_4XX, says(answer("404 Not Found", b"<h1>gone</h1>", "Content-Type: text/html"))),
    "a-redirect": (HTTP_4XX, says(answer("307 Temporary Redirect", b"", "Location: /elsewhere"))),
    "400-cut-in-its-body": (HTTP_4XX, says(b"HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\nonly this")),
    "500": (HTTP_5XX, says(answer("500 Broken", ERROR, JSON))),
    "500-and-then-nothing": (HTTP_5XX, says_and_hangs(b"HTTP/1.1 500 Broken\r\nContent-Length: 5\r\n\r\n")),
    "500-nested-without-end": (HTTP_5XX, says(answer("500 Broken", b"[" * 100_000, JSON))),
    "503-without-retry-after": (HTTP_5XX, says(answer("503 Busy", b""))),
    "an-error-event": (HTTP_5XX, says(STREAM_HEAD + A + chunk(b"data: " + ERROR + b"\n\n") + END)),
    "an-error-event-and-done": (HTTP_5XX, says(stream(event("A"), b"data: " + ERROR + b"\n\n"))),
    "an-event-named-error": (HTTP_5XX, says(stream(b'event: error\ndata: {"message":"the model is gone"}\n\n'))),
    "a-reset-before-any-answer": (RESET, says_and_resets()),
    "a-reset-in-the-stream": (RESET, says_and_resets(CUT)),
    "a-close-without-an-answer": (RESET, says()),
    "an-end-before-done": (TRUNCATED, says(CUT)),
    "an-end-in-an-event": (TRUNCATED, says(CUT + b"40\r\ndata: {")),
    "a-sound-end-without-done": (TRUNCATED, says(CUT + END)),
    "an-end-in-the-headers": (TRUNCATED, says(b"HTTP/1.1 200 OK\r\nContent-")),
    "an-end-before-done-without-length": (TRUNCATED, says(CLOSE_STREAM_HEAD + event("A"))),
    "no-http": (MALFORMED, says(b"SSH-2.0-OpenSSH_9.9\r\n")),
    "a-bad-chunk-size": (MALFORMED, says(STREAM_HEAD + A + b"zz\r\n")),
    "a-bad-header": (MALFORMED, says(b"HTTP/1.1 200 OK\r\nbad header\x01: x\r\n\r\n")),
    "two-lengths": (MALFORMED, says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")),
    "headers-without-end": (MALFORMED, repeats_a_header_for_ever),
    "status-700": (MALFORMED, says(answer("700 Odd", COMPLETION, JSON))),
    "status-101": (MALFORMED, says(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nxx")),
    "an-event-of-bad-json": (MALFORMED, says(stream(event("A"), b'data: {"choices": [\n\n'))),
    "an-event-of-bad-utf8": (MALFORMED, says(stream(event("A"), b'data: {"x":"\xff"}\n\n'))),
    "an-event-that-is-no-object": (MALFORMED, says(stream(event("A"), b"data: 42\n\n"))),
    "an-event-of-wrong-types": (MALFORMED, says(stream(event("A"), b'data: {"choices":{"delta":1}}\n\n'))),
    "an-event-with-a-huge-count": (
        MALFORMED,
        says(stream(b'data: {"usage":{"prompt_tokens":' + b"9" * 30 + b"}}\n\n")),
    ),
    "an-event-nested-without-end": (MALFORMED, says(stream(b'data: {"x":' + b"[" * 100_000 + b"\n\n"))),
    "an-event-with-half-a-surrogate": (MALFORMED, says(stream(b'data: {"choices":[{"text":"\\ud83d"}]}\n\n'))),
    "an-event-that-never-ends": (MALFORMED, says_and_hangs(STREAM_HEAD + chunk(b"data: " + b"x" * (1 << 21)))),
    "json-instead-of-a-stream": (MALFORMED, says(answer("200 OK", COMPLETION, JSON))),
    "html-instead-of-a-stream": (MALFORMED, says(answer("200 OK", b"<h1>hi</h1>", "Content-Type: text/html"))),
    "an-error-with-status-200": (MALFORMED, says(answer("200 OK", ERROR, JSON))),
    "no-content": (MALFORMED, says(b"HTTP/1.1 204 No Content\r\n\r\n")),
    "brotli-nobody-asked-for": (MALFORMED, says(answer("200 OK", b"xx", JSON, "Content-Encoding: br"))),
    "a-broken-gzip": (MALFORMED, says(GZIP_STREAM_HEAD + chunk(b"this is no gzip") + END)),
    "nothing-at-all": (TIMEOUT, says_and_hangs()),
    "half-a-head-and-nothing": (TIMEOUT, says_and_hangs(b"HTTP/1.1 200 OK\r\nContent-Ty")),
    "half-a-stream-and-nothing": (TIMEOUT, says_and_hangs(CUT)),
    "a-drip-of-comments": (TIMEOUT, drips),
}


WHOLE: dict[str, tuple[Outcome, Script]] = {
    "a-json-answer": (OK, says_and_keeps(answer("200 OK", COMPLETION, JSON))),
    "a-gzipped-json-answer": (OK, says(answer("200 OK", gzip.compress(COMPLETION), JSON, "Content-Encoding: gzip"))),
    "a-json-answer-until-the-close": (
        OK,
        says(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + COMPLETION),
    ),
    "json-cut-short": (TRUNCATED, says(answer("200 OK", COMPLETION, JSON)[:-5])),
    "gzip-cut-short": (
        MALFORMED,
        says(answer("200 OK", gzip.compress(COMPLETION)[:-12], JSON, "Content-Encoding: gzip")),
    ),
    "bad-json": (MALFORMED, says(answer("200 OK", COMPLETION[:-5], JSON))),
    "a-json-array": (MALFORMED, says(answer("200 OK", b"[]", JSON))),
    "json-nested-without-end": (MALFORMED, says(answer("200 OK", b'{"error":' + b"[" * 100_000, JSON))),
    "json-of-bad-utf8": (MALFORMED, says(answer("200 OK", b'{"choices":[{"text":"\xff"}]}', JSON))),
    "json-as-plain-text": (MALFORMED, says(answer("200 OK", COMPLETION, "Content-Type: text/plain"))),
    "an-empty-body": (MALFORMED, says(answer("200 OK", b"", JSON))),
    "an-error-body-with-status-200": (MALFORMED, says(answer("200 OK", ERROR, JSON))),
    "a-stream-nobody-asked-for": (MALFORMED, says(stream(event("A")))),
}

RAW: dict[str, tuple[Outcome, Script]] = {
    "raw-refused-with-400": (HTTP_4XX, says(answer("400 Bad Request"))),
    "raw-answered-with-text": (OK, says(answer("200 OK", b"fine", "Content-Type: text/plain"))),
    "raw-answered-and-kept": (OK, says_and_keeps(answer("200 OK", b"{}", JSON))),
    "raw-answered-with-a-stream": (OK, says_and_keeps(STREAM_HEAD + A + chunk(DONE))),
    "raw-closed": (RESET, says()),
    "raw-no-http-back": (MALFORMED, says(b"what?\r\n\r\n")),
    "raw-hangs": (TIMEOUT, says_and_hangs()),
}

OTHER: dict[str, tuple[Outcome, Script]] = {
    "hung-up-in-the-stream": (CANCELLED, says_and_hangs(CUT)),
    "hung-up-too-late-to-matter": (OK, says(stream(event("A"), event(" B")))),
    "head-has-no-body": (
        OK,
        says_and_hangs(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"),
    ),
    "get-of-plain-text": (OK, says(answer("200 OK", b"up 1\n", "Content-Type: text/plain"))),
    "get-of-bad-json": (MALFORMED, says(answer("200 OK", b"{", JSON))),
    "raw-sent-slowly": (OK, says(answer("200 OK", b"{}", JSON))),
    "a-header-that-cannot-be-sent": (Outcome.UNSENT, says()),
}

ALL = {**STREAMED, **WHOLE, **RAW, **OTHER}


def raw_request(name: str) -> bytes:
    return f"POST /v1/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def planned() -> list[PlannedRequest]:
    requests = []
    for index, name in enumerate(ALL):
        own: dict[str, object] = {}
        if name in RAW or name == "raw-sent-slowly":
            own["raw"] = raw_request(name)
        if name == "raw-sent-slowly":
            own["raw_chunks_s"] = 0.02
        if name.startswith("hung-up"):
            own["hang_up_after_s"] = 0.2 if name == "hung-up-in-the-stream" else 1.2
        if name.startswith("head-"):
            own |= {"method": "HEAD", "stream": False}
        if name.startswith("get-"):
            own |= {"method": "GET", "stream": False}
        if name == "a-header-that-cannot-be-sent":
            own["headers"] = (("X-Odd", "a\r\nb"),)
        if name in WHOLE:
            own["stream"] = False
        requests.append(
            PlannedRequest(
                index=index, due_ns=index * 1_000_000, path=f"/v1/{name}", body=b"{}", timeout_s=TIMEOUT_S, **own
            )
        )
    return requests


async def run_all() -> dict[str, Observation]:
    async with ScriptedServer({name: script for name, (_, script) in ALL.items()}) as server:
        pool = LoadPool(Plan.of(planned()), server.url)
        await pool.prepare()
        pool.start(time.monotonic_ns())
        seen = [one async for batch in pool.batches() for one in batch.observations]
        assert pool.deaths == []
        assert pool.totals.done == len(ALL)
        await pool.close()
    assert sorted(one.index for one in seen) == list(range(len(ALL)))
    names = list(ALL)
    return {names[one.index]: one for one in seen}


@pytest.fixture(scope="module")
def observed() -> dict[str, Observation]:
    return asyncio.run(run_all())


@pytest.mark.parametrize(("name", "outcome"), [(name, outcome) for name, (outcome, _) in ALL.items()])
def test_each_behaviour_of_a_server_has_its_outcome(
    observed: dict[str, Observation], name: str, outcome: Outcome
) -> None:
    one = observed[name]
    assert one.outcome is outcome, one
    assert (one.error == "") == (outcome is OK), one
    assert len(one.error) <= 500


def test_the_answers_that_are_ok_say_what_the_server_said(observed: dict[str, Observation]) -> None:
    for name in STREAMED | WHOLE:
        if ALL[name][0] is OK:
            assert observed[name].answer == "A B", name
    full = observed["a-whole-stream"]
    assert (full.prompt_tokens, full.completion_tokens, full.finish_reason, full.status) == (7, 3, "stop", 200)
    json_answer = observed["a-json-answer"]
    assert (json_answer.completion_tokens, json_answer.finish_reason) == (3, "stop")


def test_an_empty_role_chunk_is_no_token(observed: dict[str, Observation]) -> None:
    assert len(observed["a-whole-stream"].event_ns) == 2


def test_a_body_that_is_no_stream_has_one_time_for_everything(observed: dict[str, Observation]) -> None:
    one = observed["a-json-answer"]
    assert one.event_ns == (one.end_ns,)
    assert one.first_ns == one.answer_ns == one.last_ns == one.end_ns


def test_times_are_in_order_for_every_request(observed: dict[str, Observation]) -> None:
    for one in observed.values():
        marks = [one.due_ns, one.sent_ns, one.first_ns, one.last_ns, one.end_ns]
        known = [mark for mark in marks if mark is not None]
        assert known == sorted(known), one
        assert list(one.event_ns) == sorted(one.event_ns)


def test_what_came_before_a_break_is_kept(observed: dict[str, Observation]) -> None:
    for name in ("a-reset-in-the-stream", "an-end-before-done", "half-a-stream-and-nothing", "hung-up-in-the-stream"):
        assert observed[name].answer == "A"
        assert observed[name].first_ns is not None


def test_a_timeout_counts_from_due(observed: dict[str, Observation]) -> None:
    for name, (outcome, _) in ALL.items():
        if outcome is TIMEOUT:
            late_s = (observed[name].end_ns - observed[name].due_ns) / 1e9 - TIMEOUT_S
            assert -0.005 < late_s < 0.5


def test_retry_after_is_read_as_seconds_or_as_a_date(observed: dict[str, Observation]) -> None:
    assert observed["shed-429"].retry_after_s == 2.0
    assert observed["shed-503"].retry_after_s == 0.5
    assert observed["shed-until-a-date"].retry_after_s == 7.0


def test_an_error_says_what_the_server_said(observed: dict[str, Observation]) -> None:
    for name in ("shed-429", "500", "an-error-event", "an-event-named-error"):
        assert observed[name].error == "the model is gone"
    assert "the model is gone" in observed["an-error-with-status-200"].error
    assert observed["a-close-without-an-answer"].error == "closed without an answer"
    assert observed["raw-closed"].error == "closed without an answer"


def test_slow_sending_takes_seven_pauses(observed: dict[str, Observation]) -> None:
    one = observed["raw-sent-slowly"]
    assert one.sent_ns is not None
    assert one.end_ns - one.sent_ns >= 7 * 20_000_000


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_port_where_nobody_listens_refuses() -> None:
    pool = LoadPool(
        Plan.of([PlannedRequest(index=0, due_ns=0, path="/", body=b"")]), f"http://127.0.0.1:{closed_port()}"
    )
    await pool.prepare()
    pool.start(time.monotonic_ns())
    (one,) = [one async for batch in pool.batches() for one in batch.observations]
    await pool.close()
    assert (one.outcome, one.sent_ns) == (Outcome.REFUSED, None)
    assert "refused" in one.error.lower()
