"""Bodies of the endpoints beside generation: whatever comes is taken or refused, and never anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.messages import Message, Tool, check_message, check_tools
from engine.api.moderate import CATEGORIES, UNCHECKED, judge, parse_moderation
from engine.api.utility_schemas import parse_detokenize, parse_embeddings, parse_tokenize
from engine.errors import BadRequest
from engine.safety import DETECTORS

PARSERS: list[Callable[[bytes], object]] = [
    partial(parse_embeddings, n_embd=4, n_vocab=100),
    parse_tokenize,
    partial(parse_detokenize, n_vocab=100),
    parse_moderation,
]
FIELDS = ["input", "content", "text", "prompt", "messages", "tools", "tokens", "dimensions", "encoding_format", "model"]
KEYS = st.sampled_from([*FIELDS, "type", "role", "function", "name", "tool_calls", "image_url", "with_pieces"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
)


@settings(deadline=None)
@given(st.sampled_from(PARSERS), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3) | VALUES)
def test_any_body_is_parsed_or_refused_as_a_bad_request(parse: Callable[[bytes], object], value: object) -> None:
    refused = None
    parsed: object = None
    try:
        parsed = parse(json.dumps(value).encode())
    except BadRequest as error:
        refused = error
    assert refused is None or (refused.status == 400 and refused.message)
    assert all(isinstance(text, str | list) for text in getattr(parsed, "texts", []))


def test_bodies_that_are_no_json_or_too_deep_are_refused() -> None:
    for body in (b"", b"{", b"\xff", b'{"input": "\xff"}', b'{"input": ' + b"[" * 100_000):
        for parse in PARSERS:
            with pytest.raises(BadRequest):
                parse(body)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "pilot", "content": "x"}, "m.role"),
        ({"role": "user"}, "m.content"),
        ({"role": "user", "content": [{"type": "text"}]}, "m.content[0].text"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "m.content[0].type"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "m.content[0].type"),
        ({"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f"}}]}, "m.tool_calls"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f g"}}]}, "m.tool_calls[0].function.name"),
        ({"role": "assistant", "tool_calls": [{"type": "x", "function": {"name": "f"}}]}, "m.tool_calls[0].type"),
    ],
)
def test_a_wrong_message_is_refused_by_its_fields_name(message: object, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_message("m", msgspec.convert(message, Message), images=False)
    assert caught.value.param == param


def test_an_image_is_taken_only_where_it_is_seen_and_needs_its_url() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    check_message("m", msgspec.convert(image, Message), images=True)
    with pytest.raises(BadRequest, match="needs its image_url"):
        check_message("m", msgspec.convert({"role": "user", "content": [{"type": "image_url"}]}, Message), images=True)


def test_tools_are_bounded_in_number_and_have_usable_names_of_their_own() -> None:
    def tools(*names: str) -> list[Tool]:
        return [msgspec.convert({"function": {"name": name}}, Tool) for name in names]

    check_tools(tools("a", "b.c", "d_e-f/g:h"))
    for wrong in (tools("a", "a"), tools(""), tools("<|im_end|>"), tools(*(f"f{n}" for n in range(129)))):
        with pytest.raises(BadRequest):
            check_tools(wrong)


def test_every_category_is_either_looked_for_or_named_as_unchecked() -> None:
    looked_for = {category for detector in DETECTORS for category in detector.categories}
    result = judge("Write to jane.roe@harbour-shoes.com")
    assert set(result["categories"]) == looked_for | set(UNCHECKED)
    assert set(CATEGORIES) <= set(result["categories"])
    assert not looked_for & set(UNCHECKED)
    for category, score in result["category_scores"].items():
        assert (score > 0) == result["categories"][category] == (category == "pii.email")
