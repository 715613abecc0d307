"""Faults that clients are: others than the planned ones, who behave badly towards the same target."""

from __future__ import annotations

from scenarios.faults.kinds.kind import FaultKind, Param, Unit, Via, count, seconds, size

_UNHARMED = "The planned ones are served as before."
_TURNED_AWAY = "Turns the extra ones away at once, and serves the others as before."
_MANY = count("clients", 8, "how many at a time", 1, 2000)

CLIENTS = (
    FaultKind(
        "clients.slow_readers", Via.HOLDER, "clients that ask for long answers and hardly read them", _UNHARMED,
        "Bounds what it buffers, and disconnects who reads nothing for long.",
        (_MANY, Param("rate", Unit.RATE, 20.0, "bytes a second that each reads", 0.1, 1e6)),
    ),
    FaultKind(
        "clients.hang_up", Via.HOLDER, "clients that ask and leave after some events, again and again", _UNHARMED,
        "Stops the work of those who left at once, and leaks nothing.",
        (_MANY, count("after", 2, "events before they leave; 0: while the server is at its prefill", 0)),
    ),
    FaultKind(
        "clients.retry_storm", Via.HOLDER, "clients that ask again at once whenever they are turned away or fail",
        _UNHARMED, _TURNED_AWAY, (_MANY, seconds("wait", 0.0, "before they ask again")),
    ),
    FaultKind(
        "clients.herd", Via.HOLDER, "clients that wait for the target to answer and then all ask at the same moment",
        _UNHARMED, _TURNED_AWAY, (count("clients", 64, "how many", 1, 2000),),
    ),
    FaultKind(
        "clients.abuser", Via.HOLDER, "one customer asks far more than a fair share", _UNHARMED, _TURNED_AWAY,
        (Param("rate", Unit.COUNT, 50.0, "requests a second", 1, 10_000),),
    ),
    FaultKind(
        "clients.huge_upload", Via.HOLDER, "clients that send very large bodies", _UNHARMED,
        "Answers 413 as soon as it knows, without keeping the body.",
        (count("clients", 4, "how many at a time", 1, 100), size("size", 64 << 20, "bytes of each body", 1, 1 << 32)),
    ),
    FaultKind(
        "clients.slowloris", Via.HOLDER, "connections that send their request's head one byte at a time", _UNHARMED,
        "Closes them after its time for heads, and has connections left for others.",
        (count("clients", 64, "how many at a time", 1, 2000), seconds("pause", 0.5, "between two bytes", 0.01)),
    ),
    FaultKind(
        "clients.long_contexts", Via.HOLDER, "clients whose prompts fill the KV cache", _UNHARMED,
        "Queues or turns away what does not fit; never ends a stream that has begun.",
        (_MANY, count("words", 700, "words in each prompt", 1, 1_000_000)),
    ),
)  # fmt: skip
