"""From the trial's options to what the runner takes: what can be wrong is found before anything is started."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from console.errors import UsageError
from console.hub import resolve_model
from console.target import (
    check_choice,
    check_launch,
    check_target_pid,
    confirm,
    key_env,
    load_key,
    read_road,
    read_target,
)
from scenarios.runs import journal_path, new_run_id, runs_dir

if TYPE_CHECKING:
    from scenarios.address import Road
    from scenarios.definition import Scenario
    from scenarios.runner import RunOptions


def find(args: argparse.Namespace, name: str) -> Scenario:
    """The scenario called `name` with --rate, --duration, --blast-radius and --redact applied."""
    from scenarios.definition import REDACTED
    from scenarios.scenario_file import find_scenario, override, within

    scenario = override(find_scenario(name), rate=args.rate, duration_s=args.duration)
    scenario = scenario if args.blast_radius is None else within(scenario, args.blast_radius)
    return dataclasses.replace(scenario, keep=REDACTED) if args.redact else scenario


def settle(args: argparse.Namespace, scenario: Scenario | None) -> tuple[str | None, Road, Path | None]:
    """Target, road to it, and model of the options: read, confirmed, fetched; `scenario` None: it is chosen later.

    Raises:
        UsageError, DownloadError
    """
    check_choice(args)
    load_key(args.api_key_file)
    road = read_road(args)
    if args.launch is not None:
        check_launch(args.launch)
        return None, road, None
    if args.target is None:
        return None, road, resolve_model(args.model)
    target = read_target(args.target)
    if args.target_pid is not None:
        check_target_pid(args.target_pid, target)
    confirm(args, target, scenario)
    return target, road, None


def make_options(args: argparse.Namespace, scenario: Scenario, run_id: str | None) -> RunOptions:
    """The runner's options; the runs directory is made and the id is free.

    Raises:
        UsageError: the runs directory cannot be made, the id is taken, or what `settle` raises.
    """
    from scenarios.runner import RunOptions

    target, road, model = settle(args, scenario)
    if target is not None or args.launch is not None:
        demand_keys(scenario)
    directory = writable_runs_dir(args.runs_dir)
    run_id = run_id or new_run_id()
    if journal_path(directory, run_id).exists():
        raise UsageError(f"there is a run {run_id} already; leave out --run-id for a new one")
    return RunOptions(
        scenario=scenario,
        seed=args.seed,
        runs_dir=directory,
        run_id=run_id,
        target=target,
        road=road,
        model=model,
        workers=args.workers,
        preflight_s=args.preflight,
        api_key_env=key_env(target or args.launch),
        inject=args.inject,
        own_target=args.i_own_this_target,
        launch=args.launch or "",
        launch_timeout_s=args.launch_timeout,
        target_pid=args.target_pid or "",
    )


def demand_keys(scenario: Scenario) -> None:
    """Every tenant must have a key before anything is sent under another one's.

    Raises:
        UsageError
    """
    for tenant in scenario.workload.tenants:
        if not os.environ.get(tenant.key_env):
            raise UsageError(f"tenant {tenant.name} has no key: set {tenant.key_env} to it")


def writable_runs_dir(override: Path | None) -> Path:
    """The runs directory, made when it is missing."""
    directory = runs_dir(override).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"{directory} cannot be made ({error.strerror}); choose another with --runs-dir") from error
    return directory
