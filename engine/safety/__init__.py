"""What is wrong with a text: rules only, pure, no model. See `scan`."""

from engine.safety.finding import CATEGORIES, Finding, Severity
from engine.safety.scanner import DETECTORS, scan

__all__ = ["CATEGORIES", "DETECTORS", "Finding", "Severity", "scan"]
