"""What the operator chose for one run, beside the scenario itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scenarios.address import DIRECT, Road
from scenarios.definition import Scenario


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`target` None: the embedded engine with `model` (None: the demo model). The API key stays in the environment."""

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
