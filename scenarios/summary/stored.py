"""The columns of a journal, read a block of rows at a time."""

from __future__ import annotations

from scenarios.journal import JournalReader
from scenarios.observation import Outcome
from scenarios.summary.columns import NONE, Columns, gap_step, make_columns, miscount

_TIMES = ", ".join(f"COALESCE(o.{name}_ns, {NONE})" for name in ("sent", "first", "answer", "last"))
# A request without an observation was never recorded: unsent, over when it was due.
_ROWS = f"""
SELECT p.idx, p.profile, p.era, p.hangs_up, COALESCE(o.outcome, '{Outcome.UNSENT}'), COALESCE(o.due_ns, p.due_ns),
    COALESCE(o.end_ns, p.due_ns), {_TIMES}, COALESCE(o.completion_tokens, -1), COALESCE(o.answer_chars, 0) > 0,
    COALESCE(j.correct, -1), COALESCE(o.attempts, 1), COALESCE(o.begun, 0), COALESCE(o.fingerprint, '')
FROM plan p LEFT JOIN observation o USING (idx) LEFT JOIN judged j USING (idx) ORDER BY p.idx
"""


def stored_columns(reader: JournalReader) -> Columns:
    """Columns in the order of the plan, a row for each planned request, `unsent` where nothing else was recorded.

    Raises MiscountError where an observation belongs to no request.
    """
    with reader.standing_still():  # the count and the rows, of a run that goes on
        planned = reader.count("plan")
        if strays := reader.count("observation", "idx NOT IN (SELECT idx FROM plan)"):
            observed = reader.count("observation")
            raise miscount(planned, observed, planned - observed + strays, 0, strays)
        gaps = reader.total("events - 1", "stream")
        streams = f"SELECT idx, events, event_ns FROM stream WHERE idx % {gap_step(gaps)} = 0"
        return make_columns(
            planned,
            reader.blocks_of(_ROWS),
            reader.blocks_of(streams),
            gaps,
            reader.blocks_of("SELECT category, place, idx FROM finding ORDER BY id"),
        )
