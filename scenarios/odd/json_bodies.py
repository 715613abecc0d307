"""Bodies that are no JSON, or JSON at the edge of what JSON is."""

from __future__ import annotations

import random

import msgspec

from scenarios.odd.probe import OddClass, OddGroup, Probe, chat

DEEP = 60_000  # what killed llama-server as a grammar, and overflows the stack of a recursive parser


def _text(rng: random.Random) -> bytes:
    return msgspec.json.encode(chat(rng))


def _truncated(rng: random.Random) -> Probe:
    body = _text(rng)
    return Probe(body=body[: rng.randint(1, len(body) - 1)])


def _invalid_utf8(rng: random.Random) -> Probe:
    bad = rng.choice((b"\xff\xfe", b"\xc3\x28", b"\xe2\x82", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf"))
    return Probe(body=_text(rng).replace(b"?", b" " + bad + b"?"))


def _lone_surrogate(rng: random.Random) -> Probe:
    lone = rng.choice((b"\\ud800", b"\\udfff", b"\\ude00\\ud83d"))
    return Probe(body=_text(rng).replace(b"?", lone + b"?"))


def _duplicate_keys(rng: random.Random) -> Probe:
    twice = rng.choice((b'"max_tokens":4,', b'"temperature":1,', b'"messages":[],'))
    return Probe(body=b"{" + twice + _text(rng)[1:])


def _not_a_number(rng: random.Random) -> Probe:
    value = rng.choice((b"NaN", b"Infinity", b"-Infinity"))
    return Probe(body=_text(rng).replace(b'"temperature":0', b'"temperature":' + value))


def _deep(rng: random.Random) -> Probe:
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    nest = opening * DEEP + b"1" + closing * DEEP
    if rng.random() < 0.5:
        return Probe(body=nest)
    return Probe(body=_text(rng)[:-1] + b',"metadata":' + nest + b"}")


def _huge_integer(rng: random.Random) -> Probe:
    digits = b"9" * rng.choice((20, 400, 5000))
    return Probe(body=_text(rng).replace(b'"max_tokens":8', b'"max_tokens":' + digits))


def _not_an_object(rng: random.Random) -> Probe:
    return Probe(body=rng.choice((b"[]", b'"hello"', b"42", b"null", b"true", b"[" + _text(rng) + b"]")))


def _two_documents(rng: random.Random) -> Probe:
    return Probe(body=_text(rng) + rng.choice((b"{}", b"]", b" trailing words", b"\n" + _text(rng))))


def _javascript(rng: random.Random) -> Probe:
    body = _text(rng)
    return Probe(
        body=rng.choice((body.replace(b'"', b"'"), b"// a comment\n" + body, body[:-1] + b",}", b"{messages: []}"))
    )


def _other_encoding(rng: random.Random) -> Probe:
    text = _text(rng).decode()
    return Probe(body=text.encode(rng.choice(("utf-8-sig", "utf-16", "utf-32-le"))))


def _binary(rng: random.Random) -> Probe:
    return Probe(body=b"\x80" + rng.randbytes(rng.randint(1, 4096)))


_BAD = ("400",)
_G = OddGroup.JSON

CLASSES = (
    OddClass("empty-body", _G, "A client that forgot the body needs an error, not a wait.", _BAD, lambda _: Probe()),
    OddClass(
        "empty-object", _G, "Nothing is asked: the missing field should be named.", _BAD, lambda _: Probe(body=b"{}")
    ),
    OddClass("truncated-json", _G, "A proxy cut the body.", _BAD, _truncated),
    OddClass(
        "invalid-utf8", _G, "JSON is UTF-8 by RFC 8259; other bytes must not reach the tokenizer.", _BAD, _invalid_utf8
    ),
    OddClass(
        "lone-surrogate",
        _G,
        "Half an emoji is legal JSON but no text that can be encoded again.",
        ("400", "2xx"),
        _lone_surrogate,
    ),
    OddClass(
        "duplicate-keys",
        _G,
        "RFC 8259 leaves the meaning open; taking one or refusing are both right.",
        ("2xx", "400"),
        _duplicate_keys,
    ),
    OddClass(
        "nan-and-infinity",
        _G,
        "Not JSON, but Python's parser takes it, and then a sampler gets it.",
        _BAD,
        _not_a_number,
    ),
    OddClass("deep-json", _G, "60,000 levels overflow a recursive parser's stack.", ("400", "413"), _deep),
    OddClass("huge-integer", _G, "An integer beyond 64 bits must not reach C code.", _BAD, _huge_integer),
    OddClass("not-an-object", _G, "Valid JSON of the wrong kind.", _BAD, _not_an_object),
    OddClass("two-documents", _G, "More follows after the end of the document.", _BAD, _two_documents),
    OddClass("javascript-json", _G, "Single quotes, comments, trailing commas: written by hand.", _BAD, _javascript),
    OddClass(
        "other-encoding",
        _G,
        "A byte-order mark or UTF-16, as some Windows tools send.",
        ("400", "415", "2xx"),
        _other_encoding,
    ),
    OddClass("binary-body", _G, "A file sent to the wrong URL.", ("400", "415"), _binary),
)
