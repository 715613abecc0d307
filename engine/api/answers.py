"""The two APIs that generate: from an HTTP request to its answer, its metrics and its record."""

from __future__ import annotations

import hashlib
import importlib.metadata
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from engine.api.chat import ChatRequest, parse_chat
from engine.api.choice import Choice
from engine.api.completion import CompletionRequest, parse_completion
from engine.api.generate import Generation
from engine.api.job import Asker, Job, Served, chat_job, completion_job
from engine.api.link import DecodeLink
from engine.api.metrics import Metrics
from engine.api.outcome import Account, record_of
from engine.api.remembered import Remembered
from engine.api.render import Renderer
from engine.api.request import Handler, Headers, Request, read_body
from engine.api.requestlog import Recorder
from engine.api.schemas import header_of, unknown_fields
from engine.api.shapes import ChatLogprobs, CompletionLogprobs, Shape
from engine.api.tickets import Ticket
from engine.api.toolcalls import parser_for
from engine.config import EngineConfig
from engine.errors import RequestError
from engine.wire import Submit

_BUILD = importlib.metadata.version("llama-cpp-python")


class Answers:
    """Serves POST /v1/chat/completions and /v1/completions.

    served and renderer give the loaded model's; served raises Unavailable when no more requests are taken.
    """

    def __init__(
        self,
        config: EngineConfig,
        link: DecodeLink,
        metrics: Metrics,
        recorder: Recorder,
        served: Callable[[], Served],
        renderer: Callable[[], Renderer],
    ) -> None:
        self._config = config
        self._link = link
        self._metrics = metrics
        self._recorder = recorder
        self._served = served
        self._renderer = renderer
        self._remembered: Remembered | None = None
        self._remembered_of = ""

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Path -> method -> handler."""
        return {"/v1/chat/completions": {"POST": self._chat}, "/v1/completions": {"POST": self._complete}}

    async def _chat(self, request: Request) -> None:
        await self._serve(request, Account(chat=True))

    async def _complete(self, request: Request) -> None:
        await self._serve(request, Account(chat=False))

    async def _serve(self, request: Request, account: Account) -> None:
        try:
            await self._answer(request, account)
        except BaseException as error:
            account.failure = error
            raise
        finally:
            self._settle(request, account)
            # It holds the frames that hold this account: without the knot both are freed at once.
            account.failure = None

    async def _answer(self, request: Request, account: Account) -> None:
        body = await read_body(request, self._config.body_limit_bytes, self._config.body_timeout_s)
        served = self._served()
        asker = Asker(request.key, request.received_ns)
        fields: ChatRequest | CompletionRequest
        if account.chat:
            account.fields = fields = parse_chat(body, images=served.facts.images)
            job = chat_job(fields, served, self._renderer(), asker)
        else:
            account.fields = fields = parse_completion(body)
            job = completion_job(fields, served, asker)
        headers: Headers = []
        if ignored := unknown_fields(body, type(fields)):
            headers.append((b"x-seatrial-ignored", header_of(ignored)))
        fingerprint = _fingerprint(served.facts.digest)
        remembered = self._remembered_answers(fingerprint)
        keys = remembered.keys_of(job) if remembered else []
        if remembered and keys:
            tickets = remembered.find(keys, request.received_ns)
            self._metrics.response_cache.labels("hit" if tickets else "miss").inc()
            if tickets:
                headers.append((b"x-seatrial-cache", b"hit"))
                await self._generate(request, account, fields, job, tickets, headers, fingerprint)
                return
        tickets = self._admit(job, request)
        try:
            await self._generate(request, account, fields, job, tickets, headers, fingerprint)
        finally:
            for ticket in tickets:
                self._link.close_ticket(ticket)
        if remembered and keys and account.generation and not account.failure:
            remembered.keep(keys, account.generation.choices)

    def _remembered_answers(self, fingerprint: str) -> Remembered | None:
        """Those of the model that is loaded now; None where none are kept. Another model's are forgotten."""
        size = self._config.response_cache_bytes
        if size and self._remembered_of != fingerprint:
            self._remembered = Remembered(size, isolated=self._config.isolate_keys)
            self._remembered_of = fingerprint
        return self._remembered

    async def _generate(
        self,
        request: Request,
        account: Account,
        fields: ChatRequest | CompletionRequest,
        job: Job,
        tickets: Sequence[Ticket],
        headers: Headers,
        fingerprint: str,
    ) -> None:
        include_usage = bool(fields.stream_options and fields.stream_options.include_usage)
        shape = Shape(
            chat=account.chat,
            id=secrets.token_hex(12),
            created=int(time.time()),
            model=fields.model or self._config.name,
            fingerprint=fingerprint,
            choices=len(tickets),
            usage=include_usage,
        )
        choices = [Choice(index, ticket, shape) for index, ticket in enumerate(tickets)]
        for choice in choices:
            if fields.top_logprob_count >= 0:
                choice.logprobs = ChatLogprobs() if account.chat else CompletionLogprobs()
            if job.calls_like:
                choice.parser = parser_for(job.calls_like)
            if isinstance(fields, CompletionRequest) and fields.echo:
                choice.echo = str(fields.prompts[choice.index // job.n])
        account.generation = generation = Generation(
            request=request,
            metrics=self._metrics,
            shape=shape,
            choices=choices,
            per_prompt=job.n,
            include_usage=include_usage,
            blame=job.blame,
            headers=headers,
        )
        await generation.run(streamed=bool(fields.stream))
        account.failure = generation.failure

    def _admit(self, job: Job, request: Request) -> list[Ticket]:
        """A ticket for each choice. Raises Overloaded or Unavailable; then none is left open."""
        tickets: list[Ticket] = []
        try:
            for command in job.commands:
                numbered = partial(_numbered, command)
                tickets.append(
                    self._link.submit(numbered, request.received_ns, key=request.key, deadline_ns=command.deadline_ns)
                )
        except RequestError:
            for ticket in tickets:
                self._link.close_ticket(ticket)
            raise
        return tickets

    def _settle(self, request: Request, account: Account) -> None:
        """The request is over: count and note it."""
        self._metrics.requests.labels(account.outcome).inc()
        generation = account.generation
        if generation is not None and account.failure is None:
            ended_ns = max(choice.last_ns for choice in generation.choices)
            self._metrics.e2e.observe((ended_ns - request.received_ns) / 1e9)
        with_text = self._recorder.wants_text
        self._recorder.record(record_of(request, account, self._config.name, with_text=with_text))


def _numbered(command: Submit, id: int) -> Submit:
    return msgspec.structs.replace(command, id=id)


def _fingerprint(digest: str) -> str:
    """fp_ and 12 hex digits of the model's digest and the build that serves it."""
    return f"fp_{hashlib.sha256(f'{_BUILD} {digest}'.encode()).hexdigest()[:12]}"
