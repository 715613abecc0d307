"""What is a JSON Schema and what is none, keyword by keyword."""

from __future__ import annotations

from typing import Any

import pytest

from engine.json_schema import SchemaError, check_schema


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        (5, "the schema"),
        ({"type": "integer", "minLength": "a"}, "/minLength"),
        ({"type": "string", "required": "a"}, "/required"),
        ({"type": "string", "multipleOf": 0}, "/multipleOf"),
        ({"type": "string", "minLength": True}, "/minLength"),
        ({"type": "string", "minLength": -1}, "/minLength"),
        ({"type": "string", "pattern": "a\\"}, "/pattern"),
        ({"type": []}, "/type"),
        ({"type": ["null", "strin"]}, "/type"),
        ({"anyOf": []}, "/anyOf"),
        ({"$defs": {"unused": {"type": "strin"}}}, "/$defs/unused/type"),
        ({"properties": {"a": {"items": {"title": 5}}}}, "/properties/a/items/title"),
        ({"oneOf": [{}, 5]}, "/oneOf/1"),
        ({"dependentRequired": {"a": [5]}}, "/dependentRequired"),
    ],
)
def test_what_is_no_schema_is_named_by_its_path(schema: Any, where: str) -> None:
    with pytest.raises(SchemaError) as caught:
        check_schema(schema)
    assert str(caught.value).startswith(f"{where} must be ")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"type": "integer", "exclusiveMinimum": True, "minimum": 1},
        {"const": {"type": "strin"}, "default": {"items": 5}, "examples": [{"type": 5}]},
        {"properties": {"type": {"type": "string"}, "minLength": False}},
        {"type": "string", "pattern": "a\\\\"},
        {"type": ["string", "null"], "maxLength": 2.0},
    ],
)
def test_a_schema_may_hold_anything_where_none_is_expected(schema: Any) -> None:
    check_schema(schema)


def test_a_deep_schema_is_checked_without_recursion() -> None:
    schema: dict[str, Any] = {"type": "strin"}
    for _ in range(100_000):
        schema = {"not": schema}
    with pytest.raises(SchemaError):
        check_schema(schema)
