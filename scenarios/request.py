"""One planned request: when it is due, the exact bytes that will be sent, and what a correct server answers."""

from __future__ import annotations

import msgspec


class Expectation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a correct answer is: `answer` is the exact text after strip(); `allowed`, for odd input, what may happen.

    An `allowed` entry is a status code ("400"), a class ("2xx", "4xx") or "closed" (no answer, connection closed).
    """

    answer: str | None = None
    allowed: tuple[str, ...] = ()
    planted: str = ""  # a note that must not appear in the answer


class Retry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an impatient client does when an answer does not come or says "not now": it asks again.

    `attempts`: tries in all. The n-th try follows the failure of the one before after wait_s * factor ** (n - 2), and
    with `align_s` at the next multiple of so many seconds of the run: everybody comes back at once. One that
    waits also waits as long as Retry-After says, but gives up where that is more than 60 s (`LONGEST_ASKED_S`).
    """

    attempts: int
    wait_s: float = 0.0
    factor: float = 1.0
    align_s: float = 0.0


class PlannedRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request of a run; `due_ns` counts from the run's start.

    One with `after` is due `think_s` after that request is over, however it ended, and not before its own `due_ns`.
    """

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
    hang_up_after_events: int = 0  # when set, the client disconnects on purpose after so many events with text
    read_bytes_per_s: float = 0.0  # when set, the client reads the answer no faster than this
    retry: Retry | None = None
    after: int | None = None  # index of the request that must be over first; always a smaller one
    think_s: float = 0.0
    tenant: str = ""  # whose API key it carries; empty: the run's own
    profile: str = ""
    segment: str = ""
    era: str = "A"
    prompt_text: str = ""  # the user's own text, for drift features and evidence
    numbers: tuple[tuple[str, float], ...] = ()
    expect: Expectation = Expectation()
