"""How parts of faults are undone, by name: functions of plain data that any process can call, and call twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Args = Mapping[str, float | str]
UndoFunction = Callable[[Args], None]

UNDOS: dict[str, UndoFunction] = {}
"""By the `what` of an Undo. Each harms nothing where there is nothing to undo, and raises OSError where it cannot."""
