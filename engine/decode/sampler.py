"""llama.cpp's samplers: one chain for each sequence."""

from __future__ import annotations

from engine.decode.bindings import L
from engine.decode.vocabulary import Vocabulary
from engine.errors import DecodeError
from engine.wire import Sampling


class Sampler:
    """A sampler chain of llama.cpp for one sequence, with its own random state. Close it when the sequence ends."""

    def __init__(self, chain: int) -> None:
        self.chain = chain

    def close(self) -> None:
        if self.chain:
            L.llama_sampler_free(self.chain)
            self.chain = 0


def make_sampler(sampling: Sampling, vocab: Vocabulary) -> Sampler | None:
    """A chain for one sequence; None when the likeliest token is wanted and nothing else touches the logits."""
    plain = sampling.presence_penalty == sampling.frequency_penalty == 0.0 and sampling.repeat_penalty == 1.0
    if sampling.temperature <= 0.0 and plain and not sampling.ignore_eos:
        return None
    chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    if not chain:
        raise DecodeError("llama.cpp made no sampler chain")
    links = []
    if sampling.ignore_eos and vocab.ends:
        biases = (L.llama_logit_bias * len(vocab.ends))()
        for bias, token in zip(biases, sorted(vocab.ends), strict=True):
            bias.token, bias.bias = token, -float("inf")
        links.append(L.llama_sampler_init_logit_bias(vocab.size, len(biases), biases))
    # The cap comes first: over a vocabulary of 152k, top_p alone takes 16 ms and with the cap 0.1 ms.
    links.append(L.llama_sampler_init_top_k(sampling.top_k))
    if not plain:
        links.append(
            L.llama_sampler_init_penalties(
                vocab.size, 64, sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty
            )
        )
    if sampling.temperature <= 0.0:
        links.append(L.llama_sampler_init_greedy())
    else:
        if sampling.top_p < 1.0:
            links.append(L.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0.0:
            links.append(L.llama_sampler_init_min_p(sampling.min_p, 1))
        links.append(L.llama_sampler_init_temp(sampling.temperature))
        links.append(L.llama_sampler_init_dist(sampling.seed))
    for link in links:
        if not link:  # a NULL in a chain is a segfault at the first sample
            L.llama_sampler_free(chain)
            raise DecodeError("llama.cpp made no sampler for these settings")
        L.llama_sampler_chain_add(chain, link)
    return Sampler(chain)
