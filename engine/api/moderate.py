"""POST /v1/moderations: what the safety rules find in texts, in OpenAI's shape.

Only rules look, no model; the answer lists what no rule looks for, since "false" says little there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.api.jsonbody import decode_body
from engine.api.messages import Part, bad
from engine.safety import CATEGORIES, DETECTORS, Finding, scan

MAX_TEXTS = 256
MAX_CHARACTERS = 128 * 1024
SCORES = {"low": 0.25, "medium": 0.5, "high": 1.0}
"""A category's score is that of its gravest finding; it says how grave, not how likely."""
QUALITY = frozenset({"refusal", "ungrounded", "off-topic", "language", "format", "degenerate"})
"""What makes an answer poor rather than harmful: reported, but no reason to be flagged."""

OPENAI_CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent",
    "self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors",
    "violence", "violence/graphic",
)  # fmt: skip
_ALL = tuple(dict.fromkeys((*OPENAI_CATEGORIES, *CATEGORIES)))
_CHECKED = frozenset(category for detector in DETECTORS for category in detector.categories)
UNCHECKED = tuple(category for category in _ALL if category not in _CHECKED)


class ModerationRequest(msgspec.Struct):
    """A text, several, or the parts of one."""

    input: str | list[str | Part]
    model: str | None = None

    @property
    def texts(self) -> list[str]:
        """The texts to judge, each for itself; parts make one text."""
        if isinstance(self.input, str):
            return [self.input]
        if self.input and isinstance(self.input[0], Part):
            return ["\n".join(item if isinstance(item, str) else item.text or "" for item in self.input)]
        return [item if isinstance(item, str) else item.text or "" for item in self.input]


_decoder = msgspec.json.Decoder(ModerationRequest)


def parse_moderation(body: bytes) -> ModerationRequest:
    """Decode and check. Raises BadRequest naming the field."""
    request = decode_body(_decoder, body)
    given = request.input
    if isinstance(given, list):
        if not given:
            raise bad("input", "input is empty: send at least one text")
        if len(given) > MAX_TEXTS:
            raise bad("input", f"at most {MAX_TEXTS} texts are taken, not {len(given)}")
        if len({type(item) for item in given}) > 1:
            raise bad("input", "input must be all strings or all parts")
        for index, part in enumerate(given):
            if isinstance(part, Part) and (part.type != "text" or part.text is None):
                raise bad(
                    f"input[{index}]", "only parts of type text, with their text, are judged", "unsupported_value"
                )
    characters = sum(map(len, request.texts))
    if characters > MAX_CHARACTERS:
        raise bad("input", f"at most {MAX_CHARACTERS} characters are judged at once, not {characters}: send fewer")
    return request


def judge(text: str) -> dict[str, Any]:
    """One result: flagged, categories, category_scores, and where what was found stands (never what it says)."""
    findings = scan(text)
    scores = dict.fromkeys(_ALL, 0.0)
    for finding in findings:
        scores[finding.category] = max(scores[finding.category], SCORES[finding.severity])
    return {
        "flagged": any(finding.category not in QUALITY for finding in findings),
        "categories": {category: score > 0 for category, score in scores.items()},
        "category_scores": scores,
        "category_applied_input_types": {category: ["text"] if score > 0 else [] for category, score in scores.items()},
        "findings": [_where(finding) for finding in findings],
    }


def _where(finding: Finding) -> dict[str, Any]:
    return {
        "category": finding.category,
        "severity": finding.severity,
        "start": finding.start,
        "end": finding.end,
        "detector": finding.detector,
    }
