"""One planned request: when it is due, the exact bytes that will be sent, and what a correct server answers."""

from __future__ import annotations

import msgspec


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What a correct answer is: `answer` is the exact text after strip(); `allowed`, for odd input, what may happen.

    An `allowed` entry is a status code ("400"), a class ("2xx", "4xx") or "closed" (no answer, connection closed).
    """

    answer: str | None = None
    allowed: tuple[str, ...] = ()
    planted: str = ""  # a note that must not appear in the answer


class PlannedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Every request of a run is made before the first send; `due_ns` counts from the run's start."""

    index: int
    due_ns: int
    path: str  # "/v1/chat/completions"; the target's base URL is put in front
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"
    stream: bool = True
    timeout_s: float = 30.0
    raw: bytes = b""  # when set, exactly these bytes are written to a fresh connection instead of a formed request
    raw_chunks_s: float = 0.0  # for raw: pause between chunks of 1/8 of the bytes (a slow sender)
    hang_up_after_s: float = 0.0  # when set, the client disconnects on purpose this long after sending
    profile: str = ""
    segment: str = ""
    era: str = "A"
    prompt_text: str = ""  # the user's own text, for drift features and evidence
    numbers: tuple[tuple[str, float], ...] = ()
    expect: Expectation = Expectation()
