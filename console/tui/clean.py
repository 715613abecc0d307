"""Where text from outside becomes a view value: every string of a record goes through the one sanitiser.

It walks whole records, so a field that is added to one later is covered without a word here.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from scenarios.sanitise import view

LIMIT = 240  # characters; no panel shows more of one text

T = TypeVar("T")


@lru_cache(maxsize=2048)
def text(value: str, limit: int = LIMIT) -> str:
    """One text on one line, harmless."""
    shown: str = view(value, limit)
    return shown


def record(value: T) -> T:
    """The same record with every string in it made harmless; numbers, enums and the shape stay."""
    result: T = _clean(value)
    return result


def _clean(value: Any) -> Any:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, msgspec.Struct):
        changed = {name: _clean(getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **changed)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{f.name: _clean(getattr(value, f.name)) for f in dataclasses.fields(value)})
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_clean(item) for item in value)
    return value
