"""One answer in the making: what chooses its tokens, and the text that they make certain."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np

from engine import wire
from engine.decode.constraint import Matcher
from engine.decode.llama import Llama
from engine.decode.projector import Rows
from engine.decode.sampler import Sampler
from engine.decode.schedule import Chosen
from engine.decode.text import TextAssembler
from engine.errors import ConstraintError, DecodeError


class NotNumbers(DecodeError):
    """Logits are NaN, in one row."""


@dataclass(slots=True)
class Answer:
    """What a request needs besides its place in the schedule."""

    request: wire.Submit
    sampler: Sampler | None
    matcher: Matcher | None
    text: TextAssembler
    prompt_tokens: int
    rows: tuple[Rows, ...] = ()
    """Of each image in the prompt; kept until the end, since a prompt may have to be computed again."""
    new: int = 0
    """Tokens chosen so far."""
    sample_s: float = 0.0
    """Seconds that llama.cpp's sampler took for the last token."""
    logprobs: list[wire.TokenLogprob] = field(default_factory=list)
    """Not sent yet."""

    def choose(self, llama: Llama, row: int) -> tuple[Chosen, str]:
        """The next token from the logits of `row`, and text to send.

        Raises NotNumbers when the logits are none, ConstraintError when the constraint is to blame.
        """
        sampling, vocab = self.request.sampling, llama.vocab
        wanted = sampling.top_logprobs
        model_says = llama.logits(row).copy() if wanted >= 0 else None
        no_end = self.new < sampling.min_tokens or (sampling.ignore_eos and self.sampler is None)
        if self.matcher is not None:
            self.matcher.ban(llama.logits(row))
            no_end = no_end and not self.matcher.finished  # then nothing else is left
        if no_end:
            llama.logits(row)[vocab.end_tokens] = -np.inf
        if self.sampler is None:
            token = int(llama.logits(row).argmax())
            self.sample_s = 0.0
        else:
            start = time.perf_counter()
            token = llama.sample(self.sampler, row)
            self.sample_s = time.perf_counter() - start
        chosen = llama.logit(row, token) if 0 <= token < vocab.size else math.nan
        if math.isnan(chosen):
            raise NotNumbers("the model computed values that are no numbers; its file may be damaged")
        if chosen == -math.inf:
            raise ConstraintError("logit_bias, min_tokens and the constraint together leave no token to choose")
        self.new += 1
        if model_says is not None:
            self.logprobs.append(llama.logprobs(model_says, token, wanted))
        if token in vocab.ends:
            return Chosen(token, ends=True), ""
        if self.matcher is not None:
            self.matcher.accept(token)
        text = self.text.push(vocab.piece(token, control=self.request.show_control))
        return Chosen(token, ends=self.text.stopped), text

    def taken_logprobs(self) -> list[wire.TokenLogprob] | None:
        """Those not sent yet; None when none are wanted."""
        if self.request.sampling.top_logprobs < 0:
            return None
        taken, self.logprobs = self.logprobs, []
        return taken

    def close(self) -> None:
        """Free what llama.cpp and the constraint's process hold for it."""
        if self.sampler is not None:
            self.sampler.close()
        if self.matcher is not None:
            self.matcher.close()
