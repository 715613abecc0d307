"""The constraint process: `python -m engine.decode.matching FD`, started by engine.decode.constraint only.

It takes a vocabulary, then forks one child for each constraint. A grammar can make the matching library overflow its
stack, compute for minutes or take all memory: that ends one child, and with it one request.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import signal
import socket
import sys
from typing import Any, NoReturn

import msgspec
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper, regex_to_lark

from engine.decode.gbnf import to_lark
from engine.decode.matchwire import TOKEN, State, Words, read, read_block, send_answer
from engine.json_schema import check_schema
from engine.wire import Constraint

COMPILE_CPU_S = 1.0
"""A constraint that takes more to prepare is refused. Typical is a millisecond."""
STEP_CPU_S = 0.25
"""A constraint that takes more for one token ends its request. Typical is a tenth of a millisecond."""
MEMORY_BYTES = 256 * 1024 * 1024
"""Address space that one constraint may take (on Linux)."""
_WHITESPACE = r" |\n[ \t]{0,20}"
"""What may stand once between two parts of JSON: a model that emits blanks for ever would never close its object."""
_ECHO = re.compile(r"\n *[0-9]+ \| |\n<")
"""Where a message goes on with the lines of the grammar or with the matcher's state."""
_PLACE = re.compile(r"^at [0-9]+\([0-9]+\): (failed to compile JSON schema: )?")


class _Vocabulary(TokenizerWrapper):
    """A vocabulary in the shape in which LLTokenizer takes one; no text need be cut into tokens."""

    is_tokenizer_wrapper = True

    def __init__(self, words: Words) -> None:
        self.bos_token_id = None
        self.tokens = words.pieces
        self.special_token_ids = words.control
        self.eos_token_id = words.ends[0]


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
        raise ValueError(f"the schema is not JSON that can be used: {error}") from error
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        raise ValueError("the schema is not a JSON object")
    check_schema(schema)
    return schema


def _json_rule(schema: dict[str, Any]) -> str:
    # Our own options last: a request must not choose how its schema is compiled.
    options = {"whitespace_pattern": _WHITESPACE, "lenient": False}
    return "start: %json " + json.dumps({**schema, "x-guidance": options}, ensure_ascii=False)


class _Matching:
    """Where one answer stands in its language."""

    def __init__(self, tokenizer: LLTokenizer, constraint: Constraint, ends: list[int]) -> None:
        limits = LLParserLimits(verbose_errors=False)
        self._matcher = LLMatcher(tokenizer, grammar(constraint), log_level=0, limits=limits)
        self._has_places = constraint.kind == "lark"
        self._ends = sum(1 << token for token in ends)

    def take(self, token: int) -> None:
        """Move on by one token; what came of it is in `answer`."""
        self._matcher.consume_token(token)

    def answer(self) -> tuple[State, bytes]:
        """What may follow now."""
        stopped = self._matcher.is_stopped()
        mask = b"" if stopped else self._matcher.compute_bitmask()
        if problem := self._matcher.get_error():
            return State.ERROR, self._plain(problem).encode()
        if stopped:
            return State.FINISHED, b""
        allowed = int.from_bytes(mask, "little")
        if not allowed:
            return State.ERROR, b"the constraint cannot go on: no token of this model fits"
        if not allowed & ~self._ends and self._matcher.is_accepting():
            return State.FINISHED, b""
        return State.ALLOWED, mask

    def _plain(self, problem: str) -> str:
        """The library's message without its internals, and without places in a text that the client did not write."""
        text = _ECHO.split(problem, maxsplit=1)[0].strip()
        if text.startswith("panic:"):
            return "the constraint uses something that is not supported"
        if "NoExtension" in text:
            return "the constraint allows no answer"
        return text[:500] if self._has_places else _PLACE.sub("", text)[:500]


def _serve(peer: socket.socket, tokenizer: LLTokenizer, ends: list[int]) -> None:
    """One constraint, from its text to the last token. Raises OSError when the other side is gone."""
    constraint = msgspec.msgpack.decode(read_block(peer), type=Constraint)
    _limit_cpu(COMPILE_CPU_S)
    try:
        matching = _Matching(tokenizer, constraint, ends)
    except ValueError as error:
        send_answer(peer, State.ERROR, str(error)[:500].encode("utf-8", "replace"))
        return
    send_answer(peer, *matching.answer())
    while True:
        (token,) = TOKEN.unpack(read(peer, TOKEN.size))
        _limit_cpu(STEP_CPU_S)
        matching.take(token)
        send_answer(peer, *matching.answer())


def _limit_cpu(seconds: float) -> None:
    """SIGPROF ends this process when it has computed for so long; waiting does not count."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory() -> None:
    """Of this process and the children to come; and no core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _fork(control: socket.socket, peer: socket.socket, tokenizer: LLTokenizer, ends: list[int]) -> None:
    """A child that serves `peer`. Returns in the parent only."""
    try:
        child = os.fork()
    except OSError as error:
        send_answer(peer, State.ERROR, f"no process can be started for the constraint: {error.strerror}".encode())
        return
    if child:
        return
    try:
        control.close()
        # The library writes to stderr when it panics, and so would Python: with pieces of the request.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _serve(peer, tokenizer, ends)
    finally:
        os._exit(0)


def main() -> NoReturn:
    # The decode process decides when to stop; a Ctrl-C of the terminal reaches this one as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    with socket.socket(fileno=int(sys.argv[1])) as control:
        words = msgspec.msgpack.decode(read_block(control), type=Words)
        tokenizer = LLTokenizer(_Vocabulary(words), eos_token=words.ends)
        ends = words.ends
        del words
        _limit_memory()
        gc.freeze()  # else the first collection in a child copies every page
        control.sendall(b"r")
        while True:
            data, descriptors, _flags, _address = socket.recv_fds(control, 1, 1)
            if not data:
                os._exit(0)
            for descriptor in descriptors:
                with socket.socket(fileno=descriptor) as peer:
                    _fork(control, peer, tokenizer, ends)


if __name__ == "__main__":
    main()
