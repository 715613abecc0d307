"""What one step of the decode loop brought, gathered until it is sent."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from engine import wire


class Frame:
    """Filled while a step goes on."""

    def __init__(self) -> None:
        self.admitted: list[wire.Admitted] = []
        self.outputs: list[wire.Output] = []
        self.texts: dict[int, str] = {}
        """Text of the tokens chosen in this call of llama.cpp, until they are written back."""
        self.decode_s = 0.0
        self.sample_s = 0.0
        self.preempted = 0

    def told(self, step_s: float, *, lengths: Sequence[int], running: Collection[int], waiting: int) -> wire.Step:
        """As a message. lengths: tokens in each slot's stream; running: slots in use; step_s 0: the step goes on."""
        used = sum(lengths[slot] for slot in running)
        return wire.Step(
            t_ns=time.monotonic_ns(),
            admitted=self.admitted,
            outputs=self.outputs,
            running=len(running),
            waiting=waiting,
            kv_cells=used,
            decode_s=self.decode_s if step_s else 0.0,
            step_s=step_s,
            sample_s=self.sample_s,
            kv_cached=sum(lengths) - used,
            preempted=self.preempted,
        )
