"""One run from start to verdict: prepares the target, sends the plan through load workers, journals, judges."""

from scenarios.runner.options import RunOptions
from scenarios.runner.resume import read_interrupted, resume_trial
from scenarios.runner.run import run_trial

__all__ = ["RunOptions", "read_interrupted", "resume_trial", "run_trial"]
