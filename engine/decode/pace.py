"""How many prompt tokens a step may compute so that it ends in time. Pure: told what past steps took."""

from __future__ import annotations

_WEIGHT = 0.3
"""Of the newest measurement in the moving averages."""
FEWEST = 64
"""A step computes at least this many prompt tokens, so that a long prompt ends beside running streams also where the
model is slow. On a CPU (160 MB, Q8_0) 64 in a call reach 97 % of the best speed, 32 reach 89 %, 16 reach 78 %."""


class Pace:
    """Moving averages of the two things that a step spends time on: a token of each stream, and tokens of prompts."""

    def __init__(self, target_s: float, token_s: float, most: int) -> None:
        """`token_s`: seconds per prompt token, measured at the start. `most`: tokens that one step may compute."""
        self._target_s = target_s
        self._token_s = token_s
        self._rows_s = 0.0
        self._most = most

    def computed(self, tokens: int, seconds: float) -> None:
        """A prompt chunk was computed. Tiny ones say nothing about the price of a token."""
        if tokens >= FEWEST // 4:
            self._token_s += _WEIGHT * (seconds / tokens - self._token_s)

    def decoded(self, seconds: float) -> None:
        """One token of every running stream was computed."""
        self._rows_s += _WEIGHT * (seconds - self._rows_s)

    def prompt_tokens(self, *, streams: bool) -> int:
        """Prompt tokens for the next step; `streams`: whether some are running and share the time."""
        room_s = self._target_s - (self._rows_s if streams else 0.0)
        return max(FEWEST, min(self._most, int(room_s / self._token_s)))
