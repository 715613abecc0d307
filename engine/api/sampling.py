"""From a request's fields to the decode process's terms: Sampling, seeds, Constraint."""

from __future__ import annotations

import math
import secrets

from engine.api.messages import bad
from engine.api.schemas import Fields, ResponseFormat
from engine.wire import Constraint, Sampling

TOP_K_CAP = 1024
"""top_k 0 or -1 means "all"; llama.cpp's top_p over a whole vocabulary takes 16 ms a token, over this many none."""
BAN = -100.0
"""A logit_bias of this bans the token."""
LAST_RESORT = -1e6
"""Added to the logits of banned tokens where others may leave no choice: then, and only then, one of them is taken."""
COLDEST = 1e-5
"""Below this temperature single precision overflows; it is the likeliest token that is meant."""
SEEDS = 0xFFFFFFFF
"""Seeds are below this; the value itself would make llama.cpp draw a seed of its own."""


def sampling_of(fields: Fields, top_logprobs: int, *, ctx: int, n_vocab: int, constrained: bool = False) -> Sampling:
    """The sampler's settings but for the seed. constrained: the answer must be in some language.

    Raises BadRequest naming the field that does not suit the model.
    """
    top_k = 40 if fields.top_k is None else fields.top_k
    last_n = 64 if fields.repeat_last_n is None else fields.repeat_last_n
    repeat = fields.repetition_penalty if fields.repeat_penalty is None else fields.repeat_penalty
    temperature = _or(fields.temperature, 1.0)
    return Sampling(
        temperature=temperature if temperature >= COLDEST else 0.0,
        top_k=min(top_k, TOP_K_CAP) if top_k > 0 else TOP_K_CAP,
        top_p=_or(fields.top_p, 1.0),
        min_p=_or(fields.min_p, 0.0),
        typical_p=_or(fields.typical_p, 1.0),
        presence_penalty=_or(fields.presence_penalty, 0.0),
        frequency_penalty=_or(fields.frequency_penalty, 0.0),
        repeat_penalty=_or(repeat, 1.0),
        # -1 is llama.cpp's "the whole context"; more would only cost memory.
        repeat_last_n=ctx if last_n < 0 else min(last_n, ctx),
        logit_bias=_biases_of(
            fields.logit_bias or {}, n_vocab, limited=bool(constrained or fields.ignore_eos or fields.min_tokens)
        ),
        ignore_eos=bool(fields.ignore_eos),
        min_tokens=fields.min_tokens or 0,
        top_logprobs=top_logprobs,
    )


def seeds_of(seed: int | None, prompts: int, n: int) -> list[int]:
    """A seed for each answer, prompt by prompt. The i-th answer to a prompt has seed + i, as if it was asked alone;
    without a seed each has a random one."""
    if seed is None:
        return [secrets.randbelow(SEEDS) for _ in range(prompts * n)]
    return [(seed + index) % SEEDS for index in range(n)] * prompts


def constraint_of(fields: Fields) -> Constraint | None:
    """The language that the answer must be in. Raises BadRequest naming the field."""
    wanted = None if fields.response_format is None else _constraint_of_format(fields.response_format)
    if fields.grammar is None:
        return wanted
    if wanted is not None:
        raise bad("grammar", "grammar and response_format both say what the answer must be: send one of them")
    if not fields.grammar.strip():
        raise bad("grammar", "grammar is empty: send GBNF rules, with one called root")
    return Constraint("gbnf", fields.grammar)


def _biases_of(given: dict[str, float], n_vocab: int, *, limited: bool) -> list[tuple[int, float]]:
    """Token ids and what is added to their logits, by id. limited: other tokens may be banned for other reasons.

    Raises BadRequest naming logit_bias.
    """
    ban = LAST_RESORT if limited else -math.inf
    biases: dict[int, float] = {}
    for key, value in given.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 10 and int(key) < n_vocab):
            raise bad("logit_bias", f"logit_bias: {key[:40]!r} is no token id: the model has 0 to {n_vocab - 1}")
        biases[int(key)] = ban if value == BAN else value
    if sum(value == ban for value in biases.values()) >= n_vocab:
        raise bad("logit_bias", "logit_bias bans every token: leave some")
    return sorted(biases.items())


def _constraint_of_format(wanted: ResponseFormat) -> Constraint | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        schema = bytes(wanted.schema)
        return Constraint("json_schema", _schema_text(schema, "schema")) if schema else Constraint("json")
    if wanted.type == "json_schema":
        if wanted.json_schema is None:
            raise bad("response_format", "response_format.json_schema is missing: send {name, schema}")
        return Constraint("json_schema", _schema_text(bytes(wanted.json_schema.schema), "json_schema.schema"))
    raise bad("response_format", "response_format.type must be one of text, json_object, json_schema")


def _schema_text(schema: bytes, where: str) -> str:
    if not schema.startswith(b"{"):
        raise bad("response_format", f"response_format.{where} must be a JSON Schema: an object")
    try:
        return schema.decode()
    except UnicodeDecodeError as error:
        raise bad("response_format", f"response_format.{where} is not valid UTF-8") from error


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)
