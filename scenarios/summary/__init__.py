"""Observations to numbers: columns first, then every number of the summary from them."""

from __future__ import annotations

from scenarios.summary.columns import Columns, columns_of
from scenarios.summary.context import FiredFault, SummaryContext
from scenarios.summary.stored import stored_columns
from scenarios.summary.summarise import summarise, summarise_columns
from scenarios.summary.window import Measured, measured_window

__all__ = [
    "Columns",
    "FiredFault",
    "Measured",
    "SummaryContext",
    "columns_of",
    "measured_window",
    "stored_columns",
    "summarise",
    "summarise_columns",
]
