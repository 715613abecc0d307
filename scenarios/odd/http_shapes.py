"""Requests that are odd as HTTP: wrong addresses, broken framing, and bytes that are no HTTP at all.

The raw ones ask for `Connection: close`, so that a correct answer also ends the connection.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from scenarios.odd.probe import CHAT, OddClass, OddGroup, Probe, chat

HOST = b"Host: seatrial.invalid\r\n"


def request(
    body: bytes, *headers: bytes, line: bytes = b"POST /v1/chat/completions HTTP/1.1", length: bool = True
) -> bytes:
    """The bytes of a whole request; `length`: with the right Content-Length."""
    size = (b"Content-Length: %d" % len(body),) if length else ()
    rest = b"".join(h + b"\r\n" for h in (b"Content-Type: application/json", b"Connection: close", *size, *headers))
    return line + b"\r\n" + HOST + rest + b"\r\n" + body


def _body(rng: random.Random) -> bytes:
    return msgspec.json.encode(chat(rng))


def _raw(*variants: Callable[[random.Random], bytes]) -> Callable[[random.Random], Probe]:
    return lambda rng: Probe(raw=rng.choice(variants)(rng))


def _wrong_path(rng: random.Random) -> Probe:
    paths = ("/v1/chat/completion", "/v2/chat/completions", "/v1/chat/completions/extra", "/v1/", "/wp-login.php")
    return Probe(payload=chat(rng), path=rng.choice(paths))


def _strange_path(rng: random.Random) -> Probe:
    paths = ("/v1/%00", "/v1/../../etc/passwd", "/v1/%2e%2e/%2e%2e/x", "/v1/%ff%fe", "/v1/chat/completions%0d%0aX:1")
    return Probe(payload=chat(rng), path=rng.choice(paths))


def _wrong_method(rng: random.Random) -> Probe:
    return Probe(method=rng.choice(("GET", "PUT", "DELETE", "PATCH")), path=CHAT)


def _wrong_content_type(rng: random.Random) -> Probe:
    kind = rng.choice(("text/plain", "application/xml", "multipart/form-data", "application/x-www-form-urlencoded"))
    return Probe(body=b"question=" + rng.choice((b"where", b"when")), headers=(("content-type", kind),))


def _length_too_small(rng: random.Random) -> bytes:
    body = _body(rng)
    return request(body, b"Content-Length: %d" % (len(body) // 2), length=False)


def _length_too_large(rng: random.Random) -> bytes:
    body = _body(rng)
    return request(body, b"Content-Length: %d" % (len(body) + rng.randint(1, 5000)), length=False)


def _length_nonsense(rng: random.Random) -> bytes:
    value = rng.choice((b"-1", b"ten", b"1e3", b"99999999999999999999999", b"0x40", b"5, 6"))
    return request(_body(rng), b"Content-Length: " + value, length=False)


def _two_lengths(rng: random.Random) -> bytes:
    body = _body(rng)
    return request(body, b"Content-Length: %d" % (len(body) + 7))


def _chunked(framed: bytes) -> bytes:
    return request(framed, b"Transfer-Encoding: chunked", length=False)


def _bad_chunks(rng: random.Random) -> bytes:
    body = _body(rng)
    sizes = (b"zz", b"-5", b"FFFFFFFFFFFFFFFFFF", b"%x;%s" % (len(body) + 9, b"x"))
    return _chunked(rng.choice(sizes) + b"\r\n" + body + b"\r\n0\r\n\r\n")


def _length_and_chunked(rng: random.Random) -> bytes:
    smuggled = b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
    return request(smuggled, b"Transfer-Encoding: " + rng.choice((b"chunked", b"Chunked", b"identity, chunked")))


def _two_hosts(rng: random.Random) -> bytes:
    return request(_body(rng), b"Host: " + rng.choice((b"localhost", b"internal.example", b"127.0.0.1:1")))


def _broken_header(rng: random.Random) -> bytes:
    bad = (b"No colon here", b"Spaced Name: 1", b"X-Key : before the colon", b": no name", b"X-Nul: a\x00b")
    return request(_body(rng), rng.choice(bad))


def _many_headers(rng: random.Random) -> bytes:
    return request(_body(rng), *(b"X-Pad-%d: %s" % (i, b"p" * 90) for i in range(1000)))


def _one_huge_header(rng: random.Random) -> bytes:
    return request(_body(rng), b"X-Pad: " + b"p" * 100_000)


def _long_url(rng: random.Random) -> bytes:
    return request(_body(rng), line=b"POST /v1/chat/completions?q=" + b"a" * 100_000 + b" HTTP/1.1")


def _unknown_verb(rng: random.Random) -> bytes:
    return request(b"", line=rng.choice((b"BREW", b"post", b"A" * 300)) + b" /v1/chat/completions HTTP/1.1")


def _other_version(rng: random.Random) -> bytes:
    version = rng.choice((b"HTTP/9.9", b"HTTP/1.x", b"HTP/1.1", b"HTTP/ 1.1"))
    return request(_body(rng), line=b"POST /v1/chat/completions " + version)


def _http2(rng: random.Random) -> bytes:
    settings = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03" + rng.randbytes(4)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings


def _noise(rng: random.Random) -> bytes:
    return b"\x00" + rng.randbytes(rng.randint(16, 2048)) + b"\r\n\r\n"


def _tls_hello(rng: random.Random) -> bytes:
    hello = (
        b"\x01\x00\x00\x2e\x03\x03" + rng.randbytes(32) + b"\x00\x00\x02\x13\x01\x01\x00\x00\x05\x00\x2b\x00\x01\x03"
    )
    return b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello + b"\r\n\r\n"


_G = OddGroup.HTTP
_BAD_OR_CLOSED = ("400", "closed")

CLASSES = (
    OddClass("wrong-path", _G, "A typing error in the URL.", ("404",), _wrong_path),
    OddClass(
        "strange-path",
        _G,
        "Path traversal, NUL and line breaks in the path must lead nowhere.",
        ("404", "400"),
        _strange_path,
    ),
    OddClass("wrong-method", _G, "The path exists, the method does not.", ("405",), _wrong_method),
    OddClass("wrong-content-type", _G, "A form sent where JSON is expected.", ("415", "400"), _wrong_content_type),
    OddClass(
        "content-length-too-small",
        _G,
        "The JSON is cut, and its rest looks like a second request.",
        _BAD_OR_CLOSED,
        _raw(_length_too_small),
    ),
    OddClass(
        "content-length-too-large",
        _G,
        "The rest never comes: the server must stop waiting within 10 s.",
        ("408", "400", "closed"),
        _raw(_length_too_large),
    ),
    OddClass(
        "content-length-nonsense",
        _G,
        "A length that is no number must not be guessed at (RFC 9112, 6.3).",
        ("400", "413", "closed"),
        _raw(_length_nonsense),
    ),
    OddClass(
        "two-content-lengths",
        _G,
        "Two lengths that differ are how requests are smuggled (RFC 9112, 6.3).",
        _BAD_OR_CLOSED,
        _raw(_two_lengths),
    ),
    OddClass("bad-chunks", _G, "Chunk sizes that are no sizes.", ("400", "408", "413", "closed"), _raw(_bad_chunks)),
    OddClass(
        "length-and-chunked",
        _G,
        "Content-Length beside Transfer-Encoding is the classic smuggling shape.",
        _BAD_OR_CLOSED,
        _raw(_length_and_chunked),
    ),
    OddClass(
        "two-hosts", _G, "RFC 9112, 3.2: more than one Host must be answered with 400.", ("400",), _raw(_two_hosts)
    ),
    OddClass("broken-header", _G, "A header line that is none (RFC 9112, 5.1).", _BAD_OR_CLOSED, _raw(_broken_header)),
    OddClass(
        "header-bomb",
        _G,
        "100 kB of headers must not be collected without bound.",
        ("431", "400", "413", "closed"),
        _raw(_many_headers, _one_huge_header),
    ),
    OddClass("long-url", _G, "100 kB of URL.", ("414", "431", "400", "404", "closed"), _raw(_long_url)),
    OddClass("unknown-verb", _G, "A method nobody knows.", ("405", "501", "400", "404", "closed"), _raw(_unknown_verb)),
    OddClass(
        "unknown-http-version",
        _G,
        "A protocol version that does not exist.",
        ("400", "505", "closed"),
        _raw(_other_version),
    ),
    OddClass(
        "http-0.9",
        _G,
        "A request line of 1991, without version or headers.",
        ("400", "505", "404", "closed"),
        _raw(lambda _: b"GET /\r\n\r\n"),
    ),
    OddClass(
        "http-2-preface",
        _G,
        "A client with prior knowledge of HTTP/2 that is not there.",
        ("4xx", "505", "closed"),
        _raw(_http2),
    ),
    OddClass("tls-hello", _G, "https:// to a port that speaks http.", _BAD_OR_CLOSED, _raw(_tls_hello)),
    OddClass("binary-noise", _G, "A port scanner.", _BAD_OR_CLOSED, _raw(_noise)),
)
