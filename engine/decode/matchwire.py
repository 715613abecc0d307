"""What the decode process and the constraint process say to each other, over one socket a constraint.

A request: a length and a Constraint in MessagePack, then single tokens. Each is answered by a state and a body.
"""

from __future__ import annotations

import socket
import struct
from enum import IntEnum

import msgspec

TOKEN = struct.Struct("<i")
_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<BI")


class State(IntEnum):
    """What an answer says. The body of ALLOWED is a bit for each token, lowest first; that of ERROR a text."""

    ALLOWED = 0
    FINISHED = 1
    """Nothing but an end token may follow."""
    ERROR = 2


class Words(msgspec.Struct, array_like=True, frozen=True):
    """A vocabulary: each token's bytes, which of them are control tokens, which of those end an answer."""

    pieces: list[bytes]
    control: list[int]
    ends: list[int]


def send_block(peer: socket.socket, block: bytes) -> None:
    peer.sendall(_LENGTH.pack(len(block)) + block)


def read_block(peer: socket.socket) -> bytes:
    """Raises OSError when the other side is gone."""
    return read(peer, _LENGTH.unpack(read(peer, _LENGTH.size))[0])


def send_answer(peer: socket.socket, state: State, body: bytes) -> None:
    peer.sendall(_HEAD.pack(state, len(body)) + body)


def read_answer(peer: socket.socket) -> tuple[State, bytes]:
    """Raises OSError when the other side is gone, or silent for longer than the socket's timeout."""
    state, length = _HEAD.unpack(read(peer, _HEAD.size))
    return State(state), read(peer, length)


def read(peer: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes. Raises OSError as above."""
    data = bytearray()
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise ConnectionResetError("the other side has closed the connection")
        data += more
    return bytes(data)
