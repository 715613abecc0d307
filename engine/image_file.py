"""What an image file claims about itself: format and size from its header, and whether decoding it stays within bounds.

Pure. What is checked here goes to a C decoder, and a file from outside must neither crash it nor make it take memory or
time without end: a PNG may inflate to a thousand times its size, a progressive JPEG may hold any number of scans.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from engine.errors import EngineError

MAX_BYTES = 16 * 1024 * 1024
MAX_SIDE = 8192
MAX_PIXELS = 25_000_000
MAX_RATIO = 100
"""Of the longer side to the shorter one."""
MAX_SCANS = 64
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_HEADER, _PNG_CHUNK = struct.Struct(">4xIIBBBBB"), struct.Struct(">I4s")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""PNG's colour types."""
_SIZED = {0xC0, 0xC1, 0xC2}
"""JPEG markers (start of frame) that the decoder knows: baseline, extended, progressive."""
_SKIPPED = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}
"""JPEG markers that may come before: tables, restart interval, comment, application data."""
_KNOWN_OTHERS = ((b"GIF8", "GIF"), (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"%PDF", "PDF"))
_BLOCK = 1 << 20


class ImageError(EngineError):
    """The bytes are no image that can be taken; the message says why and what to send."""


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels."""

    width: int
    height: int


def measure(data: bytes) -> Size:
    """The size that the header of a PNG or JPEG states, within the bounds. Raises ImageError."""
    if len(data) > MAX_BYTES:
        raise ImageError(f"the image has {len(data)} bytes, and {MAX_BYTES} are allowed: send a smaller one")
    if data.startswith(_PNG):
        size = _png_size(data)
    elif data.startswith(_JPEG):
        size = _jpeg_size(data)
    else:
        raise ImageError(f"the image is {_guess(data)}: send PNG or JPEG")
    short, long = sorted((size.width, size.height))
    if short < 1 or long > MAX_SIDE or short * long > MAX_PIXELS or long > MAX_RATIO * short:
        raise ImageError(
            f"the image is {size.width} x {size.height} pixels: send one of at most {MAX_SIDE} a side, "
            f"{MAX_PIXELS} in all and {MAX_RATIO} times as long as wide"
        )
    return size


def check_effort(data: bytes) -> None:
    """Make sure that a file which `measure` took costs no more to decode than its size says. Raises ImageError.

    Takes as long as inflating it: not for an event loop.
    """
    if data.startswith(_PNG):
        _check_png(data)
    elif data.count(b"\xff\xda") > MAX_SCANS:
        raise ImageError(f"the JPEG has more than {MAX_SCANS} scans: save it as baseline JPEG")


def _guess(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP, which is not supported"
    if data[4:8] == b"ftyp":
        return "HEIC, AVIF or a video, which are not supported"
    known = (name for magic, name in _KNOWN_OTHERS if data.startswith(magic))
    return next((f"{name}, which is not supported" for name in known), "of an unknown format")


def _png_size(data: bytes) -> Size:
    if len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        raise ImageError("the PNG has no header: it is damaged")
    width, height, _depth, colour, _compression, _filter, _interlace = _PNG_HEADER.unpack_from(data, 12)
    if colour not in _CHANNELS:
        raise ImageError(f"the PNG has the colour type {colour}, which there is not: it is damaged")
    return Size(width, height)


def _check_png(data: bytes) -> None:
    width, height, depth, colour, *_rest = _PNG_HEADER.unpack_from(data, 12)
    row = (width * depth * _CHANNELS[colour] + 7) // 8 + 1
    most = 2 * row * height + 4096  # interlaced ones have some more, shorter rows
    inflate, at, inflated = zlib.decompressobj(), len(_PNG), 0
    while at + _PNG_CHUNK.size <= len(data):
        length, kind = _PNG_CHUNK.unpack_from(data, at)
        at += _PNG_CHUNK.size
        if kind == b"IDAT":
            inflated += _inflated(inflate, data[at : at + length], most - inflated)
        if inflated > most:
            raise ImageError("the PNG holds more data than its pixels need: it is damaged")
        at += length + 4


def _inflated(inflate: zlib._Decompress, piece: bytes, most: int) -> int:
    """Bytes that `piece` adds; a little above `most` when it adds more."""
    count = 0
    try:
        while piece and count <= most:
            count += len(inflate.decompress(piece, _BLOCK))
            piece = inflate.unconsumed_tail
    except zlib.error as error:
        raise ImageError("the pixels of the PNG cannot be inflated: it is damaged") from error
    return count


def _jpeg_size(data: bytes) -> Size:
    """From the first start of frame. Stricter than decoders are: no stray bytes between segments."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _SIZED:
            return Size(int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7]))
        elif marker in _SKIPPED:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
        else:
            break
    raise ImageError("the JPEG states no size that can be read: it is damaged, or of a rare kind; save it as baseline")
