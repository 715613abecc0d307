"""A correct client against every http.* and stream.* fault: one outcome each, the same text where it can be had."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from scripted_server import (
    COMPLETION,
    DONE,
    JSON,
    LAST,
    ROLE,
    USAGE,
    Script,
    ScriptedServer,
    Turn,
    answer,
    event,
    stream,
)

from scenarios.faults.kinds import KINDS
from scenarios.faults.proxy.answers import TRANSFORMS
from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest

TIMEOUT_S = 20.0
WORDS = ("A", " é", " 𝄞", " D")
TEXT = "".join(WORDS)
SSE = "Content-Type: text/event-stream"
EVENTS = tuple(event(word, model="m", system_fingerprint="fp").replace(b"\\u00e9", "é".encode()) for word in WORDS)
STREAM = (ROLE, *EVENTS, LAST, USAGE.replace(b":3", b":4"), DONE)
CHUNKED = stream(*STREAM[:-1])
LENGTH = answer("200 OK", b"".join(STREAM), SSE)
CRLF = stream(b": ping\n\n", *(one.replace(b"\n", b"\r\n") for one in STREAM[:-1]))
CR = stream(*(one.replace(b"\n", b"\r") for one in STREAM[:-1]))
CLOSE = f"HTTP/1.1 200 OK\r\n{SSE}\r\nConnection: close\r\n\r\n".encode() + b"".join(STREAM)
WHOLE = answer("200 OK", COMPLETION, JSON, "Date: Mon, 23 Nov 2026 10:00:00 GMT")
CHUNKED_JSON = (
    f"HTTP/1.1 200 OK\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n{len(COMPLETION):x}\r\n".encode()
    + COMPLETION
    + b"\r\n0\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Case:
    """A fault on an answer, and what a client says of it; `text` is None where any text may be there."""

    kind: str
    raw: bytes
    outcome: Outcome
    text: str | None = TEXT
    own: dict[str, Any] = field(default_factory=dict)
    status: int = 200

    @property
    def stream(self) -> bool:
        return b"text/event-stream" in self.raw


OK, MALFORMED, TRUNCATED = Outcome.OK, Outcome.MALFORMED, Outcome.TRUNCATED
SAME = {
    "stream.coalesce": {"events": 3},
    "stream.bytewise": {"delay": 0.0},
    "stream.split_character": {"delay": 0.01},
    "stream.stall": {"after": 3, "delay": 0.25},
}
FORMS = {"chunked": CHUNKED, "length": LENGTH, "close": CLOSE, "crlf": CRLF, "cr": CR}
CASES: dict[str, Case] = {
    **{f"{kind}-{form}": Case(kind, raw, OK, own=own) for kind, own in SAME.items() for form, raw in FORMS.items()},
    "bytewise-slowly": Case("stream.bytewise", CHUNKED, OK, own={"delay": 0.0005}),
    **{f"{kind}-json": Case(kind, WHOLE, OK, "A B") for kind in TRANSFORMS if kind.startswith("stream.")},
    **{
        f"truncated-{after}-{form}": Case("stream.truncate", raw, TRUNCATED, text, {"after": after})
        for after, text in ((0, ""), (3, "".join(WORDS[:2])), (99, TEXT))
        for form, raw in FORMS.items()
    },
    **{
        f"duplicated-{form}": Case("stream.duplicate", raw, OK, "A" + TEXT, {"event": 2}) for form, raw in FORMS.items()
    },
    **{f"reordered-{form}": Case("stream.reorder", raw, OK, " éA 𝄞 D", {"event": 2}) for form, raw in FORMS.items()},
    "the-finish-reason-after-done": Case("stream.reorder", stream(*EVENTS), TRUNCATED, TEXT, {"event": 5}),
    **{
        f"error-{status}": Case("http.error", CHUNKED, Outcome.HTTP_5XX, "", {"status": status}, int(status))
        for status in ("500", "502", "503", "504")
    },
    "too-many": Case("http.too_many", CHUNKED, Outcome.SHED, "", {"retry_after": 2.0}, 429),
    "an-error-in-200-for-a-stream": Case("http.error_in_200", CHUNKED, MALFORMED, ""),
    "an-error-in-200-for-json": Case("http.error_in_200", WHOLE, MALFORMED, ""),
    "no-type-of-a-stream": Case("http.header_lost", CHUNKED, MALFORMED, "", {"header": "content-type"}),
    "no-type-of-json": Case("http.header_lost", WHOLE, MALFORMED, "", {"header": "content-type"}),
    "no-date": Case("http.header_lost", WHOLE, OK, "A B", {"header": "date"}),
    # the sizes of chunks are lines without a colon: event streams have room for such
    "no-chunks-of-a-stream": Case("http.header_lost", CHUNKED, OK, TEXT, {"header": "transfer-encoding"}),
    "no-chunks-across-events": Case(
        "http.header_lost",
        stream(b"".join(EVENTS)[:70], b"".join(EVENTS)[70:]),
        MALFORMED,
        None,
        {"header": "transfer-encoding"},
    ),
    "no-chunks-of-json": Case("http.header_lost", CHUNKED_JSON, MALFORMED, "", {"header": "transfer-encoding"}),
    "no-length-of-a-stream": Case("http.header_lost", LENGTH, OK, TEXT, {"header": "content-length"}),
    "no-length-of-json": Case("http.header_lost", WHOLE, OK, "A B", {"header": "content-length"}),
}


def through(case: Case) -> Script:
    """Answer as the target would, through the fault, seven bytes at a time."""

    async def script(turn: Turn) -> bool:
        kind = KINDS[case.kind]
        one = TRANSFORMS[case.kind]({param.name: param.default for param in kind.params} | case.own)
        pieces = one.instead(turn.head)
        if pieces is None:
            pieces = [piece for at in range(0, len(case.raw), 7) for piece in one.feed(case.raw[at : at + 7])]
            pieces += one.end()
        for piece in pieces:
            if piece.wait_s:
                await asyncio.sleep(piece.wait_s)
            await turn.say(piece.data)
            if piece.close:
                return False
        return b"Connection: close" not in case.raw

    return script


async def sound(turn: Turn) -> bool:
    await turn.say(CHUNKED)
    return True


async def run_all() -> dict[str, tuple[Observation, Observation]]:
    """For each case what came of it, and of a request without a fault after it."""
    plan: list[PlannedRequest] = []
    for number, (name, case) in enumerate(CASES.items()):
        due_ns = number * 2_000_000
        plan.append(_request(2 * number, due_ns, name, stream=case.stream))
        plan.append(_request(2 * number + 1, due_ns, "sound", after=2 * number))
    async with ScriptedServer({"sound": sound, **{name: through(case) for name, case in CASES.items()}}) as server:
        pool = LoadPool(Plan.of(plan), server.url)
        await pool.prepare()
        pool.start(time.monotonic_ns())
        seen = {one.index: one async for batch in pool.batches() for one in batch.observations}
        await pool.close()
        assert pool.deaths == []
    return {name: (seen[2 * number], seen[2 * number + 1]) for number, name in enumerate(CASES)}


def _request(index: int, due_ns: int, name: str, **own: Any) -> PlannedRequest:
    return PlannedRequest(index=index, due_ns=due_ns, path=f"/v1/{name}", body=b"{}", timeout_s=TIMEOUT_S, **own)


@pytest.fixture(scope="module")
def observed() -> dict[str, tuple[Observation, Observation]]:
    return asyncio.run(run_all())


Observed = dict[str, tuple[Observation, Observation]]


def test_every_kind_is_tried() -> None:
    assert {case.kind for case in CASES.values()} == set(TRANSFORMS)


@pytest.mark.parametrize("name", CASES)
def test_each_fault_has_its_outcome_and_leaves_the_text_that_can_be_had(observed: Observed, name: str) -> None:
    case, (one, after) = CASES[name], observed[name]
    assert (one.outcome, one.status, one.begun) == (case.outcome, case.status, 1), one
    assert case.text is None or one.answer == case.text, one
    assert (one.error == "") == (case.outcome is OK), one
    assert (after.outcome, after.answer) == (OK, TEXT), "the fault reached the next request"


def test_what_comes_after_a_stall_comes_that_much_later(observed: Observed) -> None:
    for form in FORMS:
        one = observed[f"stream.stall-{form}"][0]
        assert one.event_ns[2] - one.due_ns >= 250_000_000, form
        assert one.event_ns[1] < one.event_ns[2]


def test_events_that_came_together_have_one_time(observed: Observed) -> None:
    times = observed["stream.coalesce-chunked"][0].event_ns
    assert (times[0], times[2]) == (times[1], times[3])  # the first of three events has no text


def test_a_429_says_how_long_to_wait(observed: Observed) -> None:
    assert observed["too-many"][0].retry_after_s == 2.0


def test_an_event_too_many_shows_only_beside_the_usage(observed: Observed) -> None:
    """No client can tell a doubled event from a word said twice; events beyond the usage are a hint, no proof."""
    one = observed["duplicated-chunked"][0]
    assert one.completion_tokens == len(WORDS) < len(one.event_ns)


def test_a_fault_leaves_the_fingerprint(observed: Observed) -> None:
    for form in FORMS:
        assert observed[f"stream.split_character-{form}"][0].fingerprint == "m fp"
    assert observed["an-error-in-200-for-json"][0].fingerprint == ""
