"""A request's segments as one prompt: tokens, and rows where images stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine import wire
from engine.decode.images import ImageSpan, pseudo_tokens
from engine.decode.projector import Picture, Projector, Rows, digest_of
from engine.decode.vocabulary import Vocabulary
from engine.errors import DecodeError
from engine.image_file import measure


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be computed before the answer. `rows[i]` stand at `images[i]`; none while they are not encoded."""

    tokens: list[int]
    """Those of images are pseudo tokens."""
    images: tuple[ImageSpan, ...] = ()
    rows: tuple[Rows, ...] = ()


class Prompts:
    """Makes prompts. Several threads may do so at a time, but only one of them with images."""

    def __init__(self, vocab: Vocabulary, projector: Projector | None, ctx: int) -> None:
        self._vocab, self._projector, self._ctx = vocab, projector, ctx

    def make(self, segments: Sequence[wire.Segment], *, add_bos: bool, wanted: Callable[[], bool]) -> Prompt:
        """The prompt; its images are encoded only if it fits into the context, and as long as it is `wanted`.

        Raises DecodeError, or ImageError when a file cannot be taken.
        """
        tokens: list[int] = []
        images: list[ImageSpan] = []
        for segment in segments:
            if segment.image:
                self._place(segment.image, tokens, images)
            elif segment.tokens:
                tokens += [self._vocab.known(token) for token in segment.tokens]
            else:
                tokens += self._vocab.tokenize(segment.text, special=segment.scaffold)
        if add_bos and tokens[:1] != [self._vocab.bos]:
            tokens.insert(0, self._vocab.bos)
            images = [ImageSpan(span.start + 1, span.end + 1, span.whole) for span in images]
        if len(tokens) >= self._ctx or self._projector is None:
            return Prompt(tokens, tuple(images))
        rows: list[Rows] = []
        for image in [segment.image for segment in segments if segment.image]:
            if not wanted():
                raise DecodeError("the request was cancelled")
            rows += self._projector.rows(image)
        for span, one in zip(images, rows, strict=True):
            if span.end - span.start != len(one.values):
                raise DecodeError(f"an image has {len(one.values)} rows and not {span.end - span.start}")
        return Prompt(tokens, tuple(images), tuple(rows))

    def _place(self, image: bytes, tokens: list[int], images: list[ImageSpan]) -> None:
        """Add the positions of an image."""
        if self._projector is None:
            raise DecodeError("images need a projector, and none is loaded")
        for index, part in enumerate(self._projector.layout(measure(image))):
            if not isinstance(part, Picture):
                tokens += part
                continue
            most = self._projector.longest_whole
            if part.whole and part.count > most:
                raise DecodeError(f"the image takes {part.count} positions at once, and {most} fit: send a smaller one")
            images.append(ImageSpan(len(tokens), len(tokens) + part.count, part.whole))
            tokens += pseudo_tokens(digest_of(image) + index.to_bytes(2), part.count)
