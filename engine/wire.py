"""What the API process and the decode process say to each other: length-prefixed MessagePack over one socket.

The API process sends commands, the decode process sends frames; a closed socket means that the other side is gone.
"""

from __future__ import annotations

import struct

import msgspec

_LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class Sampling(msgspec.Struct, array_like=True, frozen=True):
    """How the next token is chosen. temperature 0 takes the likeliest."""

    temperature: float = 1.0
    top_k: int = 40
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    ignore_eos: bool = False
    top_logprobs: int = -1
    """-1: none wanted; n: the chosen token's and the n likeliest."""


class Segment(msgspec.Struct, array_like=True, frozen=True):
    """A piece of a prompt. Only the scaffold, which the template wrote, may hold control tokens."""

    text: str
    scaffold: bool


class Submit(msgspec.Struct, tag="submit", array_like=True, frozen=True):
    """Command: answer this prompt. max_tokens 0: as many as fit."""

    id: int
    segments: list[Segment]
    max_tokens: int
    sampling: Sampling
    stop: list[str]


class Cancel(msgspec.Struct, tag="cancel", array_like=True, frozen=True):
    """Command: forget this request and free what it holds."""

    id: int


class ModelFacts(msgspec.Struct, frozen=True):
    """What the API process needs to know of the loaded model."""

    description: str
    n_params: int
    size_bytes: int
    quantisation: str
    n_vocab: int
    ctx: int
    ctx_train: int
    slots: int
    device: str
    gpu_layers: int
    longest_token_bytes: int
    chat_template: str
    bos: str
    eos: str
    build: str


class Hello(msgspec.Struct, tag="hello", array_like=True, frozen=True):
    """Frame: the model is loaded. slowest_step_s: how long the largest step took, to tell a slow model from a hang."""

    facts: ModelFacts
    pid: int
    slowest_step_s: float


class Fatal(msgspec.Struct, tag="fatal", array_like=True, frozen=True):
    """Frame: the decode process ends itself, and why."""

    message: str


class Admitted(msgspec.Struct, array_like=True, frozen=True):
    """A request got a slot at t_ns (monotonic)."""

    id: int
    t_ns: int
    prompt_tokens: int


class TokenLogprob(msgspec.Struct, array_like=True, frozen=True):
    """One token's text bytes and natural logarithm of its probability, with the likeliest beside it."""

    token: bytes
    logprob: float
    top: list[tuple[bytes, float]]


class Output(msgspec.Struct, array_like=True, frozen=True):
    """What one step brought to one request. finish: "" while it runs; stop, length, cancelled, error, refused."""

    id: int
    text: str
    tokens: int
    finish: str = ""
    error: str = ""
    logprobs: list[TokenLogprob] | None = None
    prompt_tokens: int = 0


class Step(msgspec.Struct, tag="step", array_like=True, frozen=True):
    """Frame: everything that one step brought; empty ones are heartbeats, at least four a second when idle."""

    t_ns: int
    admitted: list[Admitted]
    outputs: list[Output]
    running: int
    waiting: int
    kv_cells: int
    decode_s: float
    """Time spent in llama_decode in this step."""
    step_s: float
    """Time of the whole step; the difference is Python's and the sampler's."""


Command = Submit | Cancel
Frame = Hello | Fatal | Step

_encoder = msgspec.msgpack.Encoder()
command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
frame_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def pack(message: Command | Frame) -> bytes:
    """Length prefix and body."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Cuts a byte stream into message bodies, whatever pieces it arrives in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add received bytes; return the bodies now complete. Raises ValueError on an absurd length."""
        buffer = self._buffer
        buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_MESSAGE_BYTES:
                raise ValueError(f"a message of {length} bytes: the stream is out of step")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[start + _LENGTH.size : end]))
            start = end
        del buffer[:start]
        return bodies
