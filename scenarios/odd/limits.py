"""Values beyond every limit: counts, probabilities, stop strings, sizes."""

from __future__ import annotations

import random

from scenarios.odd.probe import OddClass, OddGroup, Probe, changed, chat


def _overflow(rng: random.Random) -> Probe:
    words = " ".join(rng.choice(("order", "tent", "boots", "Norway", "delivery")) for _ in range(997))
    text = (words + " ") * 100  # about 600 kB: more than 100,000 tokens of any tokenizer
    return Probe(payload=chat(rng, messages=[{"role": "user", "content": text}], stream=True))


def _two_megabytes(rng: random.Random) -> Probe:
    text = rng.choice("abcxyz ") * (2 << 20)
    return Probe(payload=chat(rng, messages=[{"role": "user", "content": text}]))


def _many_messages(rng: random.Random) -> Probe:
    turns = [{"role": ("user", "assistant")[i % 2], "content": f"line {i} of a very long talk"} for i in range(20_001)]
    return Probe(payload=chat(rng, messages=turns))


_L = OddGroup.LIMITS
_BAD, _EITHER = ("400",), ("400", "2xx")

CLASSES = (
    OddClass(
        "max-tokens-below-one",
        _L,
        "Zero or fewer tokens cannot be answered.",
        _BAD,
        changed("max_tokens", 0, -1, -(2**31)),
    ),
    OddClass(
        "max-tokens-huge",
        _L,
        "Cut to what fits, or refused; never allocated.",
        _EITHER,
        changed("max_tokens", 10**9, 2**31, 2**63 - 1),
    ),
    OddClass(
        "temperature-out-of-range",
        _L,
        "OpenAI's range is 0 to 2.",
        _BAD,
        changed("temperature", -1, -0.001, 1e9, 1e308),
    ),
    OddClass("top-p-zero", _L, "Nothing is left to sample from: greedy or refused.", _EITHER, changed("top_p", 0, 0.0)),
    OddClass("top-p-out-of-range", _L, "A probability above 1 or below 0.", _BAD, changed("top_p", 2, -0.5, 1e30)),
    OddClass("n-thousand", _L, "One request must not take a thousand slots.", _BAD, changed("n", 1000)),
    OddClass(
        "top-logprobs-huge",
        _L,
        "OpenAI's limit is 20.",
        _BAD,
        lambda rng: Probe(payload=chat(rng, logprobs=True, top_logprobs=10_000)),
    ),
    OddClass(
        "stop-empty",
        _L,
        "An empty stop matches everywhere: ignored or refused, never an empty loop.",
        _EITHER,
        changed("stop", "", [""], ["", "x"]),
    ),
    OddClass(
        "stop-ten-thousand",
        _L,
        "10,000 stop strings are searched for at every token.",
        _BAD,
        lambda rng: Probe(payload=chat(rng, stop=[f"stop-{i}" for i in range(10_000)])),
    ),
    OddClass(
        "stop-megabyte",
        _L,
        "A stop string of 1 MB.",
        ("400", "413"),
        lambda rng: Probe(payload=chat(rng, stop=rng.choice("abc") * (1 << 20))),
    ),
    OddClass(
        "seed-negative",
        _L,
        "Allowed by some servers, refused by others; a crash by none.",
        _EITHER,
        changed("seed", -1, -(2**63)),
    ),
    OddClass("seed-huge", _L, "A seed beyond 64 bits.", _EITHER, changed("seed", 2**64 - 1)),
    OddClass(
        "prompt-beyond-context",
        _L,
        "More than any context holds: refused at once, without stalling others.",
        ("400", "413"),
        _overflow,
    ),
    OddClass("body-two-megabytes", _L, "One long body must not block the server.", ("413", "400"), _two_megabytes),
    OddClass("messages-twenty-thousand", _L, "A conversation without end.", ("400", "413"), _many_messages),
)
