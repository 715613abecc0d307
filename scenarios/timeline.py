"""Who waits for whom: starts become requests, each with its earliest time and the one that must be over first. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenarios import draws
from scenarios.arrivals import Ints
from scenarios.definition import Think

LONGEST_PAUSE_NS = 24 * 3600 * 10**9


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """One entry for each request, in the order of `due_ns`.

    `start`: the number of the start (a lone request or a session) that it belongs to; `turn`: its place there, from 0.
    `after`: the index of the request that must be over first, -1 for none; `think_ns`: how long after that it is due.
    `root`: the index of the first of all those it depends on. `due_ns`: when it is due where nobody waits for answers:
    the earliest that it can be.
    """

    due_ns: Ints
    start: Ints
    turn: Ints
    after: Ints
    think_ns: Ints
    root: Ints


def timeline(start_ns: Ints, turns: Ints, think_ns: Ints, users: int = 0) -> Timeline:
    """Starts at `start_ns` with `turns` requests each; `think_ns`, one for each request in the order of starts and
    turns, is the pause before it, and is not used for the first of a chain.

    A chain is a session, or with `users` above 0 all that a user does: starts number u, u + users, u + 2 users ...
    """
    count = int(turns.sum())
    numbers = np.arange(count)
    if count == len(start_ns) and not users:
        none, nobody = (np.broadcast_to(np.int64(value), count) for value in (0, -1))
        return Timeline(start_ns, numbers, none, nobody, none, numbers)
    start = np.repeat(np.arange(len(start_ns)), turns)
    turn = numbers - np.repeat(np.cumsum(turns) - turns, turns)
    chain = start % users if users else start
    if users:
        by_user = np.argsort(chain, kind="stable")
        start, turn, chain, think_ns = start[by_user], turn[by_user], chain[by_user], think_ns[by_user]
    first = np.concatenate(([True], chain[1:] != chain[:-1]))
    begins = np.flatnonzero(first)
    of_chain = np.repeat(begins, np.diff(np.append(begins, count)))
    pause = np.where(first, start_ns[start], think_ns)
    total = np.cumsum(pause)  # may go round, and the difference comes back
    due_ns = total - (total - pause)[of_chain]
    order = np.lexsort((chain, numbers - of_chain, due_ns))
    rank = np.empty(count, dtype=np.int64)
    rank[order] = numbers
    after = np.where(first, -1, rank[numbers - 1])
    think = np.where(first, 0, think_ns)
    return Timeline(due_ns[order], start[order], turn[order], after[order], think[order], rank[of_chain][order])


def pauses_ns(think: Think, bits: np.random.PCG64, count: int) -> Ints:
    """So many pauses, whole microseconds."""
    if not think.mean_s:
        return np.zeros(count, dtype=np.int64)
    pause_us = np.rint(draws.take(draws.gamma(bits, think.cv), count) * (think.mean_s * 1e6)).astype(np.int64)
    return np.minimum(pause_us * 1000, LONGEST_PAUSE_NS)
