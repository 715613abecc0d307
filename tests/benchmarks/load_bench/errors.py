"""Why a target cannot be measured."""

from __future__ import annotations


class Unmeasured(Exception):
    """Something is not here; the text says what and how to get it. Its rows are "not run"."""
