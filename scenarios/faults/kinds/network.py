"""Faults of the road between client and target: bytes come late, few, wrong or not at all."""

from __future__ import annotations

from scenarios.faults.kinds.kind import FaultKind, Need, Param, Unit, Via, count, seconds, size, word

_WAY = word("direction", ("down", "up", "both"), "answers (down), requests (up) or both")
_WAITS = "Waits up to its timeout, then gives up and says so."
_UNMOVED = "Is not moved: the connection is slow, the service is not."
_FREES = "Notices that the client is gone and frees its place at once."

NETWORK = (
    FaultKind(
        "network.latency", Via.PROXY, "every byte arrives later by a time, give or take a jitter; order is kept",
        _WAITS, _UNMOVED,
        (seconds("delay", 0.2, "added to every byte"), seconds("jitter", 0.0, "largest deviation, either way"), _WAY),
    ),
    FaultKind(
        "network.bandwidth", Via.PROXY, "each connection carries no more than so many bytes a second",
        "Reads on as text comes.", "Writes with back-pressure, without holding the answer's place for other work.",
        (Param("rate", Unit.RATE, 2000.0, "bytes a second on each connection", 1.0, 1e9), _WAY),
    ),
    FaultKind(
        "network.slow_start", Via.PROXY, "the first byte of each answer is held back; the rest follows at once",
        _WAITS, _UNMOVED, (seconds("delay", 2.0, "how long the first byte is held"),),
    ),
    FaultKind(
        "network.slow_connect", Via.PROXY, "a new connection carries nothing for a while, as with a slow resolver",
        "Keeps connections alive, and counts the wait as part of its timeout.", _UNMOVED,
        (seconds("delay", 1.0, "before a new connection carries its first byte"),),
    ),
    FaultKind(
        "network.refuse", Via.PROXY, "new connections are refused; open ones go on",
        "Tries again with growing, jittered pauses.", _UNMOVED,
    ),
    FaultKind(
        "network.slice", Via.PROXY, "answers arrive in slices of a few bytes",
        "Puts them together: no event is lost or doubled.", _UNMOVED,
        (size("size", 3, "bytes in a slice", 1, 1 << 20), seconds("delay", 0.002, "between two slices"), _WAY),
    ),
    FaultKind(
        "network.reset", Via.PROXY, "connections are reset (RST), open ones too, once so much of an answer is through",
        "Reports the answer as lost; tries again only where that is safe.", _FREES,
        (size("after", 0, "bytes of an answer that still get through; 0: while the server is at its prefill"),),
    ),
    FaultKind(
        "network.close", Via.PROXY, "connections are closed in order (FIN) after so many bytes of an answer",
        "Sees that the answer is not whole, and does not show half of it as all.", _FREES,
        (size("after", 200, "bytes of an answer that still get through"),),
    ),
    FaultKind(
        "network.blackhole", Via.PROXY, "connections stay open and carry nothing, either way",
        _WAITS, "Does not hold places for ever for clients from which nothing comes.",
    ),
    FaultKind(
        "network.half_open", Via.PROXY, "the target's side is gone (RST), the client is not told",
        _WAITS, _FREES,
    ),
    FaultKind(
        "network.corrupt", Via.PROXY, "some bytes of an answer are flipped",
        "Refuses what is no valid answer; never shows it as one.", _UNMOVED,
        (count("per", 200, "one byte of about so many", 1, 1_000_000),),
    ),
    FaultKind(
        "network.tls_expired", Via.PROXY, "new connections meet a certificate that has expired",
        "Refuses the connection.", _UNMOVED, needs=(Need.TLS,),
    ),
)  # fmt: skip
