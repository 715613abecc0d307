"""POST /v1/embeddings."""

from __future__ import annotations

import array
import asyncio
import base64
import sys
from typing import Any

import msgspec

from engine.api.job import Served, check_characters, context_exceeded
from engine.api.link import DecodeLink
from engine.api.messages import bad
from engine.api.request import ClientGone, Request
from engine.api.utility_schemas import EmbeddingsRequest, Text
from engine.errors import BadRequest
from engine.wire import Embed, Segment, Vector


async def embed(request: Request, parsed: EmbeddingsRequest, served: Served, link: DecodeLink) -> bytes:
    """The answer's body. Raises RequestError, or ClientGone: then what is being computed for it is cancelled."""
    if adapter := served.adapter(parsed.model):
        raise bad("model", f"{adapter!r} is an adapter, and embeddings are the model's own: ask {served.name!r}")
    working = asyncio.create_task(_vectors(request, parsed, served, link), name="embed")
    leaving = asyncio.create_task(request.until_gone(), name="embed-gone")
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone("the client went away")
        vectors = working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    as_text = parsed.encoding_format == "base64"
    tokens = sum(vector.prompt_tokens for vector in vectors)
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if as_text else _floats(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    model = parsed.model or served.name
    return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": usage})


async def _vectors(request: Request, parsed: EmbeddingsRequest, served: Served, link: DecodeLink) -> list[Vector]:
    """One after the other, so that a request with many texts has one place in the queue like any other."""
    segments = [_segment(text, served) for text in parsed.texts]
    vectors: list[Vector] = []
    for index, segment in enumerate(segments):
        answer = await link.ask(_command(segment), request.received_ns, request.key)
        if answer.error or not isinstance(answer, Vector):
            at = "input" if len(segments) == 1 else f"input[{index}]"
            raise BadRequest(400, f"{at}: {answer.error}", param=at, code="invalid_value")
        vectors.append(answer)
    return vectors


def _command(segment: Segment) -> Any:
    return lambda id: Embed(id, [segment])


def _segment(text: Text, served: Served) -> Segment:
    if isinstance(text, list):
        if len(text) > served.facts.ctx:
            raise context_exceeded(served.facts.ctx, f"{len(text)} tokens", "input")
        return Segment("", scaffold=False, tokens=text)
    check_characters(len(text), served.facts, "input")
    return Segment(text, scaffold=False)


def _base64(vector: Vector) -> str:
    return base64.b64encode(vector.values).decode()


def _floats(vector: Vector) -> list[float]:
    values = array.array("f", vector.values)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()
