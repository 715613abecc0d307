"""Gates: bounds on metrics, decided with evidence or honestly left open."""

from __future__ import annotations

from scenarios.gates.bound import bound_text
from scenarios.gates.early import Early, EarlyEnd
from scenarios.gates.instrument import InstrumentError
from scenarios.gates.judge import judge
from scenarios.gates.live import so_far
from scenarios.gates.samples import Samples, samples_of

__all__ = ["Early", "EarlyEnd", "InstrumentError", "Samples", "bound_text", "judge", "samples_of", "so_far"]
