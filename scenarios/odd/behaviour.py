"""Clients that behave oddly on the wire: slow, unfinished, or gone."""

from __future__ import annotations

import random

import msgspec

from scenarios.odd.http_shapes import request
from scenarios.odd.probe import OddClass, OddGroup, Probe, chat


def _slow_body(rng: random.Random) -> Probe:
    return Probe(raw=request(msgspec.json.encode(chat(rng))), raw_chunks_s=round(rng.uniform(0.05, 0.25), 3))


def _unfinished_headers(rng: random.Random) -> Probe:
    whole = request(msgspec.json.encode(chat(rng)))
    return Probe(raw=whole[: whole.index(b"\r\n\r\n") - rng.randint(0, 20)], raw_chunks_s=0.1)


def _gone_mid_stream(rng: random.Random) -> Probe:
    payload = chat(rng, stream=True, max_tokens=256)
    return Probe(payload=payload, hang_up_after_s=round(rng.uniform(0.02, 0.3), 3))


def _gone_at_once(rng: random.Random) -> Probe:
    return Probe(payload=chat(rng, max_tokens=256), hang_up_after_s=0.001)


def _gone_mid_body(rng: random.Random) -> Probe:
    whole = request(msgspec.json.encode(chat(rng)))
    return Probe(raw=whole[: -rng.randint(5, 40)], hang_up_after_s=0.05)


_G = OddGroup.BEHAVIOUR

CLASSES = (
    OddClass("slow-body", _G, "A phone on a bad line: slow, but whole within 2 s.", ("2xx", "408"), _slow_body),
    OddClass(
        "unfinished-headers",
        _G,
        "Headers that never end must not hold a connection for ever.",
        ("408", "400", "closed"),
        _unfinished_headers,
    ),
    OddClass(
        "gone-mid-stream",
        _G,
        "The user closed the page: the slot must come free.",
        ("cancelled", "2xx"),
        _gone_mid_stream,
    ),
    OddClass("gone-at-once", _G, "The client left before the first token.", ("cancelled", "2xx"), _gone_at_once),
    OddClass(
        "gone-mid-body",
        _G,
        "The connection ends inside the body.",
        ("cancelled", "400", "408", "closed"),
        _gone_mid_body,
    ),
)
