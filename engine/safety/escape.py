"""What a screen, a log or an editor would act on instead of showing it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.safety.finding import Detector, Finding, Severity, visible

# One alternation, so that a byte inside a sequence is not counted again. Every quantifier is possessive or bounded.
RULES: tuple[tuple[str, Severity, str], ...] = (
    ("CSI", "high", r"(?:\x1b\[|\x9b)[0-?]{0,64}+[ -/]{0,8}+[@-~]?"),
    ("OSC", "high", r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\r\n]{0,4096}+(?:\x07|\x1b\\|\x9c)?"),
    ("ESC", "high", r"\x1b[ -~]?"),
    ("control", "medium", r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x8f\x91-\x97\x99\x9a\x9c\ud800-\udfff]++"),
    ("bidi_override", "high", r"[\u202d\u202e]++"),
    ("bidi_embedding", "low", r"[\u202a-\u202c\u2066-\u2069]++"),
    (
        "zero_width",
        "low",
        r"[\u200b-\u200d\u2060-\u2064\ufeff\u180e]{2,}+|(?<=[A-Za-z])[\u200b\u2060\ufeff](?=[A-Za-z])",
    ),
    ("flag", "low", r"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,8}\U000e007f"),
    ("tag", "high", r"[\U000e0000-\U000e007f]++"),
)
_ANY = re.compile("|".join(f"(?P<{name}>{pattern})" for name, _, pattern in RULES))
_SEVERITY = {name: severity for name, severity, _ in RULES}


def escapes(text: str) -> Iterator[Finding]:
    """Control characters (not tab and line ends), terminal sequences, bidi controls, zero-width runs, tag characters.

    The tags of a flag emoji, and single joiners as emoji and several scripts use them, are left out.
    """
    if text.isascii() and text.isprintable():
        return
    for found in _ANY.finditer(text):
        name = found.lastgroup or ""
        if name == "flag":
            continue
        detector = f"escape.{name.lower().replace('_', '-')}"
        yield Finding("escape", _SEVERITY[name], found.start(), found.end(), detector, visible(found.group(), 24))


def _find(text: str, planted: str) -> Iterator[Finding]:
    return escapes(text)


ESCAPE = Detector("escape", ("escape",), _find)
