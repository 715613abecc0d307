"""Constrained output: at each step, which tokens keep the answer in a language.

llguidance does the matching. It runs in processes of its own, one a constraint (see matching.py): llama.cpp's grammar
code ends the process on malformed grammars, and llguidance on some well-formed ones. A child computes what may follow a
token while llama_decode runs, so that `ban` rarely waits.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from engine.decode.matching import HEAD, LENGTH, TOKEN, State, Words
from engine.decode.vocabulary import Vocabulary
from engine.errors import ConstraintError
from engine.wire import Constraint

MAX_TEXT_BYTES = 64 * 1024
"""A longer schema or grammar is refused."""
_START_S, _COMPILE_S, _STEP_S = 30.0, 5.0, 1.0
"""How long to wait for the other side. Its own bounds are on computing time, and much lower."""
_ROOT = Path(__file__).resolve().parents[2]
_HEAVY = "the constraint is too complex: simplify it (fewer alternatives, smaller bounds, less nesting)"


class Constraints:
    """Compiles constraints for one vocabulary; the first one starts the constraint process.

    `compile` may be called from any thread.
    """

    def __init__(self, vocab: Vocabulary) -> None:
        self._vocab = vocab
        self._starter: _Starter | None = None
        self._lock = threading.Lock()

    def compile(self, constraint: Constraint) -> Matcher:
        """What tells the tokens that the constraint allows. Close it.

        Raises ConstraintError when the text is malformed, unsupported, too large, too complex, or fits no answer.
        """
        try:
            size = len(constraint.text.encode())
        except UnicodeEncodeError:
            raise ConstraintError("the constraint holds half a surrogate pair, which is no character") from None
        if size > MAX_TEXT_BYTES:
            raise ConstraintError(f"the constraint has {size} bytes, and {MAX_TEXT_BYTES} are allowed")
        peer = self._child()
        try:
            block = msgspec.msgpack.encode(constraint)
            peer.settimeout(_COMPILE_S)
            peer.sendall(LENGTH.pack(len(block)) + block)
            matcher = Matcher(peer, self._vocab)
            matcher.wait()
            peer.settimeout(_STEP_S)
        except BaseException:
            peer.close()
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
        raise ConstraintError("the constraint process has died: try again")


class _Starter:
    """The constraint process, which forks children."""

    def __init__(self, vocab: Vocabulary) -> None:
        if not vocab.ends:
            raise ConstraintError("this model has no end token, so its answers cannot be constrained")
        ours, theirs = socket.socketpair()
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(_ROOT), environment.get("PYTHONPATH", "")) if p)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "engine.decode.matching", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=environment,
            )
        self._socket = ours
        self.close = weakref.finalize(self, _end, ours, process)
        block = msgspec.msgpack.encode(_words(vocab))
        try:
            ours.settimeout(_START_S)
            ours.sendall(LENGTH.pack(len(block)) + block)
            ready = ours.recv(1)
        except OSError:
            ready = b""
        if not ready:
            self.close()
            raise ConstraintError("the constraint process did not start; the engine's log says why")

    def child(self) -> socket.socket:
        """The connection to a new child. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._socket, [b"f"], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        return ours


def _end(peer: socket.socket, process: subprocess.Popen[bytes]) -> None:
    peer.close()
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
    """Where one answer stands in its language. Use it from one thread, and close it."""

    def __init__(self, peer: socket.socket, vocab: Vocabulary) -> None:
        self._peer = peer
        self._size = vocab.size
        self._ends = vocab.end_tokens
        self._state = State.ERROR
        self._banned: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._pending = True
        self.close = weakref.finalize(self, peer.close)

    @property
    def finished(self) -> bool:
        """Nothing but an end token may follow. Waits for what the last `accept` came to; raises ConstraintError."""
        self.wait()
        return self._state is State.FINISHED

    def ban(self, logits: npt.NDArray[np.float32]) -> None:
        """Write -inf into `logits` (vocabulary,) for each token that the language does not allow now.

        End tokens are allowed exactly where the answer may end. Raises ConstraintError when matching failed.
        """
        self.wait()
        if self._state is State.FINISHED:
            ends = logits[self._ends]
            logits.fill(-np.inf)
            logits[self._ends] = ends
        else:
            np.copyto(logits, -np.inf, where=self._banned)

    def accept(self, token: int) -> None:
        """Move on by a token that `ban` left; does not wait for what comes of it. Raises ConstraintError."""
        self.wait()
        self._pending = True
        try:
            self._peer.sendall(TOKEN.pack(token))
        except OSError:
            raise ConstraintError(_HEAVY) from None

    def wait(self) -> None:
        """Take the child's answer, if one is due. Raises ConstraintError when there is none, or it is an error."""
        if not self._pending:
            return
        state, length = HEAD.unpack(self._read(HEAD.size))
        body = self._read(length)
        if state == State.ERROR:
            raise ConstraintError(bytes(body).decode("utf-8", "replace"))
        self._state = State(state)
        if self._state is State.ALLOWED:
            bits = np.unpackbits(~np.frombuffer(body, np.uint8), count=self._size, bitorder="little")
            self._banned = bits.view(np.bool_)
        self._pending = False

    def _read(self, size: int) -> bytearray:
        data = bytearray()
        try:
            while len(data) < size:
                more = self._peer.recv(size - len(data))
                if not more:
                    raise ConstraintError(_HEAVY)
                data += more
        except OSError:
            raise ConstraintError(_HEAVY) from None
        return data
