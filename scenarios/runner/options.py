"""What the operator chose for one run, beside the scenario itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scenarios.address import DIRECT, Road
from scenarios.definition import FaultSpec, Scenario
from scenarios.faults.schedule import scheduled

LAUNCH_TIMEOUT_S = 120.0
"""How long a launched target may take to answer: its model is loaded first."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`target` None: the embedded engine with `model` (None: the demo model), or what `launch` starts.

    The API key stays in the environment.
    """

    scenario: Scenario
    seed: int
    runs_dir: Path
    run_id: str
    target: str | None = None
    road: Road = DIRECT
    model: Path | None = None
    workers: int = 1
    preflight_s: float = 5.0  # how long the noise floor is measured before the first request
    api_key_env: str | None = None
    inject: bool = False  # the fault proxy is in the path also where the scenario has no fault for it
    own_target: bool = False  # a target other than this machine may be disturbed
    launch: str = ""  # the command that starts the target, with {port} for its port
    launch_timeout_s: float = LAUNCH_TIMEOUT_S
    target_pid: str = ""  # the target's process, or a file that holds it


def planned_faults(options: RunOptions) -> tuple[FaultSpec, ...]:
    """Every fault of the run with its moment, in order of start."""
    return scheduled(options.scenario.faults, options.seed, options.scenario.blast)


def api_keys(options: RunOptions) -> dict[str, str]:
    """The API key of each tenant by name, "" being the run's own; "" where none is set."""
    variables = {tenant.name: tenant.key_env for tenant in options.scenario.workload.tenants}
    variables[""] = options.api_key_env or ""
    return {tenant: os.environ.get(variable, "") for tenant, variable in variables.items()}


class Means(msgspec.Struct, frozen=True):
    """What the journal keeps of the options, so that a run can go on against the same target."""

    target: str | None
    road: Road
    model: str | None
    workers: int
    preflight_s: float
    inject: bool = False
    launch: str = ""
    launch_timeout_s: float = LAUNCH_TIMEOUT_S
    target_pid: str = ""


def means_of(options: RunOptions) -> Means:
    """The options less those that the journal holds anyway."""
    model = None if options.model is None else str(options.model)
    return Means(
        target=options.target,
        road=options.road,
        model=model,
        workers=options.workers,
        preflight_s=options.preflight_s,
        inject=options.inject,
        launch=options.launch,
        launch_timeout_s=options.launch_timeout_s,
        target_pid=options.target_pid,
    )
