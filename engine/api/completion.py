"""POST /v1/completions: what a client may send."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from engine.api.messages import bad
from engine.api.schemas import MAX_ANSWERS, Fields, Natural, decode, not_supported

DEFAULT_MAX_TOKENS = 16
"""OpenAI's."""

Prompt = str | list[int]


class CompletionRequest(Fields, kw_only=True):
    """A completion request."""

    prompt: Any
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: Natural | None = None

    @property
    def answer_limit(self) -> int:
        """Most tokens of the answer."""
        return DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def top_logprob_count(self) -> int:
        """As wire.Sampling.top_logprobs has it."""
        return -1 if self.logprobs is None else self.logprobs

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts, each text or token ids."""
        prompt = self.prompt
        several = isinstance(prompt, list) and not isinstance(prompt[0], int)
        return prompt if several else [prompt]


_decoder = msgspec.json.Decoder(CompletionRequest)


def parse_completion(body: bytes) -> CompletionRequest:
    """Decode and check a completion request. Raises BadRequest naming the field."""
    request = decode(_decoder, body)
    _check_prompt(request.prompt)
    if request.suffix:
        raise not_supported("suffix", "put what comes before and after into the prompt as the model's card says")
    if request.best_of is not None and request.best_of > (request.n or 1):
        raise not_supported("best_of", "leave it out, or ask for n answers")
    if request.echo and any(isinstance(prompt, list) for prompt in request.prompts):
        raise not_supported("echo", "it needs a prompt of text, not of token ids")
    if request.echo and request.logprobs is not None:
        raise not_supported("echo", "the prompt's tokens have no logprobs here: leave out echo or logprobs")
    if request.min_tokens and request.min_tokens > request.answer_limit:
        raise bad("min_tokens", f"min_tokens is {request.min_tokens}, above the limit of {request.answer_limit} tokens")
    return request


def _check_prompt(prompt: object) -> None:
    if isinstance(prompt, str):
        if not prompt:
            raise bad("prompt", "prompt is empty: send some text")
        return
    if not isinstance(prompt, list):
        raise bad("prompt", "prompt must be a string, an array of strings, of token ids, or of arrays of token ids")
    if not prompt:
        raise bad("prompt", "prompt is empty: send some text or token ids")
    if _are_ids(prompt):
        return
    if len(prompt) > MAX_ANSWERS:
        raise bad("prompt", f"at most {MAX_ANSWERS} prompts are taken in one request, not {len(prompt)}")
    for index, item in enumerate(prompt):
        if not (isinstance(item, str) or (isinstance(item, list) and _are_ids(item))):
            raise bad("prompt", f"prompt[{index}] must be a string or an array of token ids (integers from 0)")
        if not item:
            raise bad("prompt", f"prompt[{index}] is empty: send some text or token ids")


def _are_ids(items: list[object]) -> bool:
    # bool is an int to isinstance, and true is no token.
    return all(type(item) is int and item >= 0 for item in items)
