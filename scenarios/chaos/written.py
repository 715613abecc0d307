"""A try as a scenario of its own: the one that is run, and the file that replays it. Pure."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable
from typing import Any

import tomli_w

from scenarios.chaos.gates import Held
from scenarios.chaos.one_try import Try
from scenarios.definition import Clients, FaultSpec, GateSpec, Over, Phase, Scenario, WindowSpec
from scenarios.faults.kinds import KINDS, Unit

WHOLE = (Unit.BYTES, Unit.COUNT)
_REPLACED = ("chaos", "search", "arrivals", "faults", "gates", "window")


def scenario_of(base: Scenario, one: Try, held: Held | None = None) -> Scenario:
    """The base with the workload and the faults of the try, judged by one gate or none."""
    return dataclasses.replace(
        base,
        name=_name(base),
        about=_ABOUT,
        workload=dataclasses.replace(base.workload, clients=one.clients),
        arrivals=one.arrivals,
        faults=one.faults,
        gates=() if held is None else (held.gate,),
        window=WindowSpec() if held is None else held.window,
        search=None,
        chaos=None,
    )


def toml_of(base: Scenario, one: Try, held: Held, remarks: Iterable[str] = ()) -> str:
    """The text of that scenario's file: read, it is `scenario_of` the same. `remarks` become comments at its top.

    Files that the workload names are named with their whole paths, so that it can lie anywhere.
    """
    text = base.source.removeprefix("\ufeff")
    read = {key: value for key, value in tomllib.loads(text).items() if key not in _REPLACED}
    read |= {"name": _name(base), "about": _ABOUT, "workload": _workload(base, read.get("workload", {}), one.clients)}
    if held.from_s:
        read["window"] = {"warmup": held.from_s}
    arrivals = one.arrivals
    written = "".join(f"# {_one_line(remark)}\n" for remark in remarks) + tomli_w.dumps(read)
    written += f'\n[arrivals]\nkind = "{arrivals.kind}"\nat = {list(one.at_s)}\nduration = {arrivals.duration_s}\n'
    tables = [*(("faults", _fault(fault)) for fault in one.faults), ("gates", _gate(held.gate))]
    return written + "".join(f"\n[[{name}]]\n{tomli_w.dumps(table)}" for name, table in tables)


_ABOUT = "The smallest scenario that a chaos search found to fail"


def _name(base: Scenario) -> str:
    return f"{base.name[:80]}-minimal"


def _workload(base: Scenario, read: dict[str, Any], clients: Clients) -> dict[str, Any]:
    workload = {key: value for key, value in read.items() if key != "clients"}
    for name, part in base.workload.parts:
        used = part.dataset or part.replay
        if used is None:
            continue
        if "mix" not in workload:
            workload["file"] = used.path
            continue
        entry = workload["mix"][name]
        entry = entry if isinstance(entry, dict) else {"weight": entry}
        workload["mix"] = {**workload["mix"], name: {**entry, "file": used.path}}
    if behaviour := _clients(clients):
        workload["clients"] = behaviour
    return workload


def _clients(clients: Clients) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    if (slow := clients.slow_reader) is not None:
        found["slow_reader"] = {"share": slow.share, "bytes_per_s": slow.bytes_per_s}
    if (leaves := clients.disconnect) is not None:
        found["disconnect"] = {"share": leaves.share, "after_events": leaves.after_events}
    if (again := clients.retry) is not None:
        found["retry"] = {
            "share": again.share,
            "attempts": again.attempts,
            "wait": again.wait_s,
            "factor": again.factor,
            "align": again.align_s,
        }
    return found


def _fault(fault: FaultSpec) -> dict[str, Any]:
    """Only what is not as it is anyway."""
    written: dict[str, Any] = {"kind": fault.kind, "at": fault.at_s}
    if fault.for_s:  # 0 only where a kind has no length
        written["for"] = fault.for_s
    if fault.share != 1.0:
        written["share"] = fault.share
    if fault.hits:
        written["hits"] = fault.hits
    params = {param.name: param for param in KINDS[fault.kind].params}
    own = {name: value for name, value in fault.params if value != params[name].default}
    return written | {name: _whole(value) if params[name].unit in WHOLE else value for name, value in own.items()}


def _whole(value: float | str) -> float | str:
    return value if isinstance(value, str) else int(value)


def _gate(gate: GateSpec) -> dict[str, Any]:
    bounds = {"min": gate.minimum, "max": gate.maximum}
    written: dict[str, Any] = {"metric": gate.metric, **{key: at for key, at in bounds.items() if at is not None}}
    if gate.confidence != GateSpec(gate.metric).confidence:
        written["confidence"] = gate.confidence
    if gate.name:
        written["name"] = gate.name
    if gate.over is not Over.SERVED:
        written["over"] = gate.over.value
    if gate.phase is not Phase.WHOLE:
        written["phase"] = gate.phase.value
    return written


def _one_line(text: str) -> str:
    """A comment cannot be ended by what it says."""
    return re.sub(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+", " ", text)
