"""The model's vocabulary: text to tokens and back."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from engine.decode.bindings import L
from engine.errors import DecodeError


class Vocabulary:
    """Text to tokens and back. `tokenize` may be called from any thread."""

    def __init__(self, vocab: int) -> None:
        self._vocab = vocab
        self.size = int(L.llama_vocab_n_tokens(vocab))
        self.adds_bos = bool(L.llama_vocab_get_add_bos(vocab))
        self.bos = int(L.llama_vocab_bos(vocab))
        self.eos = int(L.llama_vocab_eos(vocab))
        self.ends = frozenset(t for t in range(self.size) if L.llama_vocab_is_eog(vocab, t))
        self.longest_bytes = max(len(L.llama_vocab_get_text(vocab, t) or b"") for t in range(self.size))
        self.end_tokens: npt.NDArray[np.int32] = np.array(sorted(self.ends), np.int32)
        """The same as `ends`, to index logits with."""
        self._pieces: dict[tuple[int, bool], bytes] = {}

    def text(self, token: int) -> str:
        """The token as the vocabulary writes it ("" for none)."""
        if not 0 <= token < self.size:
            return ""
        return (L.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Tokens of `text`; control tokens are recognised in it only if `special`. BOS is never added."""
        data = text.encode("utf-8", "replace")
        if not data:
            return []
        room = len(data) + 8
        buffer = (L.llama_token * room)()
        count = L.llama_tokenize(self._vocab, data, len(data), buffer, room, False, special)
        if count < 0:
            raise DecodeError(f"llama_tokenize answered {count} for {len(data)} bytes")
        return list(buffer[:count])

    def known(self, token: int) -> int:
        """The token itself. Raises DecodeError when it is outside the vocabulary: llama.cpp would end the process."""
        if not 0 <= token < self.size:
            raise DecodeError(f"token {token} is outside the vocabulary of {self.size}")
        return token

    def piece(self, token: int, *, control: bool = False) -> bytes:
        """The bytes a token stands for; control tokens stand for none, or with `control` for their name."""
        piece = self._pieces.get((token, control))
        if piece is not None:
            return piece
        self.known(token)
        size = 64
        buffer = ctypes.create_string_buffer(size)
        length = L.llama_token_to_piece(self._vocab, token, buffer, size, 0, control)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = L.llama_token_to_piece(self._vocab, token, buffer, -length, 0, control)
        piece = bytes(buffer.raw[: max(0, length)])
        self._pieces[token, control] = piece
        return piece
