"""The constraint process: `python -m engine.decode.matching FD`, started by engine.decode.constraint only.

It takes a vocabulary, then forks one child for each constraint. A grammar can make the matching library overflow its
stack, run for minutes or take all memory: that ends one child, and with it one request.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import struct
import sys
from enum import IntEnum
from typing import Any, NoReturn

import msgspec
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, regex_to_lark

from engine.decode.gbnf import to_lark
from engine.wire import Constraint

COMPILE_CPU_S = 1.0
"""A constraint that takes more to prepare is refused."""
STEP_CPU_S = 0.25
"""A constraint that takes more for one token ends its request. Typical is a tenth of a millisecond."""
MEMORY_BYTES = 256 * 1024 * 1024
"""Address space that one constraint may take (on Linux)."""
_WHITESPACE = r" |\n[ \t]{0,20}"
"""What may stand once between two parts of JSON: a model that emits blanks for ever would never close its object."""

HEAD = struct.Struct("<BI")
"""Before each answer: its State and the length of what follows."""
TOKEN = struct.Struct("<i")
LENGTH = struct.Struct("<I")


class State(IntEnum):
    """What an answer says. ALLOWED is followed by a bit for each token, lowest first; ERROR by a text."""

    ALLOWED = 0
    FINISHED = 1
    ERROR = 2


class Words(msgspec.Struct, array_like=True, frozen=True):
    """The vocabulary: each token's bytes, which of them are control tokens, which of those end an answer."""

    pieces: list[bytes]
    control: list[int]
    ends: list[int]


class _Wrapper:
    """A vocabulary in the shape in which LLTokenizer takes one."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, words: Words) -> None:
        self.tokens = words.pieces
        self.special_token_ids = words.control
        self.eos_token_id = words.ends[0]

    def __call__(self, _text: str) -> list[int]:
        # Only asked for to force one way of cutting a text into tokens, and every grammar here has no_forcing.
        raise NotImplementedError


def grammar(constraint: Constraint) -> str:
    """The constraint in llguidance's dialect of Lark. Raises ValueError."""
    if constraint.kind == "json":
        text = _json_rule({"type": "object"})
    elif constraint.kind == "json_schema":
        text = _json_rule(_schema(constraint.text))
    elif constraint.kind == "gbnf":
        text = to_lark(constraint.text)
    elif constraint.kind == "regex":
        text = f"start: /{regex_to_lark(constraint.text)}/"
    elif constraint.kind == "lark":
        text = constraint.text
    else:
        raise ValueError(f"there is no constraint of kind {constraint.kind[:40]!r}")
    # Forcing would allow only one way of cutting a certain text into tokens: let the model choose. Last, so it counts.
    return text + '\n%llguidance {"no_forcing": true}\n'


def _schema(text: str) -> dict[str, Any]:
    try:
        schema = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"the schema is no JSON: {error}") from error
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        raise ValueError("the schema is no JSON object")
    return schema


def _json_rule(schema: dict[str, Any]) -> str:
    # Its own key last: a request must not choose how its schema is compiled.
    return "start: %json " + json.dumps(
        {**schema, "x-guidance": {"whitespace_pattern": _WHITESPACE, "lenient": False}}, ensure_ascii=False
    )


class _Matching:
    """One constraint in its own process."""

    def __init__(self, tokenizer: LLTokenizer, constraint: Constraint, ends: list[int]) -> None:
        limits = LLParserLimits(verbose_errors=False)
        self._matcher = LLMatcher(tokenizer, grammar(constraint), log_level=0, limits=limits)
        self._ends = sum(1 << token for token in ends)

    def take(self, token: int) -> None:
        """Move on by one token; what came of it is in `answer`."""
        self._matcher.consume_token(token)

    def answer(self) -> tuple[State, bytes]:
        """What may follow now."""
        if problem := self._matcher.get_error():
            return State.ERROR, _plain(problem)
        if self._matcher.is_stopped():
            return State.FINISHED, b""
        mask = self._matcher.compute_bitmask()
        if problem := self._matcher.get_error():
            return State.ERROR, _plain(problem)
        allowed = int.from_bytes(mask, "little")
        if not allowed:
            return State.ERROR, b"no token of this model can follow"
        if not allowed & ~self._ends and self._matcher.is_accepting():
            return State.FINISHED, b""
        return State.ALLOWED, mask


def _plain(problem: str) -> bytes:
    """The library's message without its internal state and its stack of calls."""
    text = problem.split("\n<", 1)[0].strip()
    if text.startswith("panic:"):
        text = "the matching library does not support it"
    elif "NoExtension" in text:
        text = "no text satisfies it"
    return text[:500].encode("utf-8", "replace")


def _serve(peer: socket.socket, tokenizer: LLTokenizer, ends: list[int]) -> None:
    """One constraint, from its text to the last token."""
    constraint = msgspec.msgpack.decode(_read_block(peer), type=Constraint)
    _limit_cpu(COMPILE_CPU_S)
    try:
        matching = _Matching(tokenizer, constraint, ends)
    except ValueError as error:
        _send(peer, State.ERROR, _plain(str(error)))
        return
    _send(peer, *matching.answer())
    while data := _read(peer, TOKEN.size):
        _limit_cpu(STEP_CPU_S)
        matching.take(TOKEN.unpack(data)[0])
        _send(peer, *matching.answer())


def _limit_cpu(seconds: float) -> None:
    """SIGPROF ends this process when it has computed for so long; waiting does not count."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory() -> None:
    """Of children still to be forked; and no core dumps of them."""
    if sys.platform != "linux":
        return
    import resource  # not there on Windows

    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _send(peer: socket.socket, state: State, body: bytes) -> None:
    peer.sendall(HEAD.pack(state, len(body)) + body)


def _read(peer: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or none when the other side is gone."""
    data = bytearray()
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            return b""
        data += more
    return bytes(data)


def _read_block(peer: socket.socket) -> bytes:
    head = _read(peer, LENGTH.size)
    return _read(peer, LENGTH.unpack(head)[0]) if head else b""


def _fork(peer: socket.socket, control: socket.socket, tokenizer: LLTokenizer, ends: list[int]) -> None:
    """A child that serves `peer`; returns in the parent only."""
    if os.fork():
        return
    status = 1
    try:
        control.close()
        # A panic of the library writes to stderr, with pieces of the request.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _serve(peer, tokenizer, ends)
        status = 0
    finally:
        os._exit(status)


def main() -> NoReturn:
    # The decode process decides when to stop; a Ctrl-C of the terminal reaches this one as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    with socket.socket(fileno=int(sys.argv[1])) as control:
        words = msgspec.msgpack.decode(_read_block(control), type=Words)
        tokenizer = LLTokenizer(_Wrapper(words), eos_token=words.ends)
        ends = words.ends
        del words
        _limit_memory()
        gc.freeze()  # or the first collection in a child would copy every page
        control.sendall(b"r")
        while True:
            data, descriptors, _flags, _address = socket.recv_fds(control, 1, 1)
            if not data:
                os._exit(0)
            with socket.socket(fileno=descriptors[0]) as peer:
                _fork(peer, control, tokenizer, ends)


if __name__ == "__main__":
    main()
