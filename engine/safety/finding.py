"""What a detector says about one text, and the names of everything that can be found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["low", "medium", "high"]

CATEGORIES: tuple[str, ...] = (
    "pii.email", "pii.phone", "pii.card", "pii.iban", "pii.id", "pii.ip", "pii.address", "secret",
    "injection", "jailbreak", "leak",
    "hate", "harassment", "self-harm", "sexual", "violence", "illicit",
    "refusal", "ungrounded", "off-topic", "language", "escape", "format", "degenerate", "bias",
)  # fmt: skip
"""Every category name, those included that no detector here looks for."""

EXCERPT_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found, characters `start` to `end`. `excerpt` is printable; personal data in it is masked."""

    category: str
    severity: Severity
    start: int
    end: int
    detector: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Detector:
    """One family of rules. `find` gets the text and the planted note; `answers_only`: no sense on a prompt."""

    name: str
    categories: tuple[str, ...]
    find: Callable[[str, str], Iterable[Finding]]
    answers_only: bool = False


def mask(text: str) -> str:
    """Personal data with only its first and last characters: two of each, one of each below nine characters."""
    keep = 2 if len(text) >= 9 else 1
    if len(text) <= 4:
        return "•" * len(text)
    return visible(text[:keep]) + "•" * min(len(text) - 2 * keep, 12) + visible(text[-keep:])


def visible(text: str, limit: int = EXCERPT_LIMIT) -> str:
    """The start of a text with everything unprintable as an escape, on one line."""
    head = text[:limit]
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in head)
    return shown + ("…" if len(text) > limit else "")
