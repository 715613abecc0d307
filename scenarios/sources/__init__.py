"""Where the tasks of a mix entry come from: a profile, a session, a dataset, a trace or made-up text."""

from __future__ import annotations

from scenarios.sources.files import recording_at
from scenarios.sources.seed import Ask, Seed
from scenarios.sources.source import Source, source_of

__all__ = ["Ask", "Seed", "Source", "recording_at", "source_of"]
