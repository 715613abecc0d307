"""What a client may send to /v1/embeddings, /tokenize and /detokenize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from engine.api.jsonbody import decode_body
from engine.api.messages import Message, Tool, bad, check_message, check_tools

MAX_INPUTS = 2048
"""Texts in one embeddings request; OpenAI's bound as well."""
MAX_TOKENS = 1 << 20
"""Token ids in one request."""

_Id = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Text = str | list[int]
"""A text, or the token ids of one."""


class EmbeddingsRequest(msgspec.Struct):
    """POST /v1/embeddings."""

    input: str | list[str | int | list[_Id]]
    model: str | None = None
    encoding_format: str | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    user: str | None = None

    @property
    def texts(self) -> Sequence[Text]:
        """The texts to embed, each for itself."""
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [[item for item in self.input if isinstance(item, int)]]
        return [item for item in self.input if not isinstance(item, int)]


class TokenizeRequest(msgspec.Struct):
    """POST /tokenize, in llama-server's names, vLLM's beside them: one of content, text, prompt and messages.

    parse_special: control tokens are recognised in the text.
    """

    content: str | None = None
    text: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    add_special: bool | None = None
    add_special_tokens: bool | None = None
    parse_special: bool = False
    with_pieces: bool = False
    model: str | None = None

    @property
    def adds_bos(self) -> bool:
        """Whether the token that opens a text comes first, where the model has one."""
        return bool(self.add_special or self.add_special_tokens)

    @property
    def given(self) -> list[str]:
        """The texts among content, text and prompt that were sent."""
        return [text for text in (self.content, self.text, self.prompt) if text is not None]


class DetokenizeRequest(msgspec.Struct):
    """POST /detokenize."""

    tokens: Annotated[list[Any], Meta(max_length=MAX_TOKENS)]
    model: str | None = None


_embeddings = msgspec.json.Decoder(EmbeddingsRequest)
_tokenize = msgspec.json.Decoder(TokenizeRequest)
_detokenize = msgspec.json.Decoder(DetokenizeRequest)


def parse_embeddings(body: bytes, *, n_embd: int, n_vocab: int) -> EmbeddingsRequest:
    """Decode and check. Raises BadRequest naming the field."""
    request = decode_body(_embeddings, body)
    if request.encoding_format not in (None, "float", "base64"):
        raise bad("encoding_format", "encoding_format must be float or base64")
    if request.dimensions not in (None, n_embd):
        raise bad(
            "dimensions",
            f"this model's embeddings have {n_embd} dimensions, no fewer and no more: leave dimensions out",
            "unsupported_value",
        )
    given = request.input
    if isinstance(given, list):
        if len({type(item) for item in given}) > 1:
            raise bad("input", "input must be all strings, all token ids or all arrays of token ids")
        if not (given and isinstance(given[0], int)) and len(given) > MAX_INPUTS:
            raise bad("input", f"at most {MAX_INPUTS} texts are taken, not {len(given)}")
    if not given:
        raise bad("input", "input is empty: send at least one text")
    texts = request.texts
    for index, text in enumerate(texts):
        at = "input" if len(texts) == 1 else f"input[{index}]"
        if not text:
            raise bad(at, f"{at} is empty: send some text")
        if isinstance(text, list):
            check_ids(at, text, n_vocab)
    return request


def parse_tokenize(body: bytes) -> TokenizeRequest:
    """Decode and check. Raises BadRequest naming the field."""
    request = decode_body(_tokenize, body)
    if len(request.given) + (request.messages is not None) != 1:
        raise bad("content", "send the text as content (or text, or prompt), or send messages; exactly one of them")
    for index, message in enumerate(request.messages or ()):
        check_message(f"messages[{index}]", message, images=False)
    check_tools(request.tools or [])
    return request


def parse_detokenize(body: bytes, *, n_vocab: int) -> DetokenizeRequest:
    """Decode and check. Raises BadRequest naming the field."""
    request = decode_body(_detokenize, body)
    check_ids("tokens", request.tokens, n_vocab)
    return request


def check_ids(at: str, ids: Sequence[Any], n_vocab: int) -> None:
    """Raise BadRequest when one of these is no token id of the model."""
    for index, id in enumerate(ids):
        # bool is an int to isinstance, and true is no token.
        if type(id) is not int or not 0 <= id < n_vocab:
            shown = id if type(id) is int else msgspec.json.encode(id).decode()[:40]
            raise bad(f"{at}[{index}]", f"{at}[{index}]: {shown} is no token id: the model has 0 to {n_vocab - 1}")
