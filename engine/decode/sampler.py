"""llama.cpp's samplers: one chain for each sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engine.decode.bindings import L
from engine.decode.vocabulary import Vocabulary
from engine.errors import DecodeError
from engine.wire import Sampling

CANDIDATES = 1024
"""Most tokens that random sampling chooses from; top_k 0 means this many. Sorting all of a vocabulary of 152k, as top_p
and typical_p do, takes 10 to 16 ms, and every other sequence waits for it; this many take 0.3 ms."""
_LOOK_BACK = 1 << 16
"""Most tokens that penalties look back on; repeat_last_n below 0 means this many."""
_COLD = 1e-4
"""A lower temperature is none: logits divided by it leave the range in which float32 tells them apart."""
_BIAS_LIMIT = 1e6
_NO_CHANCE = 1e-30
"""Relative to the likeliest token."""


class Sampler:
    """A sampler chain of llama.cpp for one sequence, with its own random state. Close it when the sequence ends."""

    def __init__(self, chain: int) -> None:
        self.chain = chain

    def close(self) -> None:
        if self.chain:
            L.llama_sampler_free(self.chain)
            self.chain = 0


def check_sampling(sampling: Sampling, vocab: Vocabulary) -> None:
    """Raises DecodeError for what llama.cpp would take as another number, or would not survive."""
    for token, bias in sampling.logit_bias:
        if not 0 <= token < vocab.size:
            raise DecodeError(f"logit_bias: there is no token {token}; the model's are 0 to {vocab.size - 1}")
        if not (bias == -math.inf or abs(bias) <= _BIAS_LIMIT):
            raise DecodeError(f"logit_bias: {bias} for token {token} is not in -100 to 100")
    for name in ("temperature", "top_p", "min_p", "typical_p"):
        if not math.isfinite(getattr(sampling, name)):
            raise DecodeError(f"{name}: {getattr(sampling, name)} is no finite number")
    for name in ("presence_penalty", "frequency_penalty", "repeat_penalty"):
        if not abs(getattr(sampling, name)) <= _BIAS_LIMIT:
            raise DecodeError(f"{name}: {getattr(sampling, name)} is too far from 0")
    if sampling.repeat_penalty <= 0.0:
        raise DecodeError(f"repeat_penalty: {sampling.repeat_penalty} is not above 0; 1 changes nothing")


def make_sampler(sampling: Sampling, vocab: Vocabulary) -> Sampler | None:
    """A chain for one sequence; None when the likeliest token is wanted and nothing else touches the logits.

    The penalties look back on the generated tokens only, as OpenAI defines presence and frequency penalty, and not on
    the prompt. The order is that of llama.cpp's own server: bias, penalties, top_k, typical_p, top_p, min_p,
    temperature. A chain also bans end tokens for `ignore_eos`; for `min_tokens`, and where there is no chain, they are
    banned in the logits before. Raises DecodeError: see check_sampling.
    """
    check_sampling(sampling, vocab)
    links = _adjusting(sampling, vocab)
    if sampling.ignore_eos and (links or sampling.temperature > _COLD):
        links.insert(0, _biased([(token, -math.inf) for token in sorted(vocab.ends)], vocab))
    if sampling.temperature > _COLD:
        return _chain([*links, *_choosing(sampling)])
    return _chain([*links, L.llama_sampler_init_greedy()]) if links else None


def _adjusting(sampling: Sampling, vocab: Vocabulary) -> list[int]:
    """Links that change single logits; they come before every cut, as they decide who is in it."""
    links = []
    if sampling.logit_bias:
        links.append(_biased(sampling.logit_bias, vocab))
    look_back = min(sampling.repeat_last_n, _LOOK_BACK) if sampling.repeat_last_n >= 0 else _LOOK_BACK
    repeat, frequency, presence = sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty
    if look_back and (repeat, frequency, presence) != (1.0, 0.0, 0.0):
        if repeat >= 1.0 and frequency >= 0.0 and presence >= 0.0 and look_back <= CANDIDATES:
            # Penalties that only lower at most `look_back` tokens cannot bring up another from further down than this.
            # Over a whole vocabulary of 152k they take 0.7 ms.
            links.append(L.llama_sampler_init_top_k(_candidates(sampling) + look_back))
        links.append(L.llama_sampler_init_penalties(vocab.size, look_back, repeat, frequency, presence))
    return links


def _biased(pairs: Sequence[tuple[int, float]], vocab: Vocabulary) -> Any:
    biases = (L.llama_logit_bias * len(pairs))()
    for bias, (token, value) in zip(biases, pairs, strict=True):
        bias.token, bias.bias = token, value
    return L.llama_sampler_init_logit_bias(vocab.size, len(biases), biases)


def _choosing(sampling: Sampling) -> list[int]:
    """Links that cut the candidates and choose one of them."""
    links = [L.llama_sampler_init_top_k(_candidates(sampling))]
    if sampling.typical_p < 1.0:
        # It would take the logarithm of a banned token's probability, and then know nothing of any other's.
        links.append(L.llama_sampler_init_min_p(_NO_CHANCE, 1))
        links.append(L.llama_sampler_init_typical(sampling.typical_p, 1))
    if sampling.top_p < 1.0:
        links.append(L.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0.0:
        links.append(L.llama_sampler_init_min_p(sampling.min_p, 1))
    links.append(L.llama_sampler_init_temp(sampling.temperature))
    # The largest seed means a random one to llama.cpp.
    links.append(L.llama_sampler_init_dist(sampling.seed % 0xFFFFFFFF))
    return links


def _candidates(sampling: Sampling) -> int:
    return min(sampling.top_k, CANDIDATES) if sampling.top_k > 0 else CANDIDATES


def _chain(links: list[int]) -> Sampler:
    chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    if not (chain and all(links)):  # a NULL in a chain is a segfault at the first sample
        for made in (chain, *links):
            if made:
                L.llama_sampler_free(made)
        raise DecodeError("llama.cpp made no sampler for these settings")
    for link in links:
        L.llama_sampler_chain_add(chain, link)
    return Sampler(chain)
