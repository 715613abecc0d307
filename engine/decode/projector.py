"""The projector: from an image file to rows that take the place of a prompt's token embeddings. llama.cpp's libmtmd."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.decode.bindings import L, load_mtmd, on_log
from engine.errors import DecodeError, ModelError
from engine.image_file import Size, check_effort, measure

_REMEMBERED_BYTES = 64 * 1024 * 1024
_PROBES = (Size(4096, 4096), Size(4096, 512), Size(512, 4096), Size(64, 64))
"""Images of these sizes tell how many positions one may take."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, or one tile of it: `count` rows. whole: they see each other, and are computed at once."""

    count: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """What stands in the place of a Picture. values: (count, n_embd)."""

    values: npt.NDArray[np.float32]
    grid: npt.NDArray[np.int32] | None
    """(3, count) for models whose positions have a time, a row and a column: those, counted from the first row's."""
    extent: int
    """By how much the positions after it have moved on; `count` without a grid."""


@dataclass(frozen=True, slots=True)
class Part:
    """`count` rows of a picture, from its row `first` on. whole: see Picture."""

    rows: Rows
    first: int
    count: int
    whole: bool


Layout = tuple[list[int] | Picture, ...]
"""What an image becomes in a prompt: tokens that the model wants around it, and its pictures."""


class Projector:
    """A loaded projector. `layout` and `rows` are called by one thread at a time, which need not be the decode loop's:
    libmtmd computes in a context of its own."""

    def __init__(self, path: Path, model: int, *, threads: int, on_gpu: bool) -> None:
        """model: the pointer to the model that it is for. Raises ModelError."""
        self._mtmd = mtmd = load_mtmd()
        mtmd.mtmd_helper_log_set(on_log, None)
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = on_gpu
        params.n_threads = threads
        params.print_timings = False
        params.warmup = False
        self._ctx = mtmd.mtmd_init_from_file(os.fsencode(path), model, params)
        if not self._ctx:
            raise ModelError(f"llama.cpp cannot use the projector {path}: is it made for this model? The log says more")
        if not mtmd.mtmd_support_vision(self._ctx):
            raise ModelError(f"{path} is a projector for sound, and only images are supported; leave out --mmproj")
        self._n_embd = int(L.llama_model_n_embd_inp(model))
        self.has_grid = bool(mtmd.mtmd_decode_use_mrope(self._ctx))
        """Whether positions have a time, a row and a column (M-RoPE)."""
        self._recent: OrderedDict[bytes, list[Rows]] = OrderedDict()
        self._recent_bytes = 0
        self._decode, self._free = _pixel_functions(mtmd)
        pictures = [part for size in _PROBES for part in self.layout(size) if isinstance(part, Picture)]
        self.longest_whole = max((picture.count for picture in pictures if picture.whole), default=0)
        """Most rows that must be computed at once."""

    def layout(self, size: Size) -> Layout:
        """What an image of this size becomes; cheap. Raises DecodeError."""
        with self._chunks(size, None) as chunks:
            return tuple(self._part(chunk) for chunk in chunks)

    def rows(self, image: bytes) -> list[Rows]:
        """The rows of each picture in the layout of this PNG or JPEG; may take seconds.

        Raises ImageError when the file cannot be taken, DecodeError when llama.cpp fails on it.
        """
        key = digest_of(image)
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        check_effort(image)
        with self._pixels(image) as (size, pixels), self._chunks(size, pixels) as chunks:
            rows = [self._encode(chunk) for chunk in chunks if self._is_picture(chunk)]
        self._remember(key, rows)
        return rows

    def _remember(self, key: bytes, rows: list[Rows]) -> None:
        self._recent[key] = rows
        self._recent_bytes += sum(one.values.nbytes for one in rows)
        while self._recent_bytes > _REMEMBERED_BYTES:
            _key, dropped = self._recent.popitem(last=False)
            self._recent_bytes -= sum(one.values.nbytes for one in dropped)

    @contextlib.contextmanager
    def _pixels(self, image: bytes) -> Iterator[tuple[Size, Any]]:
        """Decoded by stb_image itself: libmtmd's own helper hands what that refuses to ffmpeg, as a video."""
        width, height, channels = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        pixels = self._decode(image, len(image), ctypes.byref(width), ctypes.byref(height), ctypes.byref(channels), 3)
        if not pixels:
            raise DecodeError("the image cannot be decoded: it is damaged, or of a rare kind; save it again as PNG")
        try:
            size = Size(width.value, height.value)
            if size != measure(image):
                raise DecodeError("the image is not of the size that its header states: it is damaged")
            yield size, pixels
        finally:
            self._free(pixels)

    @contextlib.contextmanager
    def _chunks(self, size: Size, pixels: Any) -> Iterator[list[int]]:
        """libmtmd's pieces of an image, scaled and cut into tiles. Without pixels they tell their lengths only."""
        mtmd = self._mtmd
        chunks = mtmd.mtmd_input_chunks_init()
        bitmap = mtmd.mtmd_bitmap_init(size.width, size.height, pixels)
        try:
            part = mtmd.mtmd_input_part(None, bitmap)
            parts = (ctypes.POINTER(mtmd.mtmd_input_part) * 1)(ctypes.pointer(part))
            code = mtmd.mtmd_tokenize_from_parts(self._ctx, chunks, parts, 1, False)
            if code != 0:
                raise DecodeError(f"llama.cpp answered {code} for an image of {size.width} x {size.height} pixels")
            count = mtmd.mtmd_input_chunks_size(chunks)
            yield [mtmd.mtmd_input_chunks_get(chunks, index) for index in range(count)]
        finally:
            mtmd.mtmd_bitmap_free(bitmap)
            mtmd.mtmd_input_chunks_free(chunks)

    def _is_picture(self, chunk: int) -> bool:
        return bool(self._mtmd.mtmd_input_chunk_get_type(chunk) == self._mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE)

    def _part(self, chunk: int) -> list[int] | Picture:
        mtmd = self._mtmd
        if self._is_picture(chunk):
            whole = mtmd.mtmd_decode_use_non_causal(self._ctx, chunk)
            return Picture(int(mtmd.mtmd_input_chunk_get_n_tokens(chunk)), bool(whole))
        count = ctypes.c_size_t()
        tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
        return [int(token) for token in tokens[: count.value]]

    def _encode(self, chunk: int) -> Rows:
        mtmd = self._mtmd
        count = int(mtmd.mtmd_input_chunk_get_n_tokens(chunk))
        code = mtmd.mtmd_encode_chunk(self._ctx, chunk)
        if code != 0:
            raise DecodeError(f"llama.cpp answered {code} for an image of {count} positions")
        values = np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(self._ctx), shape=(count, self._n_embd)).copy()
        if not np.isfinite(values).all():
            raise DecodeError("the projector computed values that are no numbers; its file may be damaged")
        extent = int(mtmd.mtmd_input_chunk_get_n_pos(chunk))
        return Rows(values, self._grid(chunk, count) if self.has_grid else None, extent)

    def _grid(self, chunk: int, count: int) -> npt.NDArray[np.int32]:
        positions = (self._mtmd.mtmd_decoder_pos * count)()
        image = self._mtmd.mtmd_input_chunk_get_tokens_image(chunk)
        self._mtmd.mtmd_helper_image_get_decoder_pos(image, 0, positions)
        return np.array([[one.t, one.y, one.x] for one in positions], np.int32).T.copy()


def digest_of(image: bytes) -> bytes:
    """32 bytes that no other image has."""
    return hashlib.sha256(image).digest()


def _pixel_functions(mtmd: Any) -> tuple[Any, Any]:
    """stb_image's decoder and its free, which libmtmd exports. Raises ModelError when it does not."""
    try:
        decode, free = mtmd._libmtmd.stbi_load_from_memory, mtmd._libmtmd.stbi_image_free
    except AttributeError as error:
        raise ModelError("this build of libmtmd has no stb_image: run `SEATRIAL_IMAGES=1 make setup`") from error
    whole = ctypes.POINTER(ctypes.c_int)
    decode.argtypes = [ctypes.c_char_p, ctypes.c_int, whole, whole, whole, ctypes.c_int]
    decode.restype = ctypes.POINTER(ctypes.c_uint8)
    free.argtypes, free.restype = [ctypes.c_void_p], None
    return decode, free
