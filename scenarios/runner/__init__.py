"""One run from start to verdict: prepares the target, sends the plan through load workers, journals, judges."""

from scenarios.runner.options import RunOptions
from scenarios.runner.trial import run_trial

__all__ = ["RunOptions", "run_trial"]
