"""Right answers where none are known: the target's own, as it gave them without a fault."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from typing import Any

import msgspec
import tomli_w

from scenarios.definition import Scenario
from scenarios.errors import DefinitionErrors
from scenarios.observation import Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.scenario_file import parse_scenario

# of a request's body; what else is in there could not be asked again by a dataset
_KNOWN = frozenset({"model", "messages", "prompt", "max_tokens", "temperature", "stream", "stream_options"})


def rows_of(requests: Sequence[PlannedRequest], observations: Sequence[Observation]) -> str | None:
    """A dataset of these questions, each with the answer that it got, a JSON object a line.

    None where a question cannot be asked by a dataset, or an answer did not come or was not kept.
    """
    rows: list[bytes] = []
    for request, seen in zip(requests, observations, strict=True):
        if request.raw or not request.body or seen.outcome is not Outcome.OK or not seen.answer.strip():
            return None
        try:
            body = msgspec.json.decode(request.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return None
        if not body.keys() <= _KNOWN or body.get("temperature") != 0:
            return None
        asked = {key: body[key] for key in ("messages", "prompt", "max_tokens") if key in body}
        rows.append(msgspec.json.encode({**asked, "answer": seen.answer}))
    return b"\n".join((*rows, b"")).decode()


def asking(base: Scenario, file: str) -> Scenario | None:
    """The base with the questions of that dataset, which is read, in the place of its own; None where its gates need
    its own.
    """
    read = tomllib.loads(base.source.removeprefix("\ufeff"))
    tenants = {key: value for key, value in read.get("workload", {}).items() if key == "tenants"}
    source = tomli_w.dumps({**read, "workload": {"profile": "dataset", "file": file, **tenants}})
    try:
        new = parse_scenario(source, file)
    except DefinitionErrors:
        return None
    return dataclasses.replace(base, workload=new.workload, source=source)
