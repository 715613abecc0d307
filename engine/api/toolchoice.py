"""tool_choice required, or a named function: the language that an answer must be in to be a tool call."""

from __future__ import annotations

import json
from collections.abc import Sequence

from engine.api.messages import Tool
from engine.api.toolcalls import ToolFormat, format_of
from engine.wire import Constraint

_AROUND = {
    ToolFormat.HERMES: ('<tool_call>\n{"name": NAME, "arguments": ', "}\n</tool_call>"),
    ToolFormat.LLAMA3: ('{"name": NAME, "parameters": ', "}"),
    ToolFormat.MISTRAL: ('[TOOL_CALLS] [{"name": NAME, "arguments": ', "}]"),
    ToolFormat.MISTRAL_ARGS: ("[TOOL_CALLS]NAME[ARGS]", ""),
}

_BLANKS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""For llguidance: as templates write JSON. Were any blanks allowed, a small model could go on with them for ever."""


def constraint_for(template: str, tools: Sequence[Tool], name: str | None = None) -> Constraint | None:
    """Exactly one call of one of the tools, or of the one called `name`, as a model with this chat template writes it.

    None when the format of its calls is not known. The arguments follow the tool's schema.
    """
    kind = format_of(template)
    if kind is None:
        return None
    before, after = _AROUND[kind]
    wanted = [tool.function for tool in tools if name is None or tool.function.name == name]
    rules: list[str] = []
    for at, function in enumerate(wanted):
        called = function.name if kind is ToolFormat.MISTRAL_ARGS else json.dumps(function.name)
        schema = {"type": "object", **(function.parameters or {"properties": {}}), "x-guidance": _BLANKS}
        opening, closing = json.dumps(before.replace("NAME", called)), json.dumps(after) if after else ""
        # A rule of its own for each, so that a schema's "#/$defs/..." stays what it points at.
        rules += [f"call_{at}: {opening} args_{at} {closing}", f"args_{at}: %json {json.dumps(schema)}"]
    start = " | ".join(f"call_{at}" for at in range(len(wanted)))
    return Constraint("lark", "\n".join([f"start: {start}", *rules]))
