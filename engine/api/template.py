"""A model's chat template as Jinja source: sandboxed, and bounded in processor time and in the size of what it makes.

A GGUF from somewhere may hold any template. What cannot end is stopped by a check that is compiled into every loop and
macro, and made at every call and filter. Not covered: one single operation of C code on values within the bounds, such
as replacing each of a million characters by a million others; it takes the time and the memory that it takes.
"""

from __future__ import annotations

import datetime
import functools
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.sandbox
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from engine.api.marks import Marks
from engine.errors import EngineError

CPU_LIMIT_S = 1.0
SIZE_LIMIT = 8 * 1024 * 1024
"""Characters or elements of one value, and characters of one rendering."""
_WIDTH = re.compile(r"\d{5}|\*|\{[^}]*\{")
"""In a format: a width that is absurd, or that comes from elsewhere."""
_SIZED_FILTERS = frozenset({"batch", "center", "indent", "round", "slice", "wordwrap"})
_FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Run:
    """One rendering. ends_s: the thread's processor time at which it is stopped."""

    ends_s: float
    marks: Marks


_run: ContextVar[_Run] = ContextVar("run")


class TemplateFault(EngineError):
    """The template cannot be compiled, or takes too much time or memory."""


class TemplateRefusal(TemplateFault):
    """The template refuses these values, or fails on them; it may take others."""


class _Stopped(Exception):
    """The template needs too much. No template can catch it."""


class _Refused(Exception):
    """The template called raise_exception."""


class Template:
    """A compiled template. `source_names` are the variables that it expects from outside."""

    def __init__(self, source: str) -> None:
        """Raises TemplateFault when the source cannot be compiled."""
        environment = _Environment()
        try:
            self._template = environment.from_string(source)
            self.source_names = jinja2.meta.find_undeclared_variables(environment.parse(source))
        except (jinja2.TemplateError, *_FAULTS) as error:
            raise TemplateFault(f"cannot be compiled ({str(error)[:200]})") from error

    def render(self, values: dict[str, Any], marks: Marks) -> str:
        """The text, with the marks in `values` in it. Raises TemplateFault."""
        token = _run.set(_Run(time.thread_time() + CPU_LIMIT_S, marks))
        try:
            size = 0
            pieces: list[str] = []
            for piece in self._template.generate(values):
                size += len(piece)
                if size > SIZE_LIMIT:
                    raise _Stopped("it writes too much")
                pieces.append(piece)
            return "".join(pieces)
        except _Stopped as error:
            raise TemplateFault(f"needs too much for these messages: {error}") from error
        except _Refused as error:
            raise TemplateRefusal(f"refuses these messages: {str(error)[:200]}") from error
        except (jinja2.TemplateError, *_FAULTS) as error:
            raise TemplateRefusal(f"fails on these messages: {str(error)[:200]}") from error
        finally:
            _run.reset(token)


def _refuse(message: object = "it says no more") -> str:
    raise _Refused(str(message))


def _check_time() -> bool:
    if time.thread_time() > _run.get().ends_s:
        raise _Stopped(f"it takes more than {CPU_LIMIT_S:g} s of processor time; send fewer or shorter messages")
    return True


def _checked(value: Any) -> Any:
    """What an operation has made: not too large, and a mark again when it is one's print (of a macro, of a join)."""
    if isinstance(value, str | bytes | list | tuple | dict) and len(value) > SIZE_LIMIT:
        raise _Stopped("it makes a value that is too large")
    return _run.get().marks.restored(value)


def _replace(value: object, old: str, new: str, count: int = -1) -> str:
    return (value if isinstance(value, str) else str(value)).replace(old, new, count)


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that checks time and sizes. The marks by which Jinja passes its context along are kept."""

    @functools.wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        _check_time()
        if name in _SIZED_FILTERS:
            _check_numbers(arguments, options)
        elif name == "format":
            _check_format(arguments[0])
        return _checked(function(*arguments, **options))

    return checked


def _check_numbers(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Refuse widths and counts that would make a value too large before it could be measured."""
    if any(isinstance(value, int) and abs(value) > SIZE_LIMIT for value in (*arguments, *options.values())):
        raise _Stopped("it asks for a width or count that is too large")


def _check_format(form: object) -> None:
    if isinstance(form, str) and _WIDTH.search(form):
        raise _Stopped("it formats with a width that is too large")


class _Environment(jinja2.sandbox.SandboxedEnvironment):
    """What chat templates expect to find, and the checks. Lists may be changed: those of one rendering are its own."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation])
        # Jinja's own would write &, <, > and ' as escapes, which no model has seen in a prompt.
        self.filters["tojson"] = lambda value, *options, **more: _run.get().marks.to_json(value, *options, **more)
        # Jinja's own works on a copy of what a mark prints.
        self.filters["replace"] = _replace
        self.filters = {name: _guarded(name, function) for name, function in self.filters.items()}
        del self.globals["lipsum"]
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        return super()._generate(_Checks().visit(source), name, filename, defer_init)

    def checkpoint(self) -> bool:
        """True, unless the time is up."""
        return _check_time()

    def join(self, *parts: object) -> Any:
        """The operator `~`."""
        texts = [str(part) for part in parts]
        if sum(map(len, texts)) > SIZE_LIMIT:
            raise _Stopped("it makes a text that is too large")
        return _checked("".join(texts))

    def call(self, context: Any, function: Any, *arguments: Any, **options: Any) -> Any:
        _check_time()
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str):
            _check_numbers(arguments, options)
        result = super().call(context, function, *arguments, **options)
        _checked(owner)
        return _checked(result)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        formats = super().wrap_str_format(value)
        if formats is not None:
            _check_format(value.__self__)
        return formats

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = [value for value in (left, right) if isinstance(value, int)]
        sized = [value for value in (left, right) if isinstance(value, str | list | tuple)]
        if operator == "+":
            too_large = sum(map(len, sized)) > SIZE_LIMIT
        elif operator == "*":
            too_large = bool(sized and numbers) and len(sized[0]) * abs(numbers[0]) > SIZE_LIMIT
            too_large |= len(numbers) == 2 and sum(map(int.bit_length, numbers)) > 4096
        elif operator == "**":
            too_large = len(numbers) == 2 and left.bit_length() * abs(right) > 4096
        else:
            _check_format(left)
            too_large = False
        if too_large:
            raise _Stopped("it makes a value that is too large")
        return _checked(super().call_binop(context, operator, left, right))


class _Generation(jinja2.ext.Extension):
    """{% generation %}, by which training code finds the assistant's words: rendered as what it holds."""

    tags = {"generation"}  # noqa: RUF012  # the base class has it as a plain set

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Checks(NodeTransformer):
    """Puts a check into everything that can repeat itself, and `~` under the size limit."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_checkpoint(node)))
        if node.test is not None:
            node.test = nodes.And(_checkpoint(node), node.test)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_checkpoint(node)))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return nodes.Call(nodes.EnvironmentAttribute("join"), node.nodes, [], None, None, lineno=node.lineno)


def _checkpoint(node: nodes.Node) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute("checkpoint"), [], [], None, None, lineno=node.lineno)
