"""Constraints against what Hypothesis makes up: schemas whose answers must suit them, and garbage."""

from __future__ import annotations

import json
import random
from typing import Any

from constraint_walks import allowed, constraints, model, vocab, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.decode.constraint import Constraints
from engine.decode.vocabulary import Vocabulary
from engine.errors import ConstraintError
from engine.wire import Constraint

__all__ = ["constraints", "model", "vocab"]  # fixtures


def scalars() -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(st.characters(codec="utf-8"), max_size=5)


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    least = draw(st.integers(0, 3))
    return {"type": "string", "minLength": least, "maxLength": least + draw(st.integers(0, 4))}


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    least = draw(st.integers(-500, 500))
    most = least + draw(st.integers(0, 500))
    return {"type": draw(st.sampled_from(["integer", "number"])), "minimum": least, "maximum": most}


@st.composite
def arrays(draw: st.DrawFn, items: st.SearchStrategy[Any]) -> dict[str, Any]:
    least = draw(st.integers(0, 2))
    return {"type": "array", "items": draw(items), "minItems": least, "maxItems": least + draw(st.integers(0, 2))}


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> dict[str, Any]:
    names = draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=3, unique=True))
    return {
        "type": "object",
        "properties": {name: draw(values) for name in names},
        "required": [name for name in names if draw(st.booleans())],
        "additionalProperties": False,
    }


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    leaves = st.one_of(
        strings(),
        numbers(),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["boolean", "null"]}]),
        st.builds(lambda values: {"enum": values}, st.lists(scalars(), min_size=1, max_size=4)),
        st.builds(lambda value: {"const": value}, scalars()),
    )
    return st.recursive(
        leaves,
        lambda inner: arrays(inner) | objects(inner) | st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
        max_leaves=5,
    )


KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}


def is_kind(value: Any, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def suits(value: Any, schema: dict[str, Any]) -> bool:
    """JSON Schema, as far as `schemas` makes use of it."""
    if "anyOf" in schema:
        return any(suits(value, choice) for choice in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        choices = schema.get("enum", [schema.get("const")])
        return any(type(value) is type(choice) and value == choice for choice in choices)
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if not any(is_kind(value, kind) for kind in kinds):
        return False
    if isinstance(value, str):
        return bool(schema["minLength"] <= len(value) <= schema["maxLength"])
    if isinstance(value, list):
        return bool(schema["minItems"] <= len(value) <= schema["maxItems"]) and all(
            suits(item, schema["items"]) for item in value
        )
    if isinstance(value, dict):
        properties = schema["properties"]
        return set(schema["required"]) <= value.keys() <= properties.keys() and all(
            suits(item, properties[name]) for name, item in value.items()
        )
    return isinstance(value, bool | None) or bool(schema["minimum"] <= value <= schema["maximum"])


@settings(max_examples=150, deadline=None)
@given(schema=schemas(), seed=st.integers(0, 2**32))
def test_an_answer_to_a_schema_ends_and_suits_it(
    constraints: Constraints, vocab: Vocabulary, schema: dict[str, Any], seed: int
) -> None:
    text = walk(constraints, vocab, Constraint("json_schema", json.dumps(schema)), seed)
    assert suits(json.loads(text), schema), text


GRAMMAR = """
    start : root ::= a T "x" /[a-z]+/ ( ) | * + ? {2,9} ~ & .. <[3]> [a-z] a::0 a::_ %if lt(_,5) ::incr(_) @a {} [lazy]
    %json %regex %ignore %llguidance {"type":"string"} [stop="x"] [max_tokens=2]
"""
KEYWORDS = """
    type items properties required enum const anyOf allOf oneOf $ref not $defs pattern minLength maxItems minimum
    multipleOf format patternProperties additionalProperties prefixItems $id $anchor $schema x-guidance
"""
GARBAGE = st.one_of(
    st.text(max_size=60),
    st.text('{}[]()"\\:,|*+?~.^$-<>/%&!@#=_ \n01ab', max_size=40),
    st.lists(
        st.sampled_from([*GRAMMAR.split(), "\n", "# c\n"]),
        max_size=14,
    ).map(" ".join),
    st.recursive(
        scalars(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(KEYWORDS.split()),
                inner | st.sampled_from(["string", "object", "array", "number", "#", "#/$defs/a", "^a+$", "date"]),
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(json.dumps),
)


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(["json_schema", "gbnf", "lark", "regex"]), text=GARBAGE, seed=st.integers(0, 2**32))
def test_garbage_is_served_or_refused_and_nothing_else(
    constraints: Constraints, vocab: Vocabulary, kind: str, text: str, seed: int
) -> None:
    try:
        matcher = constraints.compile(Constraint(kind, text))
    except ConstraintError:
        return
    chance = random.Random(seed)
    try:
        for _ in range(5):
            words = [token for token in allowed(matcher, vocab) if token not in vocab.ends]
            if not words:
                break
            matcher.accept(chance.choice(words))
    except ConstraintError:
        pass
    finally:
        matcher.close()
