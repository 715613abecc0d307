"""Faults of what an answer says: statuses, headers and events that a client should see through."""

from __future__ import annotations

from scenarios.faults.kinds.kind import FaultKind, Need, Via, count, seconds, word

_NOT_SEEN = "Never sees it: the answer is changed on its way."
_WHOLE = "Shows the same text as without it."
_STREAM = (Need.STREAM,)

CONTENT = (
    FaultKind(
        "http.error", Via.PROXY, "requests are answered with a 5xx and do not reach the target",
        "Reports it; tries again with growing pauses.", _NOT_SEEN,
        (word("status", ("500", "502", "503", "504"), "the status"),),
    ),
    FaultKind(
        "http.too_many", Via.PROXY, "requests are answered 429 with Retry-After and do not reach the target",
        "Waits as long as it is asked to.", _NOT_SEEN,
        (seconds("retry_after", 1.0, "what Retry-After says, rounded up", 0, 3600),),
    ),
    FaultKind(
        "http.header_lost", Via.PROXY, "answers come without one of their headers",
        "Reads the answer where it can be read without, else reports it as malformed; never hangs.", _NOT_SEEN,
        (word("header", ("content-type", "transfer-encoding", "content-length", "date"), "which one"),),
    ),
    FaultKind(
        "http.error_in_200", Via.PROXY, "answers are 200 with an error object as their body",
        "Reads the body before it believes the status.", _NOT_SEEN,
    ),
    FaultKind(
        "stream.truncate", Via.PROXY, "streams end in order, after some events, without their last ones",
        "Reports the answer as truncated.", _NOT_SEEN, (count("after", 3, "events that get through", 0),), _STREAM,
    ),
    FaultKind(
        "stream.duplicate", Via.PROXY, "one event of each stream comes twice",
        "Cannot know: it looks like a word said twice; only a known answer tells.", _NOT_SEEN,
        (count("event", 2, "which one, from 1"),), _STREAM,
    ),
    FaultKind(
        "stream.reorder", Via.PROXY, "two neighbouring events of each stream change places",
        "Cannot know; the text is wrong.", _NOT_SEEN, (count("event", 2, "the first of the two, from 1"),), _STREAM,
    ),
    FaultKind(
        "stream.coalesce", Via.PROXY, "several events of a stream arrive together, in one piece",
        _WHOLE, _NOT_SEEN, (count("events", 4, "how many together", 2),), _STREAM,
    ),
    FaultKind(
        "stream.bytewise", Via.PROXY, "streams arrive one byte at a time", _WHOLE, _NOT_SEEN,
        (seconds("delay", 0.0, "between two bytes", 0, 1),), _STREAM,
    ),
    FaultKind(
        "stream.split_character", Via.PROXY, "events arrive in pieces cut inside a character and inside a line end",
        _WHOLE, _NOT_SEEN, (seconds("delay", 0.01, "between the two pieces", 0, 10),), _STREAM,
    ),
    FaultKind(
        "stream.stall", Via.PROXY, "streams stand still after some events, then go on",
        "Waits, and shows that it waits; gives up at its timeout.", _NOT_SEEN,
        (count("after", 3, "events before it", 0), seconds("delay", 2.0, "how long")), _STREAM,
    ),
)  # fmt: skip
