"""Threads that turn requests into tokens and constraints, so that a long prompt never delays a running stream.

llama_tokenize releases the interpreter lock and is thread-safe; the rendering in Python has been done elsewhere. What
may take long to compile, a constraint, has a thread of its own.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine import wire
from engine.decode.constraint import Constraints, Matcher
from engine.decode.llama import Llama
from engine.decode.sampler import check_sampling
from engine.errors import ConstraintError, DecodeError

Job = wire.Submit | wire.Embed | wire.Tokenize | wire.Detokenize


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request with its prompt's tokens and its constraint, compiled; `error` says why there are none."""

    request: wire.Submit | wire.Embed
    tokens: list[int]
    matcher: Matcher | None = None
    error: str = ""


class Preparer:
    """Takes jobs with `put`, calls `wake` when one is ready to `take`."""

    def __init__(self, llama: Llama, wake: Callable[[], None]) -> None:
        self._vocab = llama.vocab
        self._ctx = llama.ctx
        self._adapters = frozenset(llama.model.adapters)
        self._constraints = Constraints(llama.vocab)
        self._wake = wake
        self._ready: deque[tuple[int, Prepared | wire.Tokens | wire.Vector]] = deque()
        self._pending: set[int] = set()
        self._cancelled: set[int] = set()
        self._plain: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._constrained: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True)
            for name, inbox in (("tokenizer", self._plain), ("constraints", self._constrained))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pending(self) -> int:
        """Jobs put and not yet taken."""
        return len(self._pending)

    def put(self, job: Job) -> None:
        self._pending.add(job.id)
        constrained = isinstance(job, wire.Submit) and job.constraint is not None
        (self._constrained if constrained else self._plain).put(job)

    def cancel(self, id: int) -> bool:
        """Drop a job that was not taken yet; False when it is not here."""
        if id not in self._pending:
            return False
        self._cancelled.add(id)
        return True

    def take(self) -> list[Prepared | wire.Tokens | wire.Vector]:
        """What is ready by now, in the order in which it became so."""
        taken = []
        while self._ready:
            id, done = self._ready.popleft()
            self._pending.discard(id)
            if id in self._cancelled:
                self._cancelled.discard(id)
            else:
                taken.append(done)
        return taken

    def close(self) -> None:
        for inbox in (self._plain, self._constrained):
            inbox.put(None)
        for thread in self._threads:
            thread.join(timeout=1.0)
        self._constraints.close()

    def _work(self, inbox: queue.SimpleQueue[Job | None]) -> None:
        while (job := inbox.get()) is not None:
            self._ready.append((job.id, self._prepare(job)))
            self._wake()

    def _prepare(self, job: Job) -> Prepared | wire.Tokens | wire.Vector:
        try:
            if isinstance(job, wire.Detokenize):
                return wire.Tokens(job.id, job.tokens, [self._vocab.piece(token, control=True) for token in job.tokens])
            if isinstance(job, wire.Tokenize):
                tokens = self._tokens(job.segments, add_bos=job.add_bos and self._vocab.adds_bos)
                return wire.Tokens(job.id, tokens, [self._vocab.piece(token, control=True) for token in tokens])
            return self._request(job)
        except (DecodeError, ConstraintError) as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to this job, and the thread lives on
            problem = f"the text could not be tokenised: {type(error).__name__}"
        if isinstance(job, wire.Tokenize | wire.Detokenize):
            return wire.Tokens(job.id, [], [], error=problem)
        if isinstance(job, wire.Embed):
            return wire.Vector(job.id, b"", 0, error=problem)
        return Prepared(job, [], error=problem)

    def _request(self, job: wire.Submit | wire.Embed) -> Prepared | wire.Vector:
        if job.id in self._cancelled:
            return Prepared(job, [], error="cancelled")
        tokens = self._tokens(job.segments, add_bos=self._vocab.adds_bos)
        if not tokens:
            raise DecodeError("the prompt is empty")
        if isinstance(job, wire.Embed):
            if len(tokens) > self._ctx:
                raise DecodeError(f"the text has {len(tokens)} tokens, and {self._ctx} fit: shorten it")
            return Prepared(job, tokens)
        if job.adapter and job.adapter not in self._adapters:
            raise DecodeError(f"there is no LoRA adapter {job.adapter[:100]!r}")
        check_sampling(job.sampling, self._vocab)
        return Prepared(job, tokens, self._constraints.compile(job.constraint) if job.constraint else None)

    def _tokens(self, segments: Sequence[wire.Segment], *, add_bos: bool) -> list[int]:
        tokens: list[int] = []
        for segment in segments:
            if segment.tokens:
                tokens += [self._vocab.known(token) for token in segment.tokens]
            else:
                tokens += self._vocab.tokenize(segment.text, special=segment.scaffold)
        if add_bos and tokens[:1] != [self._vocab.bos]:
            tokens.insert(0, self._vocab.bos)
        return tokens
