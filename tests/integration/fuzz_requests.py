"""Strategies for whole HTTP requests, from odd to hostile: `from fuzz_requests import mutated, raw, ...`."""

from __future__ import annotations

import copy
from typing import Any

from fuzz_constraints import broken_schemas, gbnf, odd_schemas
from fuzz_shot import (
    ANSWERED,
    CHAT,
    COMPLETE,
    CTX,
    DETOKENIZE,
    EMBED,
    LITERALS,
    MODERATE,
    N_VOCAB,
    TOKENIZE,
    Shot,
    hostile_texts,
    texts,
    values,
    written,
)
from hypothesis import strategies as st

BASES: tuple[tuple[str, dict[str, Any]], ...] = (
    (CHAT, {"messages": [{"role": "user", "content": "Where is my order?"}], "max_tokens": 2}),
    (
        CHAT,
        {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
                {"role": "user", "content": "Look it up.", "name": "ann"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": '{"key": "x"}'}}],
                },
                {"role": "tool", "content": "found", "tool_call_id": "c1"},
            ],
            "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
            "max_tokens": 2,
        },
    ),
    (COMPLETE, {"prompt": "The order was", "max_tokens": 2}),
    (COMPLETE, {"prompt": ["The order was", "Our shop is"], "max_tokens": 2, "n": 2}),
    (COMPLETE, {"prompt": [[5, 6, 7], [8]], "max_tokens": 2}),
    (EMBED, {"input": ["Where is my order?", "x"], "encoding_format": "float"}),
    (TOKENIZE, {"content": "Where is my order?", "with_pieces": True}),
    (TOKENIZE, {"messages": [{"role": "user", "content": "Hello"}], "add_special": True}),
    (DETOKENIZE, {"tokens": [5, 6, 7]}),
    (MODERATE, {"input": ["Write to ann@example.com", "x"]}),
)
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(("with-tools", "gpt-4o", "", None)),
    "stream": st.booleans(),
    "stream_options": st.sampled_from(({"include_usage": True}, {}, None)),
    "n": st.integers(0, 5),
    "max_tokens": st.sampled_from((1, 3, 9, 10_000, None)),
    "max_completion_tokens": st.sampled_from((1, 5, 0)),
    "min_tokens": st.integers(0, 9),
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(-1, 2000),
    "min_p": st.floats(0, 1),
    "typical_p": st.floats(0, 1),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "stop": st.one_of(texts, hostile_texts, st.lists(texts, max_size=18)),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "repeat_penalty": st.floats(0.01, 10),
    "repeat_last_n": st.sampled_from((-1, 0, 1, 2**31 - 1)),
    "logit_bias": st.dictionaries(st.integers(0, N_VOCAB - 1).map(str), st.floats(-100, 100), max_size=4),
    "logprobs": st.sampled_from((True, False, 0, 1, 20)),
    "top_logprobs": st.integers(0, 20),
    "ignore_eos": st.booleans(),
    "echo": st.booleans(),
    "best_of": st.integers(1, 3),
    "suffix": texts,
    "user": texts,
    "metadata": values,
    "priority": st.integers(0, 9),
    "timeout_s": st.sampled_from((1e-6, 0.01, 0.2, 1e4)),
    "response_format": st.sampled_from(({"type": "text"}, {"type": "json_object"}, {"type": "json_schema"})),
    "grammar": st.sampled_from(('root ::= "a"+', "", "root ::=")),
    "tool_choice": st.sampled_from(("none", "auto", "required", {"type": "function", "function": {"name": "look"}})),
    "functions": st.sampled_from(([], [{"name": "f"}])),
    "modalities": st.sampled_from((["text"], ["text", "audio"])),
    "encoding_format": st.sampled_from(("float", "base64")),
    "dimensions": st.sampled_from((192, 1)),
    "x_unknown": values,
}


_LIKE: dict[type, st.SearchStrategy[Any]] = {str: texts | hostile_texts, int: st.integers(-2, 40), bool: st.booleans()}
"""What may replace a value of this type without being refused for its type."""
leaving = st.sampled_from((None,) * 27 + (0.0, 0.002, 0.01, 0.05))
"""Most clients stay."""


def _places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths of everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in ((*at, key), *_places(inner, (*at, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Shot:
    """A request that was valid, with options, and up to three things in it replaced, left out or doubled."""
    path, base = draw(st.sampled_from(BASES))
    body = copy.deepcopy(base)
    for name in draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=4, unique=True)):
        body[name] = copy.deepcopy(draw(OPTIONS[name]))
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 1, 2, 3)))):
        places = _places(body)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder: Any = body
        for key in way:
            holder = holder[key]
        if draw(st.integers(0, 4)) == 0:
            del holder[last]
        else:
            holder[last] = draw(_LIKE.get(type(holder[last]), values) if draw(st.booleans()) else values)
    data = written(body, ascii=draw(st.booleans()))
    if body and draw(st.integers(0, 9)) == 0:
        name = draw(st.sampled_from(sorted(body)))
        data = data[:-1] + b"," + written({name: draw(values)})[1:]
    return Shot(data, path, leaves_after_s=draw(leaving))


_CUT = written(BASES[1][1])
_TYPES = ("text/plain", "application/json; charset=utf-16", "", "application/x-www-form-urlencoded", "a/b+json", "\xff")
_PATHS = (
    *("/", "//", "/v1", "/v1/chat", "/v1/models", "/v1/models/x", "/v1/models/%00", "/props", "/health", "/ready"),
    *("/metrics", "/v1/chat/completions/", "/%ff", "/tokenize?x=%00", "/" + "a" * 3000, "/../etc/passwd", CHAT, EMBED),
)
_BAD_REQUEST = frozenset({400})


@st.composite
def _any_bytes(draw: st.DrawFn) -> Shot:
    """A body that is no JSON, or is cut off, or nests without end."""
    body = draw(
        st.one_of(
            st.binary(min_size=1, max_size=60),
            st.integers(1, len(_CUT) - 1).map(lambda size: _CUT[:size]),
            st.sampled_from(sorted(LITERALS.values())).map(str.encode),
            st.sampled_from((b"\xef\xbb\xbf{}", b"[]", b"{}", b"null", b'"a"', b"5", b"{}{}", b"\x00", b"{\xff:1}")),
            values.map(written),
        )
    )
    path = draw(st.sampled_from((CHAT, COMPLETE, EMBED, TOKENIZE, DETOKENIZE, MODERATE)))
    # Some of these values are requests: {"text": ...} is one of tokens.
    return Shot(body, path, statuses=ANSWERED if path == TOKENIZE else _BAD_REQUEST)


_wrong_types = st.builds(
    lambda kind, path: Shot(_CUT, path, headers=(("Content-Type", kind),), statuses=ANSWERED | {415}),
    st.sampled_from(_TYPES),
    st.sampled_from((CHAT, EMBED, TOKENIZE)),
)
_odd_routes = st.builds(
    lambda method, path, body: Shot(
        body, path, method, statuses=frozenset({200, 400, 404, 405, 415}) if body else frozenset({200, 400, 404, 405})
    ),
    st.sampled_from(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "POST", "TRACE")),
    st.sampled_from(_PATHS),
    st.sampled_from((b"", b"{}", b"x" * 5000)),
)
_odd_http = st.sampled_from(
    (
        Shot(b"{}", declared=1, statuses=_BAD_REQUEST),
        Shot(b"{}", declared=9, statuses=frozenset({408})),
        Shot(b"", statuses=_BAD_REQUEST),
        Shot(b"{}", declared=-1, statuses=_BAD_REQUEST),
        Shot(b"{}", declared=10**30, statuses=_BAD_REQUEST),
        Shot(b"{}", headers=(("Transfer-Encoding", "chunked"),), statuses=_BAD_REQUEST),
        Shot(b"2\r\n{}\r\n0\r\n\r\n", headers=(("Transfer-Encoding", "chunked"),), statuses=_BAD_REQUEST),
        Shot(b"{}", headers=(("Content-Encoding", "gzip"),), statuses=frozenset({415})),
        Shot(b"{}", headers=(("X-Long", "x" * 70_000),), statuses=frozenset({431})),
        Shot(b"{}", headers=tuple((f"X-{index}", "") for index in range(3_000)), statuses=frozenset({431})),
        Shot(b"{}", headers=(("Host", "a"), ("Host", "b")), statuses=_BAD_REQUEST),
        Shot(b"{}", headers=(("Expect", "100-continue"),), statuses=_BAD_REQUEST),
        Shot(b"{}", headers=(("Upgrade", "websocket"), ("Connection", "Upgrade")), statuses=_BAD_REQUEST),
        Shot(b"{}", headers=(("Traceparent", "00-zz\xff"),), statuses=_BAD_REQUEST),
        Shot(b"{}", headers=(("Bad Name", "x"),), statuses=_BAD_REQUEST),
        Shot(b"{}", method="BREW", statuses=_BAD_REQUEST | {405}),
        Shot(b'{"messages": "' + b"a" * 600_000 + b'"}', statuses=_BAD_REQUEST),
        Shot(b"[" + b"1," * 1_200_000 + b"1]", statuses=frozenset({413})),
    )
)
raw = st.one_of(_any_bytes(), _any_bytes(), _wrong_types, _odd_routes, _odd_http)
"""What is hardly a request: bytes, wrong types, odd paths and methods, framing that lies."""


_BESIDE = ("logit_bias", "presence_penalty", "repeat_penalty", "seed", "top_k", "top_p", "typical_p", "user")
"""Options that no constraint excludes, and that cannot be wrong as they are drawn."""


@st.composite
def constrained(draw: st.DrawFn, kind: str) -> Shot:
    """A request whose answer has to be in a language. kind: broken, odd or gbnf."""
    body: dict[str, Any] = {"max_tokens": draw(st.sampled_from((1, 4, 24))), "stream": draw(st.booleans())}
    body["temperature"] = draw(st.sampled_from((0, 1, 2)))
    path = draw(st.sampled_from((CHAT, COMPLETE)))
    body |= {"messages": [{"role": "user", "content": "Hello"}]} if path == CHAT else {"prompt": "Hello"}
    if kind == "gbnf":
        body["grammar"] = draw(gbnf)
        return Shot(written(body), path, param="grammar", leaves_after_s=draw(leaving))
    for name in draw(st.lists(st.sampled_from(_BESIDE), max_size=2, unique=True)):
        body[name] = copy.deepcopy(draw(OPTIONS[name]))
    broken = kind == "broken"
    schema = draw(broken_schemas if broken else odd_schemas)
    beside = not broken and draw(st.booleans())
    body["response_format"] = (
        {"type": "json_object", "schema": schema}
        if beside
        else {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    )
    statuses = _BAD_REQUEST if broken else ANSWERED
    leaves_after_s = None if broken else draw(leaving)
    return Shot(written(body), path, statuses=statuses, param="response_format", leaves_after_s=leaves_after_s)


_WORDS = ("Where is my order? ", "a", "The manual says that the shop opens at nine. ", "é😀", "1 2 3 ")


@st.composite
def crowding(draw: st.DrawFn) -> Shot:
    """A good request of any length and class, for several answers; many such share prompts, make room, or leave."""
    prompt = draw(st.sampled_from(_WORDS)) * draw(st.integers(1, 6)) + draw(texts)
    body: dict[str, Any] = {
        "prompt": prompt.encode("utf-8", "replace").decode(),
        "n": draw(st.integers(1, 3)),
        "max_tokens": draw(st.sampled_from((1, 2, 8, 30))),
        "stream": draw(st.booleans()),
        "priority": draw(st.integers(0, 9)),
        "temperature": draw(st.sampled_from((0, 1))),
        "ignore_eos": draw(st.booleans()),
    }
    if draw(st.booleans()):
        body["timeout_s"] = draw(st.sampled_from((0.001, 0.05, 1000)))
    statuses = frozenset({200, 504} if "timeout_s" in body else {200})
    leaves_after_s = draw(st.sampled_from((None, None, None, 0.0, 0.005, 0.02, 0.1)))
    return Shot(written(body), COMPLETE, statuses=statuses, choices=body["n"], leaves_after_s=leaves_after_s)


@st.composite
def full_prompts(draw: st.DrawFn) -> Shot:
    """Prompts of about as many tokens as fit."""
    size = draw(st.sampled_from((1, CTX - 2, CTX - 1, CTX, CTX + 1, 3 * CTX)))
    path = draw(st.sampled_from((COMPLETE, EMBED)))
    fits = size < CTX if path == COMPLETE else size <= CTX
    ids = [draw(_good_id)] * size
    body = {"prompt": ids, "n": 2, "max_tokens": draw(st.sampled_from((1, 5)))} if path == COMPLETE else {"input": ids}
    param = "prompt" if path == COMPLETE else "input"
    return Shot(written(body), path, statuses=frozenset({200}) if fits else _BAD_REQUEST, param=param)


_good_id = st.integers(0, N_VOCAB - 1)
_bad_id = st.sampled_from(
    (-1, N_VOCAB, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, -(2**31), 10**40, 1.0, True, None, "5", "~nan~")
)


@st.composite
def token_ids(draw: st.DrawFn) -> Shot:
    """Token ids in and out of range, as prompts, inputs, lists and biases; the status that each has to get is known."""
    ids: list[Any] = draw(st.lists(_good_id, min_size=1, max_size=12))
    good = draw(st.booleans())
    wrong = draw(_bad_id)
    path = draw(st.sampled_from((COMPLETE, CHAT, EMBED, DETOKENIZE)))
    if path == CHAT:
        key = draw(st.sampled_from(("-1", str(N_VOCAB), "4294967296", "1e2", "٣", " 5", "", "0x1", "+1")))
        bias = {str(id): draw(st.floats(-100, 100)) for id in ids} | ({} if good else {key: 0})
        body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2, "logit_bias": bias}
    else:
        if not good:
            ids.insert(draw(st.integers(0, len(ids))), wrong)
        name = {COMPLETE: "prompt", EMBED: "input", DETOKENIZE: "tokens"}[path]
        body = {name: [ids] if path != DETOKENIZE and draw(st.booleans()) else ids}
        if path == COMPLETE:
            body["max_tokens"] = 2
    return Shot(written(body), path, statuses=frozenset({200}) if good else _BAD_REQUEST)
