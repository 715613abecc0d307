"""Two runs against each other: what got worse, what got better, and how sure that is."""

from scenarios.compare.compare import TOLERANCE, compare
from scenarios.compare.comparison import Change, Comparison, Metric
from scenarios.compare.side import Side, read_side

__all__ = ["TOLERANCE", "Change", "Comparison", "Metric", "Side", "compare", "read_side"]
