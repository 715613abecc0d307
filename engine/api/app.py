"""The HTTP API as one ASGI application: routes, keys, bodies, and every error in OpenAI's shape."""

from __future__ import annotations

import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec

from engine.api import schemas
from engine.api.generate import ClientGone, Generation, Headers, Receive, Send
from engine.api.http import error_body
from engine.api.link import DecodeLink, LinkState
from engine.api.metrics import CONTENT_TYPE, Metrics
from engine.api.render import Renderer
from engine.api.request import Request, Scope, read_body
from engine.api.shapes import Shape
from engine.config import EngineConfig
from engine.errors import BadRequest, ContextExceeded, RequestError, Unavailable
from engine.process import log
from engine.wire import Segment, Submit

Handler = Callable[[Request], Awaitable[None]]


class App:
    """The ASGI callable."""

    def __init__(
        self, config: EngineConfig, link: DecodeLink, metrics: Metrics, keys: Sequence[bytes], fingerprint: str
    ) -> None:
        self._config = config
        self._link = link
        self._metrics = metrics
        self._keys = tuple(keys)
        self._fingerprint = fingerprint
        self._created = int(time.time())
        self._renderer: Renderer | None = None
        self.draining = False
        self._routes: dict[str, dict[str, Handler]] = {
            "/health": {"GET": self._health, "HEAD": self._health},
            "/metrics": {"GET": self._show_metrics, "HEAD": self._show_metrics},
            "/v1/models": {"GET": self._models, "HEAD": self._models},
            "/v1/chat/completions": {"POST": self._chat},
            "/v1/completions": {"POST": self._complete},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def noted(message: MutableMapping[str, Any]) -> None:
            request.answered = request.answered or message["type"] == "http.response.start"
            await send(message)

        request = Request(scope, receive, noted)
        try:
            await self._dispatch(request)
        except ClientGone:
            return  # counted as "cancelled" in the metrics; a line each would let clients fill the log
        except RequestError as error:
            await self._reply_error(request, error)
        except Exception as error:  # noqa: BLE001  # the last net: an answer and a log line instead of a bare 500
            log("api", "bug", id=request.id.decode(), error=type(error).__name__, at=_where(error))
            if not request.answered:
                await self._reply_error(
                    request,
                    RequestError(500, "The engine met an error of its own; its log says more.", type="server_error"),
                )

    async def _dispatch(self, request: Request) -> None:
        path = request.path.rstrip("/") or "/"
        if path.startswith("/v1/models/"):
            methods: dict[str, Handler] = {"GET": self._model, "HEAD": self._model}
        else:
            methods = self._routes.get(path, {})
        if path != "/health":
            self._check_key(request)
        if not methods:
            raise BadRequest(404, f"There is no {request.path[:100]!r} here.", code="not_found")
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(sorted(methods))
            body = error_body(BadRequest(405, f"{request.path} takes {allowed} only.", code="method_not_allowed"))
            await request.reply(405, body, [(b"allow", allowed.encode())])
            return
        try:
            await handler(request)
        except RequestError as error:
            if request.method == "POST" and not request.submitted:
                self._metrics.requests.labels("unavailable" if error.status == 503 else "refused").inc()
            raise

    def _check_key(self, request: Request) -> None:
        if not self._keys:
            return
        scheme, _, given = request.headers.get(b"authorization", b"").partition(b" ")
        known = [hmac.compare_digest(given.strip(), key) for key in self._keys]
        if scheme.lower() != b"bearer" or not any(known):
            raise BadRequest(401, "A valid API key is needed: send Authorization: Bearer KEY.", code="invalid_api_key")

    async def _reply_error(self, request: Request, error: RequestError) -> None:
        headers: Headers = []
        if error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % error.retry_after_s))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if error.status in (408, 413):
            headers.append((b"connection", b"close"))
        await request.reply(error.status, error_body(error), headers)

    async def _health(self, request: Request) -> None:
        link = self._link
        state = "draining" if self.draining else link.state.value
        healthy = link.state is LinkState.READY and not self.draining
        detail = "the engine is shutting down" if self.draining else link.detail
        if link.state is LinkState.STALLED:
            detail = f"the decode loop stalled {link.silent_s:.1f} s ago"
        body = {
            "status": "ok" if healthy else "unavailable",
            "state": state,
            "detail": detail,
            "model": self._config.name,
            "running": link.tickets.running,
            "waiting": link.tickets.waiting,
            "heartbeat_age_s": round(link.silent_s, 3),
        }
        await request.reply(
            200 if healthy else 503, msgspec.json.encode(body), [] if healthy else [(b"retry-after", b"1")]
        )

    async def _show_metrics(self, request: Request) -> None:
        await request.reply(200, self._metrics.render(), kind=CONTENT_TYPE)

    def _card(self) -> dict[str, Any]:
        card: dict[str, Any] = {
            "id": self._config.name,
            "object": "model",
            "created": self._created,
            "owned_by": "seatrial",
        }
        if facts := self._link.facts:
            card["meta"] = {
                "n_params": facts.n_params,
                "n_ctx": facts.ctx,
                "n_ctx_train": facts.ctx_train,
                "n_vocab": facts.n_vocab,
                "size_bytes": facts.size_bytes,
                "quantisation": facts.quantisation,
                "description": facts.description,
                "device": facts.device,
                "gpu_layers": facts.gpu_layers,
                "slots": facts.slots,
                "llama_cpp": facts.build,
            }
        return card

    async def _models(self, request: Request) -> None:
        await request.reply(200, msgspec.json.encode({"object": "list", "data": [self._card()]}))

    async def _model(self, request: Request) -> None:
        self._check_model(request.path.removeprefix("/v1/models/"))
        await request.reply(200, msgspec.json.encode(self._card()))

    def _check_model(self, name: str | None) -> None:
        if name is not None and name != self._config.name:
            raise BadRequest(
                404,
                f"The model {name[:100]!r} is not served here; {self._config.name!r} is.",
                param="model",
                code="model_not_found",
            )

    async def _chat(self, request: Request) -> None:
        parsed = schemas.parse_chat(
            await read_body(request, self._config.body_limit_bytes, self._config.body_timeout_s)
        )
        self._check_model(parsed.model)
        if len(parsed.messages) > self._config.max_messages:
            raise schemas.bad("messages", f"at most {self._config.max_messages} messages are taken")
        self._check_bytes(sum(len(schemas.text_of(message)) for message in parsed.messages))
        self._check_up()
        segments = self._template().render(parsed.messages)
        limit = parsed.max_completion_tokens or parsed.max_tokens
        await self._generate(request, parsed, segments, limit, chat=True)

    async def _complete(self, request: Request) -> None:
        parsed = schemas.parse_completion(
            await read_body(request, self._config.body_limit_bytes, self._config.body_timeout_s)
        )
        self._check_model(parsed.model)
        self._check_bytes(len(parsed.prompt))
        self._check_up()
        # OpenAI's default for this API is 16 tokens.
        limit = 16 if parsed.max_tokens is None else parsed.max_tokens
        await self._generate(request, parsed, [Segment(parsed.prompt, scaffold=False)], limit, chat=False)

    async def _generate(
        self,
        request: Request,
        parsed: schemas.ChatRequest | schemas.CompletionRequest,
        segments: list[Segment],
        limit: int | None,
        *,
        chat: bool,
    ) -> None:
        facts = self._link.facts
        if facts is None:
            raise Unavailable("The model is still loading.", code="engine_starting")
        sampling, stops = schemas.sampling_of(parsed), schemas.stops_of(parsed)
        shape = Shape(
            chat=chat,
            id=secrets.token_hex(12),
            created=int(time.time()),
            model=self._config.name,
            fingerprint=self._fingerprint,
        )
        generation = Generation(
            link=self._link,
            metrics=self._metrics,
            shape=shape,
            streamed=bool(parsed.stream),
            include_usage=bool(parsed.stream_options and parsed.stream_options.include_usage),
            wants_logprobs=sampling.top_logprobs >= 0,
            ctx=facts.ctx,
            headers=[(b"x-request-id", request.id)],
        )
        request.submitted = True
        await generation.run(
            lambda id: Submit(id, segments, limit or 0, sampling, stops),
            request.received_ns,
            request.receive,
            request.send,
        )

    def _check_up(self) -> None:
        if self.draining:
            raise Unavailable("The engine is shutting down.", code="engine_stopping", retry_after_s=5)

    def _check_bytes(self, characters: int) -> None:
        """Refuse a prompt that cannot fit whatever its tokens, before it is rendered and tokenised."""
        facts = self._link.facts
        if facts is not None and characters > facts.ctx * facts.longest_token_bytes:
            raise ContextExceeded(facts.ctx, f"at least {math.ceil(characters / facts.longest_token_bytes)} tokens")

    def _template(self) -> Renderer:
        if self._renderer is None:
            facts = self._link.facts
            if facts is None:
                raise Unavailable("The model is still loading.", code="engine_starting")
            self._renderer = Renderer(facts.chat_template, facts.bos, facts.eos)
            if self._renderer.problem:
                log("api", "template", problem=self._renderer.problem)
        return self._renderer


def _where(error: BaseException) -> str:
    """File and line where an exception came from; never its values, which may hold prompt text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
