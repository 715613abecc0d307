"""The machine's report: the document as JSON, deterministic, safe to show on a terminal."""

from __future__ import annotations

import re

import msgspec

from scenarios.result import ResultDocument

# In JSON every character outside ASCII stands inside a string, so its \u escape means the same: control characters
# and those that reorder or hide text are escaped, and the value stays what it was.
_UNSAFE = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


def escape_unsafe(json_text: str) -> str:
    """The same JSON value, without characters that act on a terminal."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", json_text)


def to_json(value: object) -> str:
    """One JSON document: mappings sorted by key, indented, a newline at its end. NaN and infinities become null."""
    text = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2).decode()
    return escape_unsafe(text) + "\n"


def render_json(document: ResultDocument) -> str:
    """What `--json` prints; scenarios/schema/result.schema.json describes it."""
    return to_json(document)
