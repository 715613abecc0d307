"""From a checked request to the commands that answer it: pure, but for drawing seeds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from engine.api.chat import ChatRequest
from engine.api.completion import CompletionRequest, Prompt
from engine.api.messages import bad, characters_of
from engine.api.render import Renderer
from engine.api.sampling import constraint_of, sampling_of, seeds_of
from engine.api.schemas import stops_of
from engine.api.toolcalls import format_of
from engine.api.toolchoice import constraint_for
from engine.errors import BadRequest, ContextExceeded
from engine.wire import Constraint, ModelFacts, Segment, Submit

MAX_IMAGE_BYTES = 32 * 1024 * 1024
"""Of all images in a request, for each of its answers."""


@dataclass(frozen=True, slots=True)
class Served:
    """What is served, and within which bounds."""

    name: str
    facts: ModelFacts
    max_messages: int
    most_answers: int
    """Answers that can be under way at once, waiting ones included."""

    def adapter(self, model: str | None) -> str:
        """The LoRA adapter that this model name means; "" for the model itself. Raises BadRequest when neither is."""
        if model is None or model == self.name:
            return ""
        if model in self.facts.adapters:
            return model
        names = ", ".join([self.name, *self.facts.adapters])
        raise BadRequest(
            404,
            f"The model {model[:100]!r} is not served here. Served: {names}.",
            param="model",
            code="model_not_found",
        )


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent a request (a hash of its API key) and when it was received (monotonic)."""

    key: str
    received_ns: int


@dataclass(frozen=True, slots=True)
class Blame:
    """Which fields a refusal by the decode process names, and the context that a prompt must fit into."""

    prompt: str
    constraint: str
    """The field that says what language the answer must be in; "" when none does."""
    ctx: int


@dataclass(frozen=True, slots=True)
class Job:
    """What answers one request: a command for each choice, their ids still to be given."""

    commands: list[Submit]
    """n for the first prompt, then n for the second, and so on."""
    n: int
    repeatable: bool
    """Whether it gets the same answer whenever it is asked."""
    calls_like: str
    """The chat template, which tells how calls of tools are written; "" when the answers may hold none."""
    blame: Blame


def chat_job(request: ChatRequest, served: Served, renderer: Renderer, asker: Asker) -> Job:
    """The job of a chat request. Raises BadRequest or ContextExceeded."""
    if len(request.messages) > served.max_messages:
        raise bad("messages", f"at most {served.max_messages} messages are taken")
    check_characters(sum(map(characters_of, request.messages)), served.facts, "messages")
    constraint = constraint_of(request)
    if not request.calls_tools:
        return _job(request, served, [renderer.render(request.messages)], constraint, asker)
    if constraint:
        field = request.constrained_by
        raise bad(field, f"{field} and tools exclude each other: leave out one of them", "unsupported_value")
    if not renderer.takes_tools or format_of(renderer.source) is None:
        raise bad("tools", "The chat template of this model takes no tools: leave them out", "unsupported_value")
    prompt = renderer.render(request.messages, request.tools)
    check_characters(sum(len(segment.text) for segment in prompt), served.facts, "tools")
    if request.must_call:
        constraint = constraint_for(renderer.source, request.tools or (), request.named_tool)
    return _job(request, served, [prompt], constraint, asker, calls_like=renderer.source)


def completion_job(request: CompletionRequest, served: Served, asker: Asker) -> Job:
    """The job of a completion request. Raises BadRequest or ContextExceeded."""
    prompts = [_segments(prompt, served.facts) for prompt in request.prompts]
    return _job(request, served, prompts, constraint_of(request), asker)


def cache_key(command: Submit, *, isolated: bool) -> bytes:
    """A digest of everything that shapes the answer. isolated: whose request it is counts as well."""
    bare = msgspec.structs.replace(command, id=0, priority=0, deadline_ns=0, key=command.key if isolated else "")
    return hashlib.blake2b(msgspec.msgpack.encode(bare), digest_size=16).digest()


def check_characters(characters: int, facts: ModelFacts, field: str) -> None:
    """Refuse a prompt that cannot fit whatever its tokens, before it is rendered and tokenised."""
    if characters > facts.ctx * facts.longest_token_bytes:
        at_least = math.ceil(characters / facts.longest_token_bytes)
        raise context_exceeded(facts.ctx, f"at least {at_least} tokens", field)


def context_exceeded(ctx: int, measured: str, field: str) -> ContextExceeded:
    """The refusal of a prompt that came in this field."""
    error = ContextExceeded(ctx, measured)
    error.param = field
    return error


def _segments(prompt: Prompt, facts: ModelFacts) -> list[Segment]:
    if isinstance(prompt, str):
        check_characters(len(prompt), facts, "prompt")
        return [Segment(prompt, scaffold=False)]
    if len(prompt) >= facts.ctx:
        raise context_exceeded(facts.ctx, f"{len(prompt)} tokens", "prompt")
    if max(prompt) >= facts.n_vocab:
        raise bad("prompt", f"prompt: {max(prompt)} is no token id: the model has 0 to {facts.n_vocab - 1}")
    return [Segment("", scaffold=False, tokens=prompt)]


def _job(
    request: ChatRequest | CompletionRequest,
    served: Served,
    prompts: Sequence[list[Segment]],
    constraint: Constraint | None,
    asker: Asker,
    *,
    calls_like: str = "",
) -> Job:
    facts, n = served.facts, request.n or 1
    wanted = n * len(prompts)
    if wanted > served.most_answers:
        field = "n" if n > 1 else "prompt"
        raise bad(field, f"{wanted} answers in one request: this engine has places for {served.most_answers}")
    bulk = n * sum(len(segment.image) for segments in prompts for segment in segments)
    if bulk > MAX_IMAGE_BYTES:
        field = "n" if n > 1 else "messages"
        raise bad(field, f"the images of {n} answers have {bulk} bytes, and {MAX_IMAGE_BYTES} are allowed")
    if constraint and (request.ignore_eos or request.min_tokens):
        field = "ignore_eos" if request.ignore_eos else "min_tokens"
        raise bad(field, f"{field} would force an answer to go on that must be complete by then: leave it out")
    sampling = sampling_of(
        request, request.top_logprob_count, ctx=facts.ctx, n_vocab=facts.n_vocab, constrained=constraint is not None
    )
    # What is always the likeliest token needs no seed; so that such requests are alike, they have the same one.
    greedy = sampling.temperature == 0
    seeds = seeds_of(0 if greedy else request.seed, len(prompts), n)
    common = Submit(
        id=0,
        segments=[],
        max_tokens=request.answer_limit or 0,
        sampling=sampling,
        stop=stops_of(request),
        constraint=constraint,
        key=asker.key,
        priority=request.priority or 0,
        deadline_ns=0 if request.timeout_s is None else asker.received_ns + int(request.timeout_s * 1e9),
        adapter=served.adapter(request.model),
        show_control=bool(calls_like),
    )
    replace = msgspec.structs.replace
    commands = [
        replace(common, segments=prompts[index // n], sampling=replace(sampling, seed=seed))
        for index, seed in enumerate(seeds)
    ]
    return Job(
        commands,
        n,
        repeatable=greedy or request.seed is not None,
        calls_like=calls_like,
        blame=Blame(
            "messages" if isinstance(request, ChatRequest) else "prompt",
            "" if constraint is None else "tools" if calls_like else request.constrained_by,
            facts.ctx,
        ),
    )
