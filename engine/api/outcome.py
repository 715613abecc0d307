"""What came of a request, in the words of the metrics and of the log."""

from __future__ import annotations

import time
from dataclasses import dataclass

from engine.api.chat import ChatRequest
from engine.api.completion import CompletionRequest
from engine.api.generate import Generation
from engine.api.messages import text_of
from engine.api.request import ClientGone, Request
from engine.api.requestlog import RequestRecord
from engine.errors import Overloaded, RequestError

CLIENT_LEFT = 499
"""The status in the log of a request whose client left before it had one."""
_SETTINGS = ("max_tokens", "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "n")


@dataclass(slots=True)
class Account:
    """What becomes known of one request while it is served."""

    chat: bool
    fields: ChatRequest | CompletionRequest | None = None
    generation: Generation | None = None
    failure: BaseException | None = None

    @property
    def outcome(self) -> str:
        """As in seatrial_requests_total."""
        return outcome_of(self.failure)


def outcome_of(failure: BaseException | None) -> str:
    """ok, cancelled, shed, refused, unavailable, deadline or error."""
    if failure is None:
        return "ok"
    if isinstance(failure, ClientGone):
        return "cancelled"
    if isinstance(failure, Overloaded):
        return "shed"
    if not isinstance(failure, RequestError):
        return "error"
    if failure.status == 504:
        return "deadline"
    return "refused" if failure.status < 500 else "unavailable" if failure.status == 503 else "error"


def record_of(request: Request, account: Account, model: str, *, with_text: bool) -> RequestRecord:
    """The request's record. model: what is served; with_text: prompt and answers are in it."""
    fields, generation, failure = account.fields, account.generation, account.failure
    choices = generation.choices if generation else ()
    tickets = [choice.ticket for choice in choices]
    usage = generation.usage if generation else None
    status = 200
    if not request.answered:
        status = CLIENT_LEFT if isinstance(failure, ClientGone) else getattr(failure, "status", 500)
    settings = {name: value for name in _SETTINGS if (value := getattr(fields, name, None)) is not None}
    return RequestRecord(
        id=request.id.decode(),
        api="chat" if account.chat else "text_completion",
        model=(fields and fields.model) or model,
        outcome=account.outcome,
        status=status,
        received_ns=request.received_ns,
        ended_ns=time.monotonic_ns(),
        admitted_ns=min((ticket.admitted_ns for ticket in tickets if ticket.admitted_ns), default=0),
        first_token_ns=generation.first_ns if generation else 0,
        streamed=bool(fields and fields.stream),
        response_id=generation.shape.id if generation else "",
        served_model=model,
        finish_reasons=tuple(choice.finish for choice in choices if choice.finish),
        prompt_tokens=usage.prompt if usage else 0,
        completion_tokens=usage.completion if usage else 0,
        cached_tokens=usage.cached if usage else 0,
        error=(failure.code or "" if isinstance(failure, RequestError) else type(failure).__name__ if failure else ""),
        key=request.key,
        settings=settings,
        traceparent=request.headers.get(b"traceparent", b"").decode("latin-1"),
        prompt=_prompt_of(fields) if with_text else (),
        answers=tuple(choice.text for choice in choices) if with_text else (),
    )


def _prompt_of(fields: ChatRequest | CompletionRequest | None) -> tuple[tuple[str, str], ...]:
    if fields is None:
        return ()
    if isinstance(fields, ChatRequest):
        return tuple((message.role, text_of(message)) for message in fields.messages)
    return tuple(("user", str(prompt)) for prompt in fields.prompts)
