"""Chat messages to prompt segments.

The template renders with unguessable marks in place of the contents; the result is cut at the marks. So the scaffold,
which may hold control tokens, and the contents, which must not, stay apart: a user's "<|im_end|>" stays text.
"""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Sequence

import jinja2
import jinja2.sandbox

from engine.api.schemas import Message, text_of
from engine.errors import BadRequest
from engine.wire import Segment

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_TEMPLATE_FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class _Refused(Exception):
    """The template called raise_exception."""


def _refuse(message: object = "the chat template refuses these messages") -> str:
    raise _Refused(str(message))


class Renderer:
    """A model's chat template, compiled once. Falls back to ChatML when the model has none or a broken one."""

    def __init__(self, template: str, bos: str = "", eos: str = "") -> None:
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
        self.problem = ""
        try:
            self._template = environment.from_string(template or CHATML)
        except jinja2.TemplateError as error:
            self.problem = f"the model's chat template cannot be compiled ({error}); ChatML is used"
            self._template = environment.from_string(CHATML)
        self._bos, self._eos = bos, eos

    def render(self, messages: Sequence[Message]) -> list[Segment]:
        """The prompt in order. Raises BadRequest when the template refuses the messages."""
        mark = secrets.token_hex(16)
        contents = [text_of(message) for message in messages]
        marked = [
            {"role": message.role, "content": f"\x02{mark}:{index}\x03" if contents[index] else ""}
            for index, message in enumerate(messages)
        ]
        try:
            text = self._template.render(
                messages=marked,
                add_generation_prompt=True,
                bos_token=self._bos,
                eos_token=self._eos,
                tools=None,
                documents=None,
            )
        except _Refused as error:
            raise BadRequest(
                400, f"The model's chat template refuses these messages: {str(error)[:200]}", param="messages"
            ) from error
        except (jinja2.TemplateError, *_TEMPLATE_FAULTS) as error:
            raise BadRequest(
                400, f"The model's chat template fails on these messages: {str(error)[:200]}", param="messages"
            ) from error
        segments: list[Segment] = []
        for position, piece in enumerate(re.split(f"\x02{mark}:(\\d+)\x03", text)):
            if position % 2:
                segments.append(Segment(contents[int(piece)], scaffold=False))
            elif piece:
                segments.append(Segment(piece, scaffold=True))
        return segments
