"""Everything beside generation that a client may ask: models, tokens, embeddings, moderations, what is served, and
whether now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from engine.api.embed import embed
from engine.api.job import Served, check_characters
from engine.api.link import DecodeLink, LinkState
from engine.api.messages import bad, characters_of
from engine.api.moderate import UNCHECKED, judge, parse_moderation
from engine.api.render import Renderer
from engine.api.request import Handler, Headers, Request, read_body
from engine.api.sampling import sampling_of
from engine.api.schemas import Fields
from engine.api.utility_schemas import parse_detokenize, parse_embeddings, parse_tokenize
from engine.config import EngineConfig
from engine.errors import BadRequest
from engine.wire import MAX_MESSAGE_BYTES, Detokenize, Segment, Tokenize, Tokens


class Utility:
    """The handlers. served and renderer give the loaded model's, and raise Unavailable when there is none."""

    def __init__(
        self,
        config: EngineConfig,
        link: DecodeLink,
        served: Callable[[], Served],
        renderer: Callable[[], Renderer],
        draining: Callable[[], bool],
    ) -> None:
        self._config = config
        self._link = link
        self._served = served
        self._renderer = renderer
        self._draining = draining
        self._created = int(time.time())
        # Rules run in a thread but hold the interpreter: one text at a time, so that streams keep their share.
        self._judging = asyncio.Semaphore(1)

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Path -> method -> handler; `model` serves the paths under /v1/models/."""
        return {
            "/ready": {"GET": self._ready, "HEAD": self._ready},
            "/props": {"GET": self._props, "HEAD": self._props},
            "/v1/models": {"GET": self._models, "HEAD": self._models},
            "/v1/embeddings": {"POST": self._embeddings},
            "/v1/moderations": {"POST": self._moderations},
            "/tokenize": {"POST": self._tokenize},
            "/v1/tokenize": {"POST": self._tokenize},
            "/detokenize": {"POST": self._detokenize},
            "/v1/detokenize": {"POST": self._detokenize},
        }

    async def model(self, request: Request) -> None:
        """GET /v1/models/NAME."""
        name = request.path.removeprefix("/v1/models/")
        cards = {card["id"]: card for card in self._cards()}
        if name not in cards:
            served = ", ".join(cards)
            raise BadRequest(
                404, f"The model {name[:100]!r} is not served here. Served: {served}.", code="model_not_found"
            )
        await _reply(request, cards[name])

    async def _models(self, request: Request) -> None:
        await _reply(request, {"object": "list", "data": self._cards()})

    def _cards(self) -> list[dict[str, Any]]:
        base = {"object": "model", "created": self._created, "owned_by": "seatrial"}
        facts, name = self._link.facts, self._config.name
        if facts is None:
            return [{"id": name, **base}]
        meta = {
            "n_params": facts.n_params,
            "n_ctx": facts.ctx,
            "n_ctx_train": facts.ctx_train,
            "n_vocab": facts.n_vocab,
            "n_embd": facts.n_embd,
            "size_bytes": facts.size_bytes,
            "quantisation": facts.quantisation,
            "description": facts.description,
            "device": facts.device,
            "gpu_layers": facts.gpu_layers,
            "slots": facts.slots,
            "llama_cpp": facts.build,
        }
        adapters = [{"id": adapter, **base, "parent": name} for adapter in facts.adapters]
        return [{"id": name, **base, "meta": meta}, *adapters]

    async def _ready(self, request: Request) -> None:
        """200 while generation requests are taken. A full queue is no reason to say no: it answers for itself."""
        state = "draining" if self._draining() else self._link.state.value
        ready = state == LinkState.READY.value
        detail = "" if ready else "the engine is shutting down" if state == "draining" else self._link.detail
        headers: Headers = [] if ready else [(b"retry-after", b"1")]
        body = {"status": "ready" if ready else "unavailable", "state": state, "detail": detail}
        await request.reply(200 if ready else 503, msgspec.json.encode(body), headers)

    async def _props(self, request: Request) -> None:
        served, renderer = self._served(), self._renderer()
        facts = served.facts
        sampling = msgspec.structs.asdict(sampling_of(Fields(), -1, ctx=facts.ctx, n_vocab=facts.n_vocab))
        shown = {name: value for name, value in sampling.items() if name not in ("seed", "top_logprobs", "logit_bias")}
        props = {
            "default_generation_settings": {"n_ctx": facts.ctx, "params": shown},
            "total_slots": facts.slots,
            "model_alias": served.name,
            "model_path": self._config.model.name,
            "modalities": {"vision": facts.images, "audio": False},
            "chat_template": renderer.source,
            "chat_template_caps": {"supports_tools": renderer.takes_tools, "supports_tool_calls": renderer.takes_calls},
            "bos_token": facts.bos,
            "eos_token": facts.eos,
            "build_info": facts.build,
        }
        await _reply(request, props)

    async def _embeddings(self, request: Request) -> None:
        body = await self._body(request)
        served = self._served()
        parsed = parse_embeddings(body, n_embd=served.facts.n_embd, n_vocab=served.facts.n_vocab)
        await request.reply(200, await embed(request, parsed, served, self._link))

    async def _moderations(self, request: Request) -> None:
        parsed = parse_moderation(await self._body(request))
        async with self._judging:
            results = [await asyncio.to_thread(judge, text) for text in parsed.texts]
        body = {
            "id": f"modr-{request.id.decode()}",
            "model": "seatrial-rules",
            "results": results,
            "unchecked_categories": UNCHECKED,
        }
        await _reply(request, body)

    async def _tokenize(self, request: Request) -> None:
        parsed = parse_tokenize(await self._body(request))
        served = self._served()
        served.adapter(parsed.model)
        if parsed.messages is not None:
            if len(parsed.messages) > served.max_messages:
                raise bad("messages", f"at most {served.max_messages} messages are taken")
            check_characters(sum(map(characters_of, parsed.messages)), served.facts, "messages")
            segments = self._renderer().render(parsed.messages, parsed.tools)
            check_characters(sum(len(segment.text) for segment in segments), served.facts, "tools")
        else:
            check_characters(len(parsed.given[0]), served.facts, "content")
            segments = [Segment(parsed.given[0], scaffold=parsed.parse_special)]
        tokens = await self._ask_tokens(request, lambda id: Tokenize(id, segments, parsed.adds_bos), "content")
        listed: list[Any] = tokens.tokens
        if parsed.with_pieces:
            pieces = zip(tokens.tokens, tokens.pieces, strict=True)
            listed = [{"id": token, "piece": _piece(piece)} for token, piece in pieces]
        await _reply(request, {"tokens": listed, "count": len(listed), "max_model_len": served.facts.ctx})

    async def _detokenize(self, request: Request) -> None:
        body = await self._body(request)
        served = self._served()
        parsed = parse_detokenize(body, n_vocab=served.facts.n_vocab)
        served.adapter(parsed.model)
        most = MAX_MESSAGE_BYTES // 2 // (served.facts.longest_token_bytes + 16)
        if len(parsed.tokens) > most:
            raise bad("tokens", f"at most {most} tokens are taken, not {len(parsed.tokens)}")
        tokens = await self._ask_tokens(request, lambda id: Detokenize(id, parsed.tokens), "tokens")
        await _reply(request, {"content": b"".join(tokens.pieces).decode("utf-8", "replace")})

    async def _ask_tokens(
        self, request: Request, command: Callable[[int], Tokenize | Detokenize], param: str
    ) -> Tokens:
        answer = await self._link.ask(command, request.received_ns, request.key)
        if answer.error or not isinstance(answer, Tokens):
            raise BadRequest(400, f"{param}: {answer.error}", param=param, code="invalid_value")
        return answer

    async def _body(self, request: Request) -> bytes:
        return await read_body(request, self._config.body_limit_bytes, self._config.body_timeout_s)


async def _reply(request: Request, body: dict[str, Any]) -> None:
    await request.reply(200, msgspec.json.encode(body))


def _piece(piece: bytes) -> str | list[int]:
    """A token's text, or its bytes when they are no text by themselves."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
