"""Strategies for JSON Schemas, valid, odd and broken, and for grammars: `from fuzz_constraints import gbnf, ...`."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

_names = st.sampled_from(("a", "b", "name", "", "é", "<|im_end|>", 'q"'))
_small = st.integers(0, 4)
_leaves: st.SearchStrategy[Schema] = st.one_of(
    st.sampled_from(
        (
            {"type": "boolean"},
            {"type": "null"},
            {"type": "integer"},
            {"type": "number"},
            {"type": "string"},
            {"type": ["string", "null"]},
            {"enum": ["Monday", 1, None, {"a": [2.5]}]},
            {"const": "<|im_end|>"},
            {"type": "string", "format": "date-time"},
        )
    ),
    st.builds(lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more}, st.integers(), _small),
    st.builds(lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more}, _small, _small),
    st.sampled_from(("a+", "^[A-Z]{2}$", "(red|green)?", "\\d{3}-\\d{4}", "[^\\x00-\\x7f]")).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
)


def _around(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.one_of(
        st.builds(
            lambda properties, needed, more: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[:needed],
                **more,
            },
            st.dictionaries(_names, inner, min_size=1, max_size=3),
            _small,
            st.sampled_from(({}, {"additionalProperties": False}, {"additionalProperties": {"type": "null"}})),
        ),
        st.builds(lambda items, most: {"type": "array", "items": items, "maxItems": most}, inner, _small),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    )


schemas: st.SearchStrategy[Schema] = st.recursive(_leaves, _around, max_leaves=5)
"""Valid, and of the part of JSON Schema that is supported."""

WRONG: dict[str, tuple[Any, ...]] = {
    "type": ("strin", "", 5, None, {}, [], ["string", "strin"], [5], True),
    "properties": ([], 5, "a", None, {"a": 5}, {"a": "string"}, {"a": None}, {"a": []}),
    "required": ("a", 5, {}, [5], [None]),
    "additionalProperties": (5, "no", None, []),
    "patternProperties": (5, [], {"a": 5}),
    "minProperties": ("a", -1, None, 1.5),
    "items": (5, "a", None),
    "prefixItems": (5, {}, [5]),
    "minItems": ("a", -1, 1.5, None),
    "maxItems": ("a", -1, 1.5, None),
    "minLength": ("a", -1, 1.5, None, []),
    "maxLength": ("a", -1, 1.5, None, []),
    "pattern": (5, None, "(", "[", "*a", "a{2,1}", "(?P<", "[z-a]", "a\\"),
    "format": (5, None, []),
    "minimum": ("a", None, []),
    "maximum": ("a", None, {}),
    "exclusiveMinimum": ("a", None, []),
    "multipleOf": (0, -1, "a", None),
    "enum": (5, "a", {}, None),
    "anyOf": (5, {}, [5], None, [{"type": "strin"}]),
    "oneOf": (5, {}, [5], None, [{"type": "strin"}]),
    "allOf": (5, {}, [5], None, [{"type": "strin"}]),
    "$defs": (5, [], {"a": 5}, {"a": {"type": "strin"}}),
    "$id": (5, None),
    "title": (5, []),
    "$ref": (5, None, "#/nowhere", "#/$defs/nothing", "other.json", "http://example.com/x"),
}
"""Values that make no schema, by keyword."""
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def _subschemas(schema: Schema) -> list[Schema]:
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    if isinstance(schema.get("items"), dict):
        inner.append(schema["items"])
    return [schema, *(found for one in inner for found in _subschemas(one))]


@st.composite
def _broken(draw: st.DrawFn) -> Any:
    """A valid schema of which one part is replaced by one that is wrong in one keyword."""
    schema = copy.deepcopy(draw(schemas))
    keyword = draw(st.sampled_from(sorted(WRONG)))
    wrong = {keyword: draw(st.sampled_from(WRONG[keyword]))}
    if keyword != "type":
        # Patterns are compiled for strings only.
        wrong["type"] = "string" if keyword in ("pattern", "patternProperties") else draw(st.sampled_from(_TYPES))
    part = draw(st.sampled_from(_subschemas(schema)))
    part.clear()
    part |= wrong
    return schema


broken_schemas: st.SearchStrategy[Any] = st.one_of(
    _broken(),
    _broken(),
    _broken(),
    st.sampled_from((None, [], "", 5, True, "{}", [{}], "~huge~", "~nan~", "~surrogate~")),
)
"""No JSON Schema; always a 400."""

_contradictions: st.SearchStrategy[Any] = st.sampled_from(
    (
        {"type": "integer", "minimum": 5, "maximum": 1},
        {"type": "string", "minLength": 5, "maxLength": 1},
        {"allOf": [{"type": "string"}, {"type": "number"}]},
        {"enum": []},
        {"const": 1, "type": "string"},
        {"type": "object", "required": ["a"], "properties": {"a": False}},
        {"type": "array", "items": False, "minItems": 1},
        {"not": {}},
    )
)
_recursions: st.SearchStrategy[Any] = st.sampled_from(
    (
        {"$ref": "#"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}},
        {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "type": "array"}}, "$ref": "#/$defs/a"},
        {"$ref": "#/properties/a", "properties": {"a": {"$ref": "#"}}},
    )
)


def _nested(depth: int) -> Schema:
    schema: Schema = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


_sizes: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from((10, 100, 300)).map(_nested),
    st.sampled_from((100, 3_000)).map(lambda count: {"enum": [f"v{index}" for index in range(count)]}),
    st.sampled_from((50, 500)).map(lambda count: {"properties": {f"p{index}": {} for index in range(count)}}),
    st.sampled_from((50, 500)).map(lambda count: {"anyOf": [{"const": index} for index in range(count)]}),
    st.builds(
        lambda name, size: {"type": "array" if "Items" in name else "string", name: size},
        st.sampled_from(("minItems", "maxItems", "minLength", "maxLength")),
        st.sampled_from((100, 10**4, 10**6, 2**31, 2**63, 10**30)),
    ),
    st.sampled_from(
        ("(a+)+$", "a{1000000}", "(a{1000}){1000}", "(.*a){30}", "(?i)\\w{500}", "(" * 500 + ")" * 500)
    ).map(lambda pattern: {"type": "string", "pattern": pattern}),
    st.integers().map(lambda number: {"type": "number", "multipleOf": abs(number) + 1, "minimum": number}),
    st.floats(allow_nan=False).map(lambda number: {"type": "number", "minimum": number}),
)
_unknown: st.SearchStrategy[Any] = st.sampled_from(
    (
        {"x": 1},
        {"type": "string", "format": "nope"},
        {"type": "array", "uniqueItems": True},
        {"not": {"type": "string"}},
        {"if": {}, "then": {}, "else": {}},
        {"x-guidance": {"whitespace_pattern": "("}},
        {"x-guidance": {"lenient": True}, "type": "strin"},
        {"$id": "http://x", "$anchor": "a", "$ref": "#a"},
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "integer",
            "exclusiveMinimum": True,
            "minimum": 1,
        },
        {},
    )
)
odd_schemas: st.SearchStrategy[Any] = st.one_of(schemas, schemas, _contradictions, _recursions, _sizes, _unknown)
"""Valid ones, and those of which nobody can say without a close look; answered or refused."""

_PIECES = (
    "root",
    "::=",
    '"a"',
    "[a-z]",
    "[^x]",
    "(",
    ")",
    "|",
    "*",
    "+",
    "?",
    "{2}",
    "{1,}",
    "{0,99999}",
    ".",
    "# c\n",
)
_PIECES += (
    "\n",
    "a",
    "b",
    "\\",
    '"',
    "[",
    "]",
    "{",
    "}",
    '"\\x41"',
    "[\\U00110000]",
    '"\\ud800"',
    "é",
    "\0",
    "::",
    "<|im_end|>",
)
gbnf: st.SearchStrategy[str] = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from(_PIECES), max_size=12).map(lambda pieces: "root ::= " + " ".join(pieces)),
    st.lists(st.sampled_from(_PIECES), max_size=8).map("".join),
    st.sampled_from(
        (
            'root ::= "yes" | "no"',
            'root ::= root "a" | "a"',
            "root ::= root",
            "root ::= a\na ::= b\nb ::= a",
            'root ::= a a a a\na ::= b b b b\nb ::= c c c c\nc ::= "x"?',
            'root ::= ("a"? "a"?)*',
            'root ::= ((("a"{1000}){1000}){1000})',
            'root ::= "a"{1000000}',
            "root ::= " + "(" * 3_000 + '"a"' + ")" * 3_000,
            "root ::= " + '"a"?' * 5_000,
            "root ::= " + " | ".join(f'"w{index}"' for index in range(3_000)),
            "\n".join(f'r{index} ::= r{index + 1} "x"' for index in range(2_000)) + '\nr2000 ::= "y"\nroot ::= r0',
            "root ::= [" + "a" * 70_000 + "]",
            'root ::= "' + "é" * 20_000 + '"',
            'start: "a"',
            '%llguidance {}\nroot ::= "a"',
            'root ::= "\\n%json {}"',
        )
    ),
)
"""Grammars in llama.cpp's notation, and texts that are near to one."""
