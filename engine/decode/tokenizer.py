"""A thread that turns prompts into tokens, so that a long prompt never delays a running stream.

llama_tokenize releases the interpreter lock and is thread-safe; the rendering in Python has been done elsewhere.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engine.decode.vocabulary import Vocabulary
from engine.wire import Submit


@dataclass(frozen=True, slots=True)
class Tokenized:
    """A request and its prompt's tokens; `error` says why there are none."""

    request: Submit
    tokens: list[int]
    error: str = ""


class Tokenizer:
    """Takes requests with `put`, calls `wake` when one is ready to `take`."""

    def __init__(self, vocab: Vocabulary, wake: Callable[[], None]) -> None:
        self._vocab = vocab
        self._wake = wake
        self._inbox: queue.SimpleQueue[Submit | None] = queue.SimpleQueue()
        self._ready: deque[Tokenized] = deque()
        self._cancelled: set[int] = set()
        self._pending: set[int] = set()
        self._thread = threading.Thread(target=self._work, name="tokenizer", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Requests put and not yet taken."""
        return len(self._pending)

    def put(self, request: Submit) -> None:
        self._pending.add(request.id)
        self._inbox.put(request)

    def cancel(self, id: int) -> bool:
        """Drop a request that was not taken yet; False when it is not here."""
        if id not in self._pending:
            return False
        self._cancelled.add(id)
        return True

    def take(self) -> list[Tokenized]:
        """The requests ready by now, in the order they came."""
        taken: list[Tokenized] = []
        while self._ready:
            done = self._ready.popleft()
            self._pending.discard(done.request.id)
            if done.request.id in self._cancelled:
                self._cancelled.discard(done.request.id)
            else:
                taken.append(done)
        return taken

    def close(self) -> None:
        self._inbox.put(None)
        self._thread.join(timeout=1.0)

    def _work(self) -> None:
        while (request := self._inbox.get()) is not None:
            self._ready.append(self._tokenize(request))
            self._wake()

    def _tokenize(self, request: Submit) -> Tokenized:
        if request.id in self._cancelled:
            return Tokenized(request, [])
        tokens: list[int] = []
        try:
            for segment in request.segments:
                tokens += self._vocab.tokenize(segment.text, special=segment.scaffold)
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to this request, and the thread lives on
            return Tokenized(request, [], error=f"the prompt could not be tokenised: {error}")
        if self._vocab.adds_bos and tokens[:1] != [self._vocab.bos]:
            tokens.insert(0, self._vocab.bos)
        return Tokenized(request, tokens)
