"""What surrounds a planned request: whom it follows, whose it is, and how its client behaves. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scenarios import draws
from scenarios.arrivals import NANO
from scenarios.definition import Clients, Workload
from scenarios.request import Retry
from scenarios.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The fields of the same names of a planned request."""

    after: int | None = None
    think_s: float = 0.0
    tenant: str = ""
    retry: Retry | None = None
    hang_up_after_events: int = 0
    read_bytes_per_s: float = 0.0


ALONE = Circumstances()


def circumstances(
    workload: Workload, line: Timeline, manners: np.random.PCG64, customers: np.random.PCG64
) -> Callable[[int], Circumstances]:
    """For each request, by its index. A session belongs to one tenant; each of its requests has a client of its own."""
    count = len(line.due_ns)
    clients, tenants = workload.clients, workload.tenants
    chance = draws.uniforms(manners, 2 * count).reshape(count, 2) if clients != Clients() else None
    owner = (
        draws.weighted(customers, [tenant.weight for tenant in tenants], int(line.start.max()) + 1) if tenants else None
    )
    if chance is None and owner is None and not (line.after >= 0).any():
        return lambda _: ALONE
    slow, leaves, again = clients.slow_reader, clients.disconnect, clients.retry
    slow_below = slow.share if slow else 0.0
    leaves_below = slow_below + (leaves.share if leaves else 0.0)
    retry = (
        Retry(attempts=again.attempts, wait_s=again.wait_s, factor=again.factor, align_s=again.align_s)
        if again
        else None
    )

    def of(index: int) -> Circumstances:
        after = int(line.after[index])
        kind, patience = (1.0, 1.0) if chance is None else chance[index]
        return Circumstances(
            after=after if after >= 0 else None,
            think_s=int(line.think_ns[index]) / NANO,
            tenant="" if owner is None else tenants[owner[line.start[index]]].name,
            retry=retry if again and patience < again.share else None,
            hang_up_after_events=leaves.after_events if leaves and slow_below <= kind < leaves_below else 0,
            read_bytes_per_s=slow.bytes_per_s if slow and kind < slow_below else 0.0,
        )

    return of
