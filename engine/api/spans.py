"""OpenTelemetry spans by the GenAI semantic conventions, sent over OTLP/HTTP from a thread of the SDK's own.

The only file that imports opentelemetry. Conventions: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import importlib.metadata
import logging
import threading
import time
from urllib.parse import urlsplit

import msgspec
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from engine.api.requestlog import TEXT_CHARS, RequestRecord, bounded, seconds, wall_ns
from engine.config import EngineConfig
from engine.errors import ConfigError
from engine.process import log

_EXPORT_TIMEOUT_S = 5.0
_COMPLAINT_S = 60.0
_NAME_CHARS = 256
_INTEGERS = ("max_tokens", "seed")
_FLOATS = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty")


class Spans:
    """Makes a span of each finished request. A collector that is slow or away costs spans, never a request."""

    def __init__(self, config: EngineConfig, exporter: SpanExporter | None = None) -> None:
        self._with_text = config.log_prompts
        resource = Resource.create({"service.name": "seatrial-engine", "service.version": _version()})
        _hear_complaints()
        self._exporter = exporter or OTLPSpanExporter(traces_url(config.otel_endpoint), timeout=_EXPORT_TIMEOUT_S)
        self._batches = BatchSpanProcessor(self._exporter)
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self._batches)
        self._tracer = provider.get_tracer("seatrial.engine")

    def record(self, record: RequestRecord, address: tuple[str, int]) -> None:
        """The span of one request, from its receipt to its end, under the client's when it named one."""
        parent = TraceContextTextMapPropagator().extract({"traceparent": record.traceparent})
        span = self._tracer.start_span(
            f"{record.api} {record.model[:_NAME_CHARS]}".strip(),
            context=parent,
            kind=SpanKind.SERVER,
            attributes=attributes_of(record, address, with_text=self._with_text),
            start_time=wall_ns(record.received_ns),
        )
        if record.outcome != "ok":
            span.set_status(Status(StatusCode.ERROR, record.outcome))
        span.end(wall_ns(record.ended_ns))

    def close(self, within_s: float) -> None:
        """Send what waits, for at most so long; a collector that is away must not hold up the end."""
        closing = threading.Thread(target=self._batches.shutdown, name="spans-close", daemon=True)
        closing.start()
        closing.join(within_s)
        if closing.is_alive():
            self._exporter.shutdown()  # no more attempts


def attributes_of(record: RequestRecord, address: tuple[str, int], *, with_text: bool) -> dict[str, AttributeValue]:
    """The span's attributes by the conventions; what nothing is known of is left out."""
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": record.api,
        "gen_ai.provider.name": "seatrial",
        "gen_ai.request.model": record.model[:_NAME_CHARS],
        "server.address": address[0],
        "server.port": address[1],
        "http.response.status_code": record.status,
        "seatrial.request.id": record.id,
        "seatrial.outcome": record.outcome,
    }
    settings = record.settings
    attributes |= {f"gen_ai.request.{name}": int(settings[name]) for name in _INTEGERS if name in settings}
    attributes |= {f"gen_ai.request.{name}": float(settings[name]) for name in _FLOATS if name in settings}
    if settings.get("n", 1) != 1:
        attributes["gen_ai.request.choice.count"] = int(settings["n"])
    if record.streamed:
        attributes["gen_ai.request.stream"] = True
    if record.served_model:
        attributes["gen_ai.response.model"] = record.served_model
    if record.response_id:
        attributes["gen_ai.response.id"] = record.response_id
    if record.finish_reasons:
        attributes["gen_ai.response.finish_reasons"] = record.finish_reasons
    if record.prompt_tokens:
        attributes["gen_ai.usage.input_tokens"] = record.prompt_tokens
        attributes["gen_ai.usage.cache_read.input_tokens"] = record.cached_tokens
    if record.completion_tokens:
        attributes["gen_ai.usage.output_tokens"] = record.completion_tokens
    if (first_s := seconds(record.received_ns, record.first_token_ns)) is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = first_s
    if record.outcome != "ok":
        attributes["error.type"] = record.error or record.outcome
    if with_text:
        attributes |= _texts(record)
    return attributes


def _texts(record: RequestRecord) -> dict[str, AttributeValue]:
    prompt = [
        {"role": role, "parts": [{"type": "text", "content": text}]}
        for (role, _text), text in zip(
            record.prompt, bounded([text for _role, text in record.prompt], TEXT_CHARS), strict=False
        )
    ]
    answers = [
        {"role": "assistant", "parts": [{"type": "text", "content": text}], "finish_reason": reason}
        for text, reason in zip(bounded(record.answers, TEXT_CHARS), record.finish_reasons, strict=False)
    ]
    return {
        "gen_ai.input.messages": msgspec.json.encode(prompt).decode(),
        "gen_ai.output.messages": msgspec.json.encode(answers).decode(),
    }


def _version() -> str:
    try:
        return importlib.metadata.version("seatrial")
    except importlib.metadata.PackageNotFoundError:  # run from its sources
        return "unknown"


def traces_url(endpoint: str) -> str:
    """The address spans are sent to: an endpoint without a path gets the standard one. Raises ConfigError."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("otel_endpoint", f"{endpoint!r} is no http(s) address", "give one like http://127.0.0.1:4318")
    return endpoint if parts.path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"


def _hear_complaints() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    logger.handlers = [_Complaints()]


class _Complaints(logging.Handler):
    """What the SDK complains of goes to the engine's log, once a minute: a dead collector is not news each second."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._next_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _COMPLAINT_S
            log("api", "spans", problem=record.getMessage()[:200])
