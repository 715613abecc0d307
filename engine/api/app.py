"""The HTTP API as one ASGI application: routes, keys, bodies, and every error in OpenAI's shape."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from engine.api.answers import Answers
from engine.api.http import error_body
from engine.api.job import Served
from engine.api.link import DecodeLink, LinkState
from engine.api.metrics import CONTENT_TYPE, Metrics
from engine.api.render import Renderer
from engine.api.request import ClientGone, Handler, Headers, Receive, Request, Scope, Send
from engine.api.requestlog import Recorder
from engine.api.utility import Utility
from engine.config import EngineConfig
from engine.errors import BadRequest, RequestError, Unavailable
from engine.process import log
from engine.wire import ModelFacts

KEY_HASH_CHARS = 12
"""Enough to tell the keys of a file apart; too few to find a key by trying."""

OPEN = frozenset({"/health", "/ready"})
"""Paths that need no key: probes have none."""


class App:
    """The ASGI callable."""

    def __init__(
        self,
        config: EngineConfig,
        link: DecodeLink,
        metrics: Metrics,
        recorder: Recorder,
        keys: Sequence[bytes],
    ) -> None:
        self._config = config
        self._link = link
        self._metrics = metrics
        self._keys = {key: hashlib.sha256(key).hexdigest()[:KEY_HASH_CHARS] for key in keys}
        self._renderer: Renderer | None = None
        self._rendered: ModelFacts | None = None
        self.draining = False
        answers = Answers(config, link, metrics, recorder, self._served, self.template)
        utility = Utility(config, link, self._served, self.template, lambda: self.draining)
        self._model: dict[str, Handler] = {"GET": utility.model, "HEAD": utility.model}
        self._routes: dict[str, dict[str, Handler]] = {
            "/health": {"GET": self._health, "HEAD": self._health},
            "/metrics": {"GET": self._show_metrics, "HEAD": self._show_metrics},
            **utility.routes(),
            **answers.routes(),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        request = Request(scope, receive, send)
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
        methods = self._model if path.startswith("/v1/models/") else self._routes.get(path, {})
        if path not in OPEN:
            self._check_key(request)
        if not methods:
            raise BadRequest(404, f"There is no {request.path[:100]!r} here.", code="not_found")
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(sorted(methods))
            body = error_body(BadRequest(405, f"{request.path} takes {allowed} only.", code="method_not_allowed"))
            await request.reply(405, body, [(b"allow", allowed.encode())])
            return
        await handler(request)

    def _check_key(self, request: Request) -> None:
        """Tell whose request it is. Raises BadRequest when a key is needed and none of ours was given."""
        if not self._keys:
            return
        scheme, _, given = request.headers.get(b"authorization", b"").partition(b" ")
        # Every key is compared, so that the time taken tells nothing.
        matches = [digest for key, digest in self._keys.items() if hmac.compare_digest(given.strip(), key)]
        if scheme.lower() != b"bearer" or not matches:
            raise BadRequest(401, "A valid API key is needed: send Authorization: Bearer KEY.", code="invalid_api_key")
        request.key = matches[0]

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

    def _served(self) -> Served:
        """Raises Unavailable when no more requests are taken."""
        if self.draining:
            raise Unavailable("The engine is shutting down.", code="engine_stopping", retry_after_s=5)
        config = self._config
        return Served(config.name, self._facts(), config.max_messages, config.slots + config.queue_limit)

    def _facts(self) -> ModelFacts:
        if self._link.facts is None:
            raise Unavailable("The model is still loading.", code="engine_starting")
        return self._link.facts

    def template(self) -> Renderer:
        facts = self._facts()
        if self._renderer is None or self._rendered != facts:  # it may come back with another model
            self._rendered = facts
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
