"""Valid JSON with wrong fields: types, roles, content, models and tools."""

from __future__ import annotations

import random
from typing import Any

from scenarios.odd.probe import COMPLETIONS, OddClass, OddGroup, Probe, changed, chat

_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def _message(**fields: Any) -> list[dict[str, Any]]:
    return [fields]


def _prompt(rng: random.Random) -> Probe:
    prompts: tuple[Any, ...] = (None, 5, {"text": "hello"}, [None], [["a"], 1])
    return Probe(payload={"prompt": rng.choice(prompts), "max_tokens": 8}, path=COMPLETIONS)


def _parts(rng: random.Random) -> Probe:
    parts = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "my order?"}]
    return Probe(payload=chat(rng, messages=_message(role="user", content=parts), stream=True))


def _unknown_fields(rng: random.Random) -> Probe:
    extra = {"x_trace": "abc", "user": "u-1", "metadata": {"team": "shop"}, f"field_{rng.randint(0, 99)}": None}
    return Probe(payload=chat(rng, **extra, stream=True))


_S = OddGroup.SCHEMA
_BAD, _EITHER = ("400",), ("400", "2xx")

CLASSES = (
    OddClass(
        "messages-wrong-type",
        _S,
        "The main field is no list of objects.",
        _BAD,
        changed("messages", "hello", 7, None, {}, ["hello"], [[]], [None]),
    ),
    OddClass("messages-missing", _S, "The main field is not there.", _BAD, changed("messages", ...)),
    OddClass("messages-empty", _S, "There is nothing to answer.", _BAD, changed("messages", [])),
    OddClass(
        "role-unknown",
        _S,
        "A role that no template knows must not fall through it.",
        _BAD,
        changed(
            "messages",
            _message(role="wizard", content="hi"),
            _message(role="", content="hi"),
            _message(role=3, content="hi"),
        ),
    ),
    OddClass("content-missing", _S, "A user turn without content.", _BAD, changed("messages", _message(role="user"))),
    OddClass(
        "content-null",
        _S,
        "Null is for assistant turns with tool calls only.",
        _BAD,
        changed("messages", _message(role="user", content=None)),
    ),
    OddClass(
        "content-wrong-type",
        _S,
        "Content that is no text.",
        _BAD,
        changed(
            "messages",
            _message(role="user", content=12),
            _message(role="user", content={"a": 1}),
            _message(role="user", content=[1, 2]),
        ),
    ),
    OddClass("prompt-wrong-type", _S, "A raw completion without a usable prompt.", _BAD, _prompt),
    OddClass(
        "max-tokens-wrong-type",
        _S,
        "A count that is no whole number.",
        _BAD,
        changed("max_tokens", "many", 1.5, [8], {"n": 8}),
    ),
    OddClass(
        "temperature-wrong-type",
        _S,
        "Text where a number belongs, NaN as text included.",
        _BAD,
        changed("temperature", "hot", "NaN", [0.5], {}),
    ),
    OddClass(
        "stream-wrong-type",
        _S,
        "Guessing that 'yes' is true changes the shape of the answer.",
        _BAD,
        changed("stream", "yes", 2, [True]),
    ),
    OddClass(
        "stop-wrong-type",
        _S,
        "A stop that is neither text nor a list of texts.",
        _BAD,
        changed("stop", 5, {"a": "b"}, [1, 2]),
    ),
    OddClass(
        "tools-garbage",
        _S,
        "Tools that are no tools.",
        _BAD,
        changed("tools", "hammer", [1, 2], [{"type": "saw"}], {"name": "x"}),
    ),
    OddClass(
        "response-format-garbage",
        _S,
        "A format that does not exist.",
        _BAD,
        changed("response_format", {"type": "limerick"}, "json", 5),
    ),
    OddClass(
        "logit-bias-nonsense",
        _S,
        "Token ids that are no ids, biases that are no numbers.",
        _EITHER,
        changed("logit_bias", {"cat": 5}, {"-7": 1}, {"99999999999": 1}, "x"),
    ),
    OddClass(
        "model-unknown",
        _S,
        "Answering as another model than the one asked for misleads the client.",
        ("404", "400"),
        changed("model", "gpt-17-ultra", "../../etc/passwd", ""),
    ),
    OddClass(
        "model-unicode",
        _S,
        "A model name outside ASCII must not break a header or a log.",
        ("404", "400"),
        changed("model", "модель", "模型-7b", "mo\u202edel", "🦙"),
    ),
    OddClass("model-wrong-type", _S, "A model that is no text.", _BAD, changed("model", 7, ["a"], {"id": "a"})),
    OddClass(
        "unknown-fields", _S, "Newer clients send fields that an older server does not know.", ("2xx",), _unknown_fields
    ),
    OddClass("content-parts", _S, "Content as a list of text parts is ordinary OpenAI.", ("2xx",), _parts),
    OddClass(
        "image-without-projector",
        _S,
        "A text model must say that it cannot see.",
        _BAD,
        changed("messages", _message(role="user", content=[{"type": "text", "text": "what is this?"}, _IMAGE])),
    ),
)
