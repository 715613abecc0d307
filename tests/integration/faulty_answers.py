"""Answers with a fault on their way, and what a correct client says of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scripted_server import COMPLETION, DONE, JSON, LAST, ROLE, USAGE, answer, event, stream

from scenarios.faults.kinds import KINDS
from scenarios.faults.proxy.answers import TRANSFORMS
from scenarios.observation import Outcome

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
    def params(self) -> dict[str, float | str]:
        """All of the fault's parameters."""
        return {param.name: param.default for param in KINDS[self.kind].params} | self.own

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
