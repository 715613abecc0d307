"""How requests, answers and event times are packed into rows, and unpacked. Pure; numpy has its own road to the times.

A block is a zlib stream of MessagePack: compressed one by one, short texts gain nothing and cost 30 us each.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Mapping
from itertools import accumulate
from operator import sub

import msgspec

from scenarios.request import PlannedRequest

BLOCK_BYTES = 1 << 18  # of what is packed, before it is compressed
BLOCK_ROWS = 256
BASE_BYTES, STEP_BYTES = 8, 4
_LARGEST_STEP = (1 << 32) - 1
_SWAP = sys.byteorder != "little"
_NO_ENCODING_ERRORS = "surrogatepass"  # a server may say anything

_encode = msgspec.msgpack.Encoder().encode
_decode_requests = msgspec.msgpack.Decoder(tuple[PlannedRequest, ...]).decode
_decode_answers = msgspec.msgpack.Decoder(dict[int, bytes]).decode


def packed_requests(requests: list[PlannedRequest]) -> bytes:
    """A block of requests."""
    return zlib.compress(_encode(requests), 1)


def requests_in(block: bytes) -> dict[int, PlannedRequest]:
    """The requests of a block by index."""
    return {request.index: request for request in _decode_requests(zlib.decompress(block))}


def packed_answers(answers: Mapping[int, bytes]) -> bytes:
    """A block of answers, as `answer_bytes` made them."""
    return zlib.compress(_encode(answers), 1)


def answers_in(block: bytes) -> dict[int, str]:
    """The answers of a block by index."""
    found = _decode_answers(zlib.decompress(block))
    return {index: data.decode("utf-8", _NO_ENCODING_ERRORS) for index, data in found.items()}


def answer_bytes(text: str) -> bytes:
    """An answer as it is packed and hashed; lone surrogates, which no encoding has, survive."""
    return text.encode("utf-8", _NO_ENCODING_ERRORS)


def packed_times(times_ns: tuple[int, ...]) -> bytes:
    """Times as one of 8 bytes and steps of 4 (little endian), or 8 bytes each where a step does not fit."""
    steps = list(map(sub, times_ns[1:], times_ns))
    if not steps or (min(steps) >= 0 and max(steps) <= _LARGEST_STEP):
        return _bytes_of(array("q", times_ns[:1])) + _bytes_of(array("I", steps))
    return _bytes_of(array("q", times_ns))


def times_in(packed: bytes, count: int) -> tuple[int, ...]:
    """The `count` times of `packed_times`."""
    if are_steps(len(packed), count):
        (base,) = _values("q", packed[:BASE_BYTES])
        return tuple(accumulate(_values("I", packed[BASE_BYTES:]), initial=base))
    return tuple(_values("q", packed))


def are_steps(size: int, count: int) -> bool:
    """Whether `size` bytes hold `count` times as base and steps."""
    return size == BASE_BYTES + STEP_BYTES * (count - 1)


def _bytes_of(values: array[int]) -> bytes:
    if _SWAP:
        values.byteswap()
    return values.tobytes()


def _values(kind: str, data: bytes) -> array[int]:
    values = array(kind, data)
    if _SWAP:
        values.byteswap()
    return values
