"""Constrained output: at each step, which tokens keep the answer in a language.

llguidance does the matching, in processes of its own, one a constraint (see matching.py): llama.cpp's grammar code ends
the process on malformed grammars, and llguidance on a few. A child also computes what may follow a token while
llama_decode runs, so that `ban` rarely waits.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from engine.decode.matchwire import TOKEN, State, Words, read_answer, send_block
from engine.decode.vocabulary import Vocabulary
from engine.errors import ConstraintError
from engine.wire import Constraint

MAX_TEXT_BYTES = 64 * 1024
"""A longer schema or grammar is refused."""
_START_S, _COMPILE_S, _STEP_S = 30.0, 5.0, 1.0
"""How long to wait for the other side. Its own bounds, on computing time, are lower; between two
waits the loop sends a beat."""
_ROOT = Path(__file__).resolve().parents[2]
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1, bitorder="little")
_LIMITS = np.where(_BITS == 1, np.float32(np.inf), np.float32(-np.inf)).astype(np.float32)
"""(256, 8): what eight bits of a mask allow their logits to be at most. A look-up costs 30 us for 128k tokens whatever
the mask; indexing by a random one 800."""


class Constraints:
    """Compiles constraints for one vocabulary; the first one starts the constraint process.

    `compile` and `close` may be called from any thread.
    """

    def __init__(self, vocab: Vocabulary) -> None:
        self._vocab = vocab
        self._starter: _Starter | None = None
        self._lock = threading.Lock()

    def compile(self, constraint: Constraint) -> Matcher:
        """What tells the tokens that the constraint allows. Close it.

        Raises ConstraintError when the text is malformed, unsupported, too large, too complex, or allows no answer.
        """
        try:
            size = len(constraint.text.encode())
        except UnicodeEncodeError:
            raise ConstraintError("the constraint holds half of a surrogate pair, which is no character") from None
        if size > MAX_TEXT_BYTES:
            raise ConstraintError(f"the constraint has {size} bytes, and {MAX_TEXT_BYTES} are allowed")
        matcher = Matcher(self._child(), self._vocab)
        try:
            matcher.begin(constraint)
        except ConstraintError:
            matcher.close()
            raise
        return matcher

    def close(self) -> None:
        """End the constraint process; matchers that exist live on."""
        with self._lock:
            starter, self._starter = self._starter, None
        if starter is not None:
            starter.close()

    def _child(self) -> socket.socket:
        """The connection to a new child of the constraint process."""
        with self._lock:
            for _attempt in range(2):
                if self._starter is None:
                    self._starter = _Starter(self._vocab)
                try:
                    return self._starter.child()
                except OSError:  # somebody killed it: start another
                    self._starter.close()
                    self._starter = None
        raise ConstraintError("the constraint process has died twice: see the engine's log")


class _Starter:
    """The constraint process, which forks children."""

    def __init__(self, vocab: Vocabulary) -> None:
        if not vocab.ends:
            raise ConstraintError("this model has no end token, so its answers cannot be constrained")
        ours, theirs = socket.socketpair()
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(_ROOT), environment.get("PYTHONPATH", "")) if p)
        with theirs:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "engine.decode.matching", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=environment,
                )
            except OSError as error:
                ours.close()
                raise ConstraintError(f"the constraint process cannot be started: {error.strerror}") from error
        self._control = ours
        self.close = weakref.finalize(self, _end, ours, process)
        try:
            ours.settimeout(_START_S)
            send_block(ours, msgspec.msgpack.encode(_words(vocab)))
            ready = ours.recv(1)
        except OSError:
            ready = b""
        if not ready:
            self.close()
            raise ConstraintError("the constraint process did not start: see the engine's log")

    def child(self) -> socket.socket:
        """The connection to a new child. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"f"], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        return ours


def _end(control: socket.socket, process: subprocess.Popen[bytes]) -> None:
    control.close()
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _words(vocab: Vocabulary) -> Words:
    """Every token's bytes. A control token stands for no text, so a grammar can only call it by its name."""
    pieces = [vocab.piece(token) for token in range(vocab.size)]
    control = [token for token in range(vocab.size) if not pieces[token]]
    for token in control:
        pieces[token] = vocab.text(token).encode()
    return Words(pieces, control, sorted(vocab.ends))


class Matcher:
    """Where one answer stands in its language. Use it from one thread at a time, and close it.

    Every method but `close` raises ConstraintError when matching has failed, which ends this request only.
    """

    def __init__(self, peer: socket.socket, vocab: Vocabulary) -> None:
        self._peer = peer
        self._size = vocab.size
        self._ends = vocab.end_tokens
        self._state = State.ALLOWED
        self._mask = b""
        self._due = False
        """Whether an answer is under way."""
        self._error = ""
        self._close = weakref.finalize(self, peer.close)

    def begin(self, constraint: Constraint) -> None:
        """Have the constraint compiled. Called once, first."""
        self._peer.settimeout(_COMPILE_S)
        self._send(msgspec.msgpack.encode(constraint), block=True)
        self._wait()
        self._peer.settimeout(_STEP_S)

    @property
    def finished(self) -> bool:
        """Nothing but an end token may follow. Waits for what the last `accept` came to."""
        self._wait()
        return self._state is State.FINISHED

    def ban(self, logits: npt.NDArray[np.float32]) -> None:
        """Write -inf into `logits` (vocabulary,) for each token that the language does not allow now.

        End tokens are allowed exactly where the answer may end.
        """
        self._wait()
        if self._state is State.FINISHED:
            ends = logits[self._ends]
            logits.fill(-np.inf)
            logits[self._ends] = ends
        else:
            limits = _LIMITS.take(np.frombuffer(self._mask, np.uint8), axis=0)
            np.minimum(logits, limits.reshape(-1)[: self._size], out=logits)

    def accept(self, token: int) -> None:
        """Move on by a token that `ban` has left. Does not wait for what comes of it."""
        self._wait()
        self._send(TOKEN.pack(token))

    def close(self) -> None:
        """End the child; a matcher that is garbage does so too."""
        self._close()

    def _send(self, data: bytes, *, block: bool = False) -> None:
        try:
            if block:
                send_block(self._peer, data)
            else:
                self._peer.sendall(data)
        except OSError:
            self._fail()
        self._due = True

    def _wait(self) -> None:
        """Take the child's answer, if one is due."""
        if self._error:
            raise ConstraintError(self._error)
        if self._due:
            try:
                self._state, self._mask = read_answer(self._peer)
            except OSError:
                self._fail()
            if self._state is State.ERROR:
                self._fail(self._mask.decode("utf-8", "replace"))
            self._due = False

    def _fail(self, why: str = "") -> NoReturn:
        self._error = why or "the constraint is too complex: use fewer alternatives, smaller bounds, less nesting"
        raise ConstraintError(self._error)
