"""Short questions to the decode process: tokens of a text, text of tokens, the vector of a text."""

from __future__ import annotations

import asyncio

from engine.api.admission import Load, Verdict, decide
from engine.api.tickets import RecentKeys
from engine.errors import Overloaded, Unavailable
from engine.wire import Detokenize, Embed, Tokenize, Tokens, Vector

OPEN_LIMIT = 64
"""Questions that may be open at once, of all keys together."""

Question = Tokenize | Detokenize | Embed
Answer = Tokens | Vector


class Asks:
    """At most OPEN_LIMIT questions. One whose asker left keeps its place until its answer has come."""

    def __init__(self, recent: RecentKeys) -> None:
        self._recent = recent
        self._open: dict[int, tuple[str, asyncio.Future[Answer]]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def check(self, now_ns: int, key: str) -> None:
        """Raise Overloaded when `key` may not ask now."""
        pending = [asker for asker, _answer in self._open.values()]
        verdict = decide(Load(0, OPEN_LIMIT, 0, pending, self._recent.note(key, now_ns)), key)
        if verdict is not Verdict.ADMIT:
            whose = "" if verdict is Verdict.FULL else " of this key"
            raise Overloaded(f"Too many questions{whose} are open.", retry_after_s=1, code=verdict.value)

    def open(self, id: int, key: str) -> asyncio.Future[Answer]:
        """A place for the answer to question `id`."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[id] = (key, future)
        return future

    def answered(self, frame: Answer) -> None:
        """An answer came; nobody may be waiting for it any more."""
        _key, future = self._open.pop(frame.id, ("", None))
        if future is not None and not future.done():
            future.set_result(frame)

    def ended(self, id: int) -> None:
        """The decode process has forgotten a question that was cancelled."""
        self._open.pop(id, None)

    async def drained(self) -> None:
        """Wait until those open now have their answers."""
        if self._open:
            await asyncio.wait([answer for _key, answer in self._open.values()])

    def fail_all(self, why: str) -> None:
        """No answer will come to any of them."""
        for _key, future in self._open.values():
            if not future.done():
                future.set_exception(Unavailable(f"The question was lost: {why}.", code="engine_restarting"))
                future.exception()  # an asker that is cancelled in this very moment does not look any more
        self._open.clear()
