"""Ways for a server to answer, good and bad, and the one outcome that each is: name -> (outcome, what it does)."""

from __future__ import annotations

import asyncio
import gzip
import zlib

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
    Turn,
    answer,
    chunk,
    event,
    stream,
)

from scenarios.observation import Outcome

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
SSE = "Content-Type: text/event-stream"
WHOLE_STREAM = event("A") + event(" B") + LAST + DONE
CHECK = b": \xe2\x9c\x93 \xe2\x9c\x93 \n" + event("A") + event(" B")
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


def keeps_saying(piece: bytes, first: bytes = b"") -> Script:
    async def script(turn: Turn) -> None:
        await turn.say(first)
        while True:
            await turn.say(piece)
            await asyncio.sleep(0.02)

    return script


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
    "a-drip-of-comments": (TIMEOUT, keeps_saying(chunk(b": still here\n"), CUT)),
    # ---- sound streams in unusual clothes
    "lines-that-end-in-cr": (OK, says(stream(*(one.replace(b"\n", b"\r") for one in (event("A"), event(" B")))))),
    "a-byte-order-mark": (OK, says(stream(b"\xef\xbb\xbf" + event("A"), event(" B")))),
    "utf8-split-between-chunks": (
        OK,
        says(STREAM_HEAD + chunk(CHECK[:3]) + chunk(CHECK[3:4]) + chunk(CHECK[4:] + LAST + DONE) + END),
    ),
    "trailers-after-the-stream": (OK, says_and_keeps(stream(event("A"), event(" B"))[:-2] + b"X-Sum: 1\r\n\r\n")),
    "chunks-with-extensions": (OK, says(stream(event("A"), event(" B")).replace(b"\r\ndata", b";x=y\r\ndata"))),
    "two-answers-for-one": (OK, says(stream(event("A"), event(" B")) * 2)),
    "http-1.0-kept-alive": (
        OK,
        says_and_keeps(answer("200 OK", WHOLE_STREAM, SSE, "Connection: keep-alive").replace(b"1.1", b"1.0", 1)),
    ),
    "a-stream-of-known-length": (OK, says_and_keeps(answer("200 OK", WHOLE_STREAM, SSE))),
    "a-stream-shorter-than-its-length": (OK, says(answer("200 OK", WHOLE_STREAM + b" " * 9, SSE)[:-9])),
    "ids-and-names-of-events": (OK, says(stream(b"id: 1\nevent: message\nretry: 5\n" + event("A"), event(" B")))),
    "data-on-two-lines": (OK, says(stream(event("A").replace(b'"choices":', b'"choices":\ndata:'), event(" B")))),
    "data-without-a-space": (
        OK,
        says(STREAM_HEAD + chunk((event("A") + event(" B") + LAST + DONE).replace(b"data: ", b"data:")) + END),
    ),
    "text-after-done": (OK, says(STREAM_HEAD + A + B + chunk(LAST + DONE + event(" C")) + END)),
    "a-content-type-in-capitals": (OK, says(stream(event("A"), event(" B")).replace(b"text/event", b"TEXT/Event"))),
    "a-status-line-without-a-reason": (OK, says(stream(event("A"), event(" B")).replace(b"200 OK", b"200"))),
    "a-thousand-headers": (
        OK,
        says(stream(event("A"), event(" B")).replace(b"\r\n", b"\r\n" + b"X-More: and more\r\n" * 1000, 1)),
    ),
    "a-stream-and-then-close": (
        OK,
        says(stream(event("A"), event(" B")).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)),
    ),
    # ---- not now, elsewhere, no
    "shed-until-nobody-knows-when": (SHED, says(answer("429 Too Many", ERROR, JSON, "Retry-After: soon"))),
    "shed-until-a-date-gone-by": (
        SHED,
        says(
            answer("503 Busy", b"", "Date: Mon, 23 Nov 2026 10:00:00 GMT", "Retry-After: Mon, 23 Nov 2026 09:00:00 GMT")
        ),
    ),
    "moved-for-ever": (HTTP_4XX, says(answer("301 Moved", b"", "Location: /elsewhere"))),
    "see-other": (HTTP_4XX, says(answer("303 See Other", b"", "Location: http://127.0.0.1:1/"))),
    "not-modified": (HTTP_4XX, says(b"HTTP/1.1 304 Not Modified\r\n\r\n")),
    "a-500-that-calls-itself-a-stream": (HTTP_5XX, says(answer("500 Broken", ERROR, SSE))),
    "an-error-event-first": (HTTP_5XX, says(STREAM_HEAD + chunk(b"data: " + ERROR + b"\n\n") + END)),
    # ---- ends too early
    "an-end-after-the-headers": (TRUNCATED, says(STREAM_HEAD)),
    "an-end-after-an-interim-answer": (TRUNCATED, says(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "an-end-in-a-chunk-size": (TRUNCATED, says(CUT + b"4")),
    "a-stream-of-nothing": (TRUNCATED, says(STREAM_HEAD + END)),
    "comments-only": (TRUNCATED, says(STREAM_HEAD + chunk(b": ping\n\n") * 3 + END)),
    "a-finish-reason-and-no-done": (TRUNCATED, says(STREAM_HEAD + A + B + chunk(LAST) + END)),
    "a-gzipped-stream-cut": (TRUNCATED, says(gzip_stream(event("A"), event(" B"))[:-30])),
    # ---- no HTTP
    "http-0.9": (MALFORMED, says(b"<html>hello</html>\r\n")),
    "http-9.9": (MALFORMED, says(b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n")),
    "a-tls-alert": (MALFORMED, says(b"\x15\x03\x01\x00\x02\x02\x0a")),
    "a-chunk-size-that-overflows": (MALFORMED, says(STREAM_HEAD + A + b"f" * 17 + b"\r\n")),
    "a-negative-chunk-size": (MALFORMED, says(STREAM_HEAD + A + b"-5\r\n")),
    "a-chunk-longer-than-its-size": (MALFORMED, says(STREAM_HEAD + b"3\r\nabcdef\r\n")),
    "a-nul-in-a-header": (MALFORMED, says(b"HTTP/1.1 200 OK\r\nX-Odd: a\0b\r\n\r\n")),
    "a-header-without-a-colon": (MALFORMED, says(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n")),
    "a-header-of-a-megabyte": (MALFORMED, says_and_hangs(b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * (1 << 20))),
    "a-length-and-chunks": (
        MALFORMED,
        says(stream(event("A")).replace(b"\r\n", b"\r\nContent-Length: 5\r\n", 1)),
    ),
    "a-length-that-is-no-number": (MALFORMED, says(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n")),
    "a-negative-length": (MALFORMED, says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")),
    # ---- HTTP, but no answer to this
    "an-empty-200": (MALFORMED, says(answer("200 OK"))),
    "an-event-too-large": (MALFORMED, says(stream(b"data: " + b"x" * (2 << 20) + b"\n\n"))),
    "a-gzip-bomb": (
        MALFORMED,
        says(answer("200 OK", gzip.compress(bytes(64 << 20)), SSE, "Content-Encoding: gzip")),
    ),
    "two-encodings": (MALFORMED, says(answer("200 OK", b"xx", SSE, "Content-Encoding: gzip, br"))),
    # ---- never
    "interim-answers-without-end": (TIMEOUT, keeps_saying(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "a-head-without-end": (TIMEOUT, keeps_saying(b"x", b"HTTP/1.1 200 OK\r\nX-Slow: ")),
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
    "a-deflated-json-answer": (
        OK,
        says(answer("200 OK", zlib.compress(COMPLETION), JSON, "Content-Encoding: deflate")),
    ),
    "json-longer-than-its-length": (MALFORMED, says(answer("200 OK", COMPLETION[:-5], JSON) + COMPLETION[-5:])),
    "json-with-a-byte-order-mark": (MALFORMED, says(answer("200 OK", b"\xef\xbb\xbf" + COMPLETION, JSON))),
    "json-in-another-suit": (OK, says(answer("200 OK", COMPLETION, "Content-Type: application/vnd.x+json; a=b"))),
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
    "hung-up-after-an-event": (CANCELLED, says_and_hangs(CUT)),
    "hung-up-after-a-while": (CANCELLED, says_and_hangs(CUT)),
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
