"""tool_choice required, or a function's name: the answer begins as a call and must go on as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.api.messages import Tool, bad
from engine.api.toolcalls import ToolFormat
from engine.wire import Constraint

_DEFINITIONS = ("$defs", "definitions")


@dataclass(frozen=True, slots=True)
class ForcedCall:
    """The prompt ends with `before`, the answer obeys `constraint`, and with `after` it is a call as the model writes
    one."""

    before: str
    constraint: Constraint
    after: str = ""


def forced_call(form: ToolFormat, tools: Sequence[Tool]) -> ForcedCall:
    """What makes the model call one of these tools. Raises BadRequest when that cannot be had."""
    match form:
        case ToolFormat.HERMES:
            return ForcedCall("<tool_call>\n", _constraint(tools, "arguments"), "\n</tool_call>")
        case ToolFormat.LLAMA3:
            return ForcedCall("", _constraint(tools, "parameters"))
        case ToolFormat.MISTRAL:
            return ForcedCall("[TOOL_CALLS] [", _constraint(tools, "arguments"), "]")
    if len(tools) > 1:
        raise bad(
            "tool_choice",
            "This model writes a call's name outside of its JSON: name the function in tool_choice, or send one tool",
            "unsupported_value",
        )
    return ForcedCall(f"[TOOL_CALLS]{tools[0].function.name}[ARGS]", _json_schema(_parameters(tools[0])))


def _constraint(tools: Sequence[Tool], arguments: str) -> Constraint:
    """One JSON object: the name of one of the tools, and arguments for it."""
    calls: list[dict[str, Any]] = []
    shared: dict[str, dict[str, Any]] = {}
    for tool in tools:
        parameters = _parameters(tool)
        # "#/$defs/..." is looked up at the root, so that is where definitions have to be.
        for place in _DEFINITIONS:
            for name, definition in parameters.pop(place, {}).items():
                if shared.setdefault(place, {}).setdefault(name, definition) != definition:
                    raise bad("tools", f"two tools define {name[:100]!r} in different ways: rename one of them")
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.function.name}, arguments: parameters},
                "required": ["name", arguments],
                "additionalProperties": False,
            }
        )
    return _json_schema({"anyOf": calls, **shared})


def _parameters(tool: Tool) -> dict[str, Any]:
    parameters = dict(tool.function.parameters or {})
    if any(not isinstance(parameters.get(place, {}), dict) for place in _DEFINITIONS):
        raise bad("tools", f"tools: the definitions in the parameters of {tool.function.name} are no object")
    return {"type": "object", **parameters}


def _json_schema(schema: dict[str, Any]) -> Constraint:
    try:
        return Constraint("json_schema", json.dumps(schema))
    except RecursionError as error:
        raise bad("tools", "tools: a parameters object is nested too deeply") from error
