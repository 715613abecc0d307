"""Threads that turn requests into tokens and constraints, so that a long prompt never delays a running stream.

llama_tokenize releases the interpreter lock and is thread-safe; the rendering in Python has been done elsewhere. What
may take long has threads of its own: constraints to compile, images to encode.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from engine import wire
from engine.decode.constraint import Constraints, Matcher
from engine.decode.llama import Llama
from engine.decode.prompt import Prompt, Prompts
from engine.decode.sampler import check_sampling
from engine.errors import ConstraintError, DecodeError
from engine.image_file import ImageError
from engine.process import yield_to_others

Job = wire.Submit | wire.Embed | wire.Tokenize | wire.Detokenize


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request with its prompt and its constraint, compiled; `error` says why there are none."""

    request: wire.Submit | wire.Embed
    prompt: Prompt
    matcher: Matcher | None = None
    error: str = ""


class Preparer:
    """Takes jobs with `put`, calls `wake` when one is ready to `take`."""

    def __init__(self, llama: Llama, wake: Callable[[], None]) -> None:
        self._vocab = llama.vocab
        self._ctx = llama.ctx
        self._adapters = frozenset(llama.model.adapters)
        self._prompts = Prompts(llama.vocab, llama.projector, llama.ctx)
        self._constraints = Constraints(llama.vocab)
        self._wake = wake
        self._ready: deque[tuple[int, Prepared | wire.Tokens | wire.Vector | None]] = deque()
        self._pending: set[int] = set()
        self._cancelled: set[int] = set()
        self._jobs: dict[int, Job] = {}
        """Not begun: a job that is cancelled is forgotten at once, with all that it carries."""
        self._plain: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._constrained: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._pictured: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        inboxes = {"tokenizer": self._plain, "constraints": self._constrained, "images": self._pictured}
        self._threads = [
            threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True)
            for name, inbox in inboxes.items()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def ids(self) -> set[int]:
        """Of the jobs put and not yet taken."""
        return self._pending

    @property
    def pending(self) -> int:
        """How many those are."""
        return len(self._pending)

    def put(self, job: Job) -> None:
        self._pending.add(job.id)
        self._jobs[job.id] = job
        if isinstance(job, wire.Submit) and any(segment.image for segment in job.segments):
            self._pictured.put(job.id)
        elif isinstance(job, wire.Submit) and job.constraint is not None:
            self._constrained.put(job.id)
        else:
            self._plain.put(job.id)

    def cancel(self, id: int) -> bool:
        """Drop a job that was not taken yet; False when it is not here."""
        if id not in self._pending or id in self._cancelled:
            return False
        self._cancelled.add(id)
        self._jobs.pop(id, None)
        return True

    def take(self) -> list[Prepared | wire.Tokens | wire.Vector]:
        """What is ready by now, in the order in which it became so."""
        taken = []
        while self._ready:
            id, done = self._ready.popleft()
            self._pending.discard(id)
            if id in self._cancelled:
                self._cancelled.discard(id)
            elif done is not None:
                taken.append(done)
        return taken

    def close(self) -> None:
        for inbox in (self._plain, self._constrained, self._pictured):
            inbox.put(None)
        for thread in self._threads:
            thread.join(timeout=1.0)
        self._constraints.close()

    def _work(self, inbox: queue.SimpleQueue[int | None]) -> None:
        if inbox is self._pictured:
            yield_to_others()
        while (id := inbox.get()) is not None:
            job = self._jobs.pop(id, None)
            self._ready.append((id, None if job is None else self._prepare(job)))
            self._wake()

    def _prepare(self, job: Job) -> Prepared | wire.Tokens | wire.Vector:
        try:
            if isinstance(job, wire.Detokenize):
                return wire.Tokens(job.id, job.tokens, self._pieces(job.tokens))
            if isinstance(job, wire.Tokenize):
                tokens = self._prompt(job, add_bos=job.add_bos and self._vocab.adds_bos).tokens
                return wire.Tokens(job.id, tokens, self._pieces(tokens))
            return self._request(job)
        except (DecodeError, ConstraintError, ImageError) as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to this job, and the thread lives on
            problem = f"the prompt could not be read: {type(error).__name__}"
        if isinstance(job, wire.Tokenize | wire.Detokenize):
            return wire.Tokens(job.id, [], [], error=problem)
        if isinstance(job, wire.Embed):
            return wire.Vector(job.id, b"", 0, error=problem)
        return Prepared(job, Prompt([]), error=problem)

    def _pieces(self, tokens: list[int]) -> list[bytes]:
        pieces = [self._vocab.piece(token, control=True) for token in tokens]
        if sum(map(len, pieces)) + 16 * len(pieces) > wire.MAX_MESSAGE_BYTES // 2:
            raise DecodeError("these tokens stand for too much text: send fewer")
        return pieces

    def _request(self, job: wire.Submit | wire.Embed) -> Prepared | wire.Vector:
        if job.id in self._cancelled:
            return Prepared(job, Prompt([]), error="cancelled")
        prompt = self._prompt(job, add_bos=self._vocab.adds_bos)
        count = len(prompt.tokens)
        if not count:
            raise DecodeError("the prompt is empty")
        if isinstance(job, wire.Embed):
            if count > self._ctx:
                raise DecodeError(f"the text has {count} tokens, and {self._ctx} fit: shorten it")
            return Prepared(job, prompt)
        if job.adapter and job.adapter not in self._adapters:
            raise DecodeError(f"there is no LoRA adapter {job.adapter[:100]!r}")
        check_sampling(job.sampling, self._vocab)
        job = msgspec.structs.replace(job, segments=[])  # files of images are large, and the prompt is made
        return Prepared(job, prompt, self._constraints.compile(job.constraint) if job.constraint else None)

    def _prompt(self, job: wire.Submit | wire.Embed | wire.Tokenize, *, add_bos: bool) -> Prompt:
        if not isinstance(job, wire.Submit) and any(segment.image for segment in job.segments):
            raise DecodeError("images have no tokens of the vocabulary: leave them out")
        return self._prompts.make(job.segments, add_bos=add_bos, wanted=lambda: job.id not in self._cancelled)
