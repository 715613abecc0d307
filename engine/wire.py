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
    typical_p: float = 1.0
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    """Tokens that the three penalties look back on."""
    logit_bias: list[tuple[int, float]] = []
    """Added to the logits of these tokens; -inf bans one."""
    ignore_eos: bool = False
    min_tokens: int = 0
    """End tokens are banned until this many tokens were chosen; stop strings are not."""
    top_logprobs: int = -1
    """-1: none wanted; n: the chosen token's and the n likeliest."""


class Constraint(msgspec.Struct, array_like=True, frozen=True):
    """A language that the answer must be in. kind: json (any object), json_schema (text is the schema), gbnf, lark,
    regex."""

    kind: str
    text: str = ""


class Segment(msgspec.Struct, array_like=True, frozen=True):
    """A piece of a prompt: text, or ids when `tokens` is not empty, or an image. Only the scaffold, which the template
    wrote, may hold control tokens."""

    text: str
    scaffold: bool
    tokens: list[int] = []
    image: bytes = b""
    """A PNG or JPEG file whose header was checked (engine.image_file.measure)."""


class Submit(msgspec.Struct, tag="submit", array_like=True, frozen=True):
    """Command: answer this prompt. max_tokens 0: as many as fit."""

    id: int
    segments: list[Segment]
    max_tokens: int
    sampling: Sampling
    stop: list[str]
    constraint: Constraint | None = None
    key: str = ""
    """Who asks, for fairness: requests of one key share one turn."""
    priority: int = 0
    """0 (first) to 9 (background)."""
    deadline_ns: int = 0
    """Monotonic time after which the answer is of no use; 0: none."""
    adapter: str = ""
    """Name of the LoRA adapter to answer with."""
    show_control: bool = False
    """Control tokens appear in the text (some templates wrap tool calls in them); end tokens never do."""


class Cancel(msgspec.Struct, tag="cancel", array_like=True, frozen=True):
    """Command: forget this request and free what it holds. Answered by an Output that finishes it."""

    id: int


class Tokenize(msgspec.Struct, tag="tokenize", array_like=True, frozen=True):
    """Command: the tokens of these segments, answered by Tokens."""

    id: int
    segments: list[Segment]
    add_bos: bool = False


class Detokenize(msgspec.Struct, tag="detokenize", array_like=True, frozen=True):
    """Command: the bytes of these tokens, answered by Tokens."""

    id: int
    tokens: list[int]


class Embed(msgspec.Struct, tag="embed", array_like=True, frozen=True):
    """Command: the mean of the last hidden states over this text, answered by Vector. Cancel ends it early."""

    id: int
    segments: list[Segment]
    key: str = ""


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
    n_embd: int = 0
    adapters: list[str] = []
    """Names of the LoRA adapters that are loaded."""
    prefix_sharing: bool = False
    """Whether sequences can reuse each other's prompts (models with recurrent state cannot)."""
    images: bool = False
    """Whether a projector is loaded."""
    digest: str = ""
    """Of the model's file (engine.fingerprint.digest_of)."""


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
    cached_tokens: int = 0
    """Prompt tokens that were found in the cache."""


class TokenLogprob(msgspec.Struct, array_like=True, frozen=True):
    """One token's text bytes and natural logarithm of its probability, with the likeliest beside it."""

    token: bytes
    logprob: float
    top: list[tuple[bytes, float]]


class Output(msgspec.Struct, array_like=True, frozen=True):
    """What one step brought to one request. finish is "" while it runs; then stop, length, cancelled, error, refused or
    deadline."""

    id: int
    text: str
    tokens: int
    finish: str = ""
    error: str = ""
    logprobs: list[TokenLogprob] | None = None
    prompt_tokens: int = 0


class Tokens(msgspec.Struct, tag="tokens", array_like=True, frozen=True):
    """Frame: answers Tokenize and Detokenize; `pieces` are the bytes of each token."""

    id: int
    tokens: list[int]
    pieces: list[bytes]
    error: str = ""


class Vector(msgspec.Struct, tag="vector", array_like=True, frozen=True):
    """Frame: answers Embed. values: little-endian float32, n_embd of them, of length 1."""

    id: int
    values: bytes
    prompt_tokens: int
    error: str = ""


class Step(msgspec.Struct, tag="step", array_like=True, frozen=True):
    """Frame: everything that one step brought; empty ones are heartbeats, at least four a second when idle."""

    t_ns: int
    admitted: list[Admitted]
    outputs: list[Output]
    running: int
    waiting: int
    kv_cells: int
    """Cells that running sequences hold."""
    decode_s: float
    """Time spent in llama_decode in this step."""
    step_s: float
    """Time of the whole step."""
    sample_s: float = 0.0
    """Time spent in llama.cpp's samplers; step_s - decode_s - sample_s is Python's."""
    kv_cached: int = 0
    """Cells that only the prefix cache holds; they are given up when a sequence needs them."""
    preempted: int = 0
    """Sequences sent back to the queue in this step."""


Command = Submit | Cancel | Tokenize | Detokenize | Embed
Frame = Hello | Fatal | Step | Tokens | Vector

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
