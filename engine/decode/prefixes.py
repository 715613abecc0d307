"""Which KV stream holds which tokens: a radix tree over the streams' contents, so that a prompt is computed once.

Pure book-keeping. A stream is named by its slot; what it holds (or will hold once its prompt is computed) is one path
from a root. Contents of different roots (another LoRA adapter, another API key) are never shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Node:
    tokens: list[int]
    parent: _Node | None
    children: dict[int, _Node] = field(default_factory=dict)
    """First token of the child -> child."""
    holders: set[int] = field(default_factory=set)
    """Streams that hold all tokens from the root to the end of this node."""


@dataclass(frozen=True, slots=True)
class Match:
    """`streams` hold the first `length` tokens that were asked for."""

    length: int
    streams: frozenset[int]


class PrefixTree:
    """Streams and their tokens."""

    def __init__(self) -> None:
        self._roots: dict[str, _Node] = {}
        self._ends: dict[int, tuple[str, _Node]] = {}

    def put(self, stream: int, root: str, tokens: Sequence[int]) -> None:
        """`stream` holds exactly `tokens`; what it held before is forgotten. No tokens: it holds nothing."""
        self.remove(stream)
        if not tokens:
            return
        node, at = self._roots.setdefault(root, _Node([], None)), 0
        while at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                child = _Node(list(tokens[at:]), node)
                node.children[tokens[at]] = child
            else:
                shared = common_length(child.tokens, 0, tokens, at)
                if shared < len(child.tokens):
                    child = _split(child, shared)
            child.holders.add(stream)
            at += len(child.tokens)
            node = child
        self._ends[stream] = (root, node)

    def remove(self, stream: int) -> None:
        """`stream` holds nothing any more."""
        root, node = self._ends.pop(stream, ("", None))
        while node is not None and node.parent is not None:
            node.holders.discard(stream)
            parent = node.parent
            if not node.holders:
                del parent.children[node.tokens[0]]
            else:
                _join(node)
            node = parent
        if node is not None and not node.children:
            del self._roots[root]

    def matches(self, root: str, tokens: Sequence[int]) -> Iterator[Match]:
        """Who holds how much of the beginning of `tokens`; growing lengths, shrinking sets of streams."""
        node, at = self._roots.get(root), 0
        while node is not None and at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                return
            shared = common_length(child.tokens, 0, tokens, at)
            at += shared
            yield Match(at, frozenset(child.holders))
            node = child if shared == len(child.tokens) else None

    def nodes(self) -> int:
        """How many nodes there are; for tests of its bound (fewer than two for each stream, and the roots)."""
        count, todo = 0, list(self._roots.values())
        while todo:
            count += 1
            todo += todo.pop().children.values()
        return count


def common_length(left: Sequence[int], left_from: int, right: Sequence[int], right_from: int) -> int:
    """How many tokens are the same, counted from the two starts. Halving over slices: compared in C."""
    low, high = 0, min(len(left) - left_from, len(right) - right_from)
    if left[left_from : left_from + high] == right[right_from : right_from + high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if left[left_from + low : left_from + middle] == right[right_from + low : right_from + middle]:
            low = middle
        else:
            high = middle
    return low


def _split(node: _Node, at: int) -> _Node:
    """Cut a node in two after `at` tokens; returns the upper part, which takes its place."""
    upper = _Node(node.tokens[:at], node.parent, {node.tokens[at]: node}, set(node.holders))
    if node.parent is not None:
        node.parent.children[upper.tokens[0]] = upper
    node.tokens, node.parent = node.tokens[at:], upper
    return upper


def _join(node: _Node) -> None:
    """Undo a split: an only child with the same holders takes the place of its parent."""
    if len(node.children) == 1 and node.parent is not None:
        (child,) = node.children.values()
        if child.holders == node.holders:
            child.tokens, child.parent = node.tokens + child.tokens, node.parent
            node.parent.children[child.tokens[0]] = child
