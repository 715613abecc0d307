"""A fault that an operator asks a run for: what a person typed becomes a checked fault, and the argument of a command.

The argument is a JSON object with the keys of a `[[faults]]` table less those that say when; a kind's bare name stands
for that kind with its defaults. It is checked by the same reader as a scenario file, by both sides.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from scenarios.definition import FaultSpec
from scenarios.errors import HarnessError, Mistake
from scenarios.faults.kinds import KINDS, Param, Unit
from scenarios.toml.faults import DEFAULT_LENGTH_S, read_fault
from scenarios.toml.keys import FAULT_KEYS
from scenarios.toml_lines import TomlText
from scenarios.toml_table import Table

__all__ = ["DEFAULT_LENGTH_S", "END_FAULTS", "FAULT", "AskedWrongly", "decode", "encode", "read_asked"]

FAULT, END_FAULTS = "fault", "end_faults"
"""Kinds of commands: bring a fault about now, and end all that are on."""

_NOW = ("at", "random")  # a fault that is asked for comes at once


class AskedWrongly(HarnessError):
    """What was asked for is no fault: each mistake with its fix."""


def read_asked(
    kind: str, length: str = "", share: str = "", given: Mapping[str, str] | None = None, hits: int | None = None
) -> FaultSpec:
    """The fault of that kind from texts as a person types them; empty ones stand for the default.

    given: parameters by name. Raises AskedWrongly.
    """
    given = {} if given is None else given
    for name in given:
        if name in FAULT_KEYS:
            raise AskedWrongly(f"{name} is no parameter of {kind}; {_parameters(kind)}")
    texts = {"for": length, "share": share, **given}
    data: dict[str, object] = {name: _value(kind, name, text.strip()) for name, text in texts.items() if text.strip()}
    return _checked({"kind": kind, **data, **({} if hits is None else {"hits": hits})})


def encode(fault: FaultSpec) -> str:
    """The argument of the command that asks for the fault now."""
    written: dict[str, object] = {"kind": fault.kind}
    if fault.for_s:
        written["for"] = fault.for_s
    if fault.share != 1.0:
        written["share"] = fault.share
    if fault.hits:
        written["hits"] = fault.hits
    if (until := fault.until) is not None:
        bounds = {"above": until.above, "below": until.below, "for": until.for_s}
        written["until"] = {
            "metric": until.metric,
            **{key: value for key, value in bounds.items() if value is not None},
        }
    return msgspec.json.encode(written | dict(fault.params)).decode()


def decode(argument: str) -> FaultSpec:
    """The fault of a command's argument, to be brought about now. Raises AskedWrongly."""
    if not argument.lstrip().startswith("{"):
        return _checked({"kind": argument})
    try:
        data = msgspec.json.decode(argument, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError) as error:
        raise AskedWrongly(f"the argument is no JSON ({error}); `seatrial inject --help` shows how to ask") from error
    return _checked(data)


def _checked(data: Mapping[str, object]) -> FaultSpec:
    mistakes: list[Mistake] = []
    table = Table(data, (), TomlText(data, {}, (), whole=True), "", mistakes)
    for key in _NOW:
        if key in table:
            table.refuse(key, f"{key} is for scenario files: what is asked for comes at once", f"leave {key} out")
    fault = read_fault(table)
    if mistakes or fault is None:
        raise AskedWrongly("\n".join(f"{one.what}; {one.fix}" for one in mistakes))
    return fault


def _value(kind: str, name: str, text: str) -> object:
    """What a scenario file would hold for it: words, durations and sizes are text, all else numbers."""
    params = KINDS[kind].params if kind in KINDS else ()
    param = next((param for param in params if param.name == name), None)
    if param is not None and param.unit is Unit.WORD:
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _parameters(kind: str) -> str:
    params: tuple[Param, ...] = KINDS[kind].params if kind in KINDS else ()
    names = ", ".join(param.name for param in params)
    return f"it has {names}" if names else "it has none"
