"""Image files for tests, made from a few numbers."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

_HEADER, _CHUNK = struct.Struct(">IIBBBBB"), struct.Struct(">I")


def png(seed: int, width: int = 48, height: int = 32) -> bytes:
    """A PNG of coloured noise, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return png_of(width, height, b"".join(b"\0" + row.tobytes() for row in pixels))


def png_of(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG whose header (RGB unless told otherwise) and rows are as given, whether they fit together or not."""
    header = _HEADER.pack(width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _CHUNK.pack(len(data)) + kind + data + _CHUNK.pack(zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    )


def jpeg(level: int, width: int = 16, height: int = 16, *, scans: int = 1) -> bytes:
    """A JPEG of one grey, `level` (0 to 31) above the middle; its only scan stands there `scans` times."""
    tables = _segment(0xDB, b"\0" + bytes([8]) * 64)  # each coefficient counts eight times
    tables += _segment(0xC4, b"\0" + bytes([1, 1]) + bytes(14) + b"\0\x06")  # no change: 0; six bits follow: 10
    tables += _segment(0xC4, b"\x10" + bytes([1]) + bytes(15) + b"\0")  # end of block: 0
    frame = _segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    blocks = -(-width // 8) * -(-height // 8)
    bits = f"10{32 + level:06b}0" + "00" * (blocks - 1)
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    scan = _segment(0xDA, b"\1\1\0\0\x3f\0") + data
    return b"\xff\xd8" + _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + tables + frame + scan * scans + b"\xff\xd9"


def data_url(image: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(image).decode()}"


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
