"""Images inside prompts, as the schedule sees them: runs of positions that no vocabulary has tokens for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_INDEX_BITS = 32


@dataclass(frozen=True, slots=True)
class ImageSpan:
    """Positions [start, end) of a prompt that one image, or one tile of it, takes."""

    start: int
    end: int
    whole: bool = False
    """Its positions see each other, so one llama_decode computes all of them."""


def pseudo_tokens(digest: bytes, count: int) -> list[int]:
    """Stand-ins for the positions of an image: negative, the same for the same image, so that prompts with it are
    shared like others. `digest` is long enough that nobody finds two images with the same one."""
    base = int.from_bytes(digest) << _INDEX_BITS
    return [-(base + index) - 1 for index in range(count)]


def is_image(token: int) -> bool:
    """Whether it stands for a position of an image."""
    return token < 0


def span_at(images: Sequence[ImageSpan], position: int) -> tuple[int, ImageSpan]:
    """The image that takes this position, and its index."""
    return next((index, span) for index, span in enumerate(images) if span.start <= position < span.end)


def piece_end(images: Sequence[ImageSpan], start: int, end: int) -> int:
    """Where a piece that begins at `start`, and would end at `end`, has to end: it is all text or of one image, which
    it does not cut when that is to stay whole."""
    for span in images:
        if span.start <= start < span.end:
            return span.end if span.whole else min(end, span.end)
        if start < span.start < end:
            return span.start
    return end


def outside(images: Sequence[ImageSpan], length: int) -> int:
    """The longest beginning of at most `length` positions that no image is cut by."""
    return next((span.start for span in images if span.start < length < span.end), length)
