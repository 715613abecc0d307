"""Workers that train one model together: each has its own batches and one thread, and they average their gradients.

Two processes of one thread each beat one process of two threads on a shared machine: they wait for each other once a
step instead of once an operation.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


@dataclass(frozen=True, slots=True)
class Crew:
    """This worker's place among `size` workers."""

    rank: int = 0
    size: int = 1

    def average_gradients(self, model: torch.nn.Module) -> None:
        """Replace every gradient by its mean over the workers."""
        if self.size == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def gather(self, value: object) -> list[object]:
        """Every worker's value, in the order of rank, on every worker."""
        values: list[object] = [None] * self.size
        if self.size == 1:
            return [value]
        dist.all_gather_object(values, value)
        return values


def _enter(rank: int, size: int, meeting: str, work: Callable[[Crew], None]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    work(Crew(rank, size))
    dist.destroy_process_group()


def run_crew(size: int, folder: Path, work: Callable[[Crew], None]) -> None:
    """Run `work` in `size` processes that meet over a file in `folder`; it must be picklable."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder.mkdir(parents=True, exist_ok=True)
    meeting = folder / f"meeting-{os.getpid()}"
    meeting.unlink(missing_ok=True)
    mp.spawn(_enter, args=(size, str(meeting.resolve()), work), nprocs=size, daemon=True)
