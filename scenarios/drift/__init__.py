"""Live drift of what goes in (words and numbers) and of what comes out (accuracy), against the run's own beginning."""

from __future__ import annotations

from scenarios.drift.monitor import DriftMonitor

__all__ = ["DriftMonitor"]
