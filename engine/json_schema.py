"""Whether a JSON Schema is one: each keyword has a value of the kind that JSON Schema (2020-12) gives it.

llguidance looks only at keywords that bear on the type at hand, and never into definitions that nobody refers to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_SHOWN_CHARS, _SHOWN_NAMES = 60, 20
_Path = tuple[Any, ...]
"""(path of the part above, keyword or name); () at the top. Linked, so that a long name is never copied."""


class SchemaError(ValueError):
    """Not a JSON Schema; says where and why."""


def check_schema(schema: Any) -> None:
    """Raises SchemaError naming the first keyword that is wrong, by its path."""
    waiting: list[tuple[_Path, Any]] = [((), schema)]
    while waiting:
        at, part = waiting.pop()
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            raise SchemaError(f"{_written(at) or 'the schema'} must be an object, true or false, not {_shown(part)}")
        for keyword, value in part.items():
            if keyword in _CHECKS:
                what, fits = _CHECKS[keyword]
                if not fits(value):
                    raise SchemaError(f"{_written((at, keyword))} must be {what}, not {_shown(value)}")
            if keyword in _SCHEMA:
                waiting.append(((at, keyword), value))
            elif keyword in _SCHEMA_LIST:
                waiting += [(((at, keyword), str(index)), inner) for index, inner in enumerate(value)]
            elif keyword in _SCHEMA_MAP:
                waiting += [(((at, keyword), name), inner) for name, inner in value.items()]


def _written(path: _Path) -> str:
    """The end of the path, bounded: names may be megabytes long."""
    names: list[str] = []
    while path and len(names) < _SHOWN_NAMES:
        path, name = path
        names.append(name[:_SHOWN_CHARS])
    return ("..." if path else "") + "".join(f"/{name}" for name in reversed(names))


def _shown(value: Any) -> str:
    return repr(value)[:_SHOWN_CHARS]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_pattern(value: Any) -> bool:
    # llguidance takes a backslash that escapes nothing; whatever else is wrong in a pattern it finds itself.
    return isinstance(value, str) and (len(value) - len(value.rstrip("\\"))) % 2 == 0


def _is_type(value: Any) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    return _is_names(value) and bool(value) and _TYPES.issuperset(value)


_Check = tuple[str, Callable[[Any], bool]]
_NUMBER: _Check = ("a number", _is_number)
_COUNT: _Check = ("a whole number from 0", _is_count)
_TEXT: _Check = ("a string", lambda value: isinstance(value, str))
_FLAG: _Check = ("true or false", lambda value: isinstance(value, bool))
_NAMES: _Check = ("an array of strings", _is_names)
_OBJECT: _Check = ("an object", lambda value: isinstance(value, dict))
_ARRAY: _Check = ("an array", lambda value: isinstance(value, list))
_SCHEMAS: _Check = ("an array of schemas, at least one", lambda value: isinstance(value, list) and bool(value))

_SCHEMA = frozenset({
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
"""Keywords whose value is a schema."""
_SCHEMA_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMA_MAP = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_CHECKS: dict[str, _Check] = {
    "type": ("one of " + ", ".join(sorted(_TYPES)) + ", or an array of them", _is_type),
    "multipleOf": ("a number above 0", lambda value: _is_number(value) and value > 0),
    "enum": _ARRAY,
    "required": _NAMES,
    "uniqueItems": _FLAG,
    "dependentRequired": (
        "an object of arrays of strings",
        lambda v: isinstance(v, dict) and all(map(_is_names, v.values())),
    ),
    **dict.fromkeys(("maximum", "minimum"), _NUMBER),
    # true and false are how draft 4 has them.
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum"), ("a number", lambda v: isinstance(v, int | float))),
    **dict.fromkeys(
        (
            "maxItems",
            "minItems",
            "maxLength",
            "minLength",
            "maxProperties",
            "minProperties",
            "maxContains",
            "minContains",
        ),
        _COUNT,
    ),
    **dict.fromkeys(("$ref", "$id", "$schema", "$anchor", "$comment", "format", "title", "description"), _TEXT),
    "pattern": ("a regular expression", _is_pattern),
    **dict.fromkeys(_SCHEMA_LIST, _SCHEMAS),
    **dict.fromkeys(_SCHEMA_MAP, _OBJECT),
}
