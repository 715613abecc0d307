"""Who sends what, and in which order it is handed out: a plan dealt to workers, each worker's part as a queue."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from scenarios.arrivals import Ints

_CHAIN_AHEAD = 64  # of one chain at most so many are out at once: closed loops of short answers need some
_NOBODY = -1


class Feed:
    """One worker's requests, by index, in due order; those of a chain one after another and only a few of them ahead.

    `heads`: first requests of its chains, ascending. `following`: for each request of the plan the next of its chain
    or -1; None where nobody follows anybody. Memory is four bytes for each request and a little for each open chain.
    """

    def __init__(self, due_ns: Ints, root: Ints, heads: npt.NDArray[np.int32], following: memoryview | None) -> None:
        self._due_ns = np.ascontiguousarray(due_ns).data  # its items are Python's own ints
        self._root = np.ascontiguousarray(root).data
        self._heads = heads.data
        self._following = following
        self._cursor = 0
        self._ready: list[tuple[int, int]] = []  # a heap of (due by the plan, index): next ones of open chains
        self._held: dict[int, int] = {}  # root: the next one of a chain that has enough of its own out
        self._out: dict[int, int] = {}  # root: how many are out and not over

    @property
    def exhausted(self) -> bool:
        return self._cursor == len(self._heads) and not self._ready and not self._held

    def next(self, until_ns: int, room: int) -> int | None:
        """The next one that the plan has due by `until_ns`, None if there is none now.

        `room`: how many more the worker may be given; the open chains share it, so that none takes it all.
        """
        head = self._heads[self._cursor] if self._cursor < len(self._heads) else _NOBODY
        if self._ready and (head == _NOBODY or self._ready[0] < (self._due_ns[head], head)):
            if self._ready[0][0] > until_ns:
                return None
            index = heapq.heappop(self._ready)[1]
        elif head == _NOBODY or self._due_ns[head] > until_ns:
            return None
        else:
            index = head
            self._cursor += 1
        if self._following is not None:
            self._take_out(index, room, self._following[index])
        return index

    def _take_out(self, index: int, room: int, follower: int) -> None:
        root = self._root[index]
        out = self._out[root] = self._out.get(root, 0) + 1
        if follower == _NOBODY:
            return
        if out < min(_CHAIN_AHEAD, room // len(self._out)):
            heapq.heappush(self._ready, (self._due_ns[follower], follower))
        else:
            self._held[root] = follower

    def followed(self, index: int) -> bool:
        """Whether others of its chain come after it."""
        return self._following is not None and self._following[index] != _NOBODY

    def over(self, index: int) -> None:
        """One that was handed out is over: the next of its chain may go out."""
        if self._following is None:
            return
        root = self._root[index]
        out = self._out.pop(root) - 1
        if out:
            self._out[root] = out
        follower = self._held.pop(root, _NOBODY)
        if follower != _NOBODY:
            heapq.heappush(self._ready, (self._due_ns[follower], follower))

    def rest(self) -> Iterator[int]:
        """Every one that was never handed out."""
        following = self._following
        for first in [index for _, index in self._ready] + list(self._held.values()):
            yield from _chain(first, following)
        for at in range(self._cursor, len(self._heads)):
            yield from _chain(self._heads[at], following)


def _chain(first: int, following: memoryview | None) -> Iterator[int]:
    index = first
    while index != _NOBODY:
        yield index
        index = following[index] if following is not None else _NOBODY


def deal(due_ns: Ints, root: Ints, workers: int) -> list[Feed]:
    """The feed of each worker. Chains are dealt whole, by turns, so who sends what depends on nothing but the plan."""
    index = np.arange(len(root), dtype=np.int32)
    begins = root == index
    worker = (np.cumsum(begins, dtype=np.int32) - 1) % workers  # of a root
    heads = index[begins]
    following = None
    if len(heads) < len(index):
        grouped = index[np.argsort(root, kind="stable")]
        same = root[grouped[1:]] == root[grouped[:-1]]
        next_ones = np.full(len(root), _NOBODY, dtype=np.int32)
        next_ones[grouped[:-1][same]] = grouped[1:][same]
        following = next_ones.data
    return [Feed(due_ns, root, heads[worker[heads] == number], following) for number in range(workers)]
