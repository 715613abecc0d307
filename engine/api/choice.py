"""One of a request's answers: what it has brought so far, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.api.shapes import ChatLogprobs, CompletionLogprobs, Shape
from engine.api.tickets import Ticket
from engine.api.toolcalls import ToolCallParser, ToolCallPart
from engine.wire import Output, TokenLogprob


@dataclass(slots=True)
class Choice:
    """The answer with this index.

    parser: cuts tool calls out of the text. echo: the prompt, when it comes first.
    """

    index: int
    ticket: Ticket
    shape: Shape
    logprobs: ChatLogprobs | CompletionLogprobs | None = None
    parser: ToolCallParser | None = None
    echo: str = ""
    last_ns: int = 0
    """When its newest token was made (monotonic)."""
    tokens: int = 0
    finish: str = ""
    """As the wire has it; empty while it runs."""
    called: bool = False
    """Whether a tool call was found, in a streamed answer."""
    texts: list[str] = field(default_factory=list)
    token_logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What the model wrote, tool calls included."""
        return "".join(self.texts)

    def add(self, output: Output) -> None:
        """Take one output in."""
        self.tokens += output.tokens
        self.finish = output.finish
        self.texts.append(output.text)
        if output.logprobs:
            self.token_logprobs += output.logprobs

    def opening(self) -> bytes:
        """The events before the first token."""
        return self.shape.first(self.index) + (self.shape.text(self.index, self.echo) if self.echo else b"")

    def write_events(self, output: Output, events: list[bytes]) -> None:
        """Add an output's server-sent events."""
        if self.logprobs is None and self.parser is None:
            if output.text:
                events.append(self.shape.text(self.index, output.text))
        else:
            self._write_rich(output, events)
        if output.finish:
            events.append(self.shape.last(self.index, _reason(output.finish, self.called)))

    def whole(self) -> dict[str, Any]:
        """The answer as a choice of a whole response."""
        logprobs = self.logprobs.shape(self.token_logprobs) if self.logprobs else None
        text = self.echo + self.text
        calls: list[dict[str, Any]] = []
        if self.parser is not None:
            text, calls = self.parser.whole(self.text)
        return self.shape.choice(self.index, text, _reason(self.finish, bool(calls)), calls, logprobs)

    def _write_rich(self, output: Output, events: list[bytes]) -> None:
        logprobs = self.logprobs.shape(output.logprobs) if self.logprobs and output.logprobs else None
        parts: list[str | ToolCallPart] = [output.text] if output.text else []
        if self.parser is not None:
            parts = self.parser.push(output.text)
            if output.finish:
                parts += self.parser.end()
        for part in parts:
            if isinstance(part, str):
                events.append(self.shape.text(self.index, part, logprobs))
            else:
                self.called = True
                events.append(self.shape.delta(self.index, {"tool_calls": [part.delta()]}, logprobs))
            logprobs = None  # they go with the first part
        if logprobs is not None:
            events.append(self.shape.text(self.index, "", logprobs))


def _reason(finish: str, called: bool) -> str:
    return "tool_calls" if called and finish == "stop" else finish
