"""One of the two runs that are compared: what is needed of its journal."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from scenarios.definition import Scenario, Slo
from scenarios.errors import JournalError
from scenarios.journal import JournalReader
from scenarios.rebuild import SCENARIO, rebuild
from scenarios.result import ResultDocument
from scenarios.summary import stored_columns
from scenarios.summary.columns import Columns


@dataclass(frozen=True, slots=True)
class Side:
    """A run that has ended, with all its requests."""

    document: ResultDocument
    columns: Columns
    slo: Slo


def read_side(reader: JournalReader) -> Side:
    """The run of a journal. Raises JournalError where it is none that can be compared."""
    document = reader.document() or rebuild(reader)
    text = reader.meta(SCENARIO)
    if text is None:
        raise JournalError(f"run {document.run.id} ended before it began to send; there is nothing to compare")
    scenario = msgspec.json.decode(text, type=Scenario)
    if scenario.search is not None or scenario.chaos is not None:
        what = "each of its requests was sent under conditions of its own"
        raise JournalError(f"run {document.run.id} was a search, and {what}; compare runs of one scenario")
    return Side(document, stored_columns(reader), scenario.slo)
