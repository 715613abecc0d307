"""POST /v1/chat/completions: what a client may send."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from engine.api.messages import Message, Tool, bad, check_message, check_tools
from engine.api.schemas import Fields, Natural, decode, not_supported


class NamedFunction(msgspec.Struct):
    """A function by its name."""

    name: str


class NamedTool(msgspec.Struct):
    """A tool_choice that names the one function to call."""

    function: NamedFunction
    type: str = "function"


class ChatRequest(Fields, kw_only=True):
    """A chat request."""

    messages: list[Message]
    max_completion_tokens: Natural | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | NamedTool | None = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None

    @property
    def answer_limit(self) -> int | None:
        """Most tokens of the answer; None: as many as fit."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def top_logprob_count(self) -> int:
        """As wire.Sampling.top_logprobs has it."""
        return self.top_logprobs or 0 if self.logprobs else -1

    @property
    def calls_tools(self) -> bool:
        """Whether the answer may call tools."""
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def must_call(self) -> bool:
        """Whether the answer has to be a call."""
        return self.tool_choice == "required" or self.named_tool is not None

    @property
    def named_tool(self) -> str | None:
        """The function that the answer has to call, when tool_choice names one."""
        return self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else None


_decoder = msgspec.json.Decoder(ChatRequest)


def parse_chat(body: bytes, *, images: bool = False) -> ChatRequest:
    """Decode and check a chat request. images: whether the model sees them. Raises BadRequest naming the field."""
    request = decode(_decoder, body)
    if not request.messages:
        raise bad("messages", "messages is empty: send at least one message")
    for index, message in enumerate(request.messages):
        check_message(f"messages[{index}]", message, images)
    for name in ("functions", "function_call"):
        if getattr(request, name):
            raise not_supported(name, "use tools and tool_choice, which replaced it")
    if request.audio or request.modalities not in (None, ["text"]):
        raise not_supported("audio" if request.audio else "modalities", "answers are text only")
    _check_tool_choice(request)
    if request.top_logprobs and not request.logprobs:
        raise bad("top_logprobs", "top_logprobs needs logprobs: true")
    if request.min_tokens and request.answer_limit is not None and request.min_tokens > request.answer_limit:
        raise bad("min_tokens", f"min_tokens is {request.min_tokens}, above the limit of {request.answer_limit} tokens")
    return request


def _check_tool_choice(request: ChatRequest) -> None:
    tools, choice = request.tools or [], request.tool_choice
    check_tools(tools)
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise bad("tool_choice", "tool_choice must be none, auto, required or a function's name in its object form")
    if isinstance(choice, NamedTool):
        if choice.type != "function":
            raise bad("tool_choice", "tool_choice.type must be 'function'")
        if choice.function.name not in {tool.function.name for tool in tools}:
            raise bad("tool_choice", f"tool_choice names {choice.function.name[:100]!r}, which is not among the tools")
    elif choice == "required" and not tools:
        raise bad("tool_choice", "tool_choice is required, but there are no tools")
