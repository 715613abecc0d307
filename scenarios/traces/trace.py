"""A recorded day of traffic: when each request came, how long its prompt and its answer were, what it shared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

NANO = 1_000_000_000
SPEEDS = (0.1, 100.0)

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class TraceKind(StrEnum):
    """The formats that `read_trace` knows."""

    AZURE = "azure"  # Azure LLM inference traces of 2023 and 2024
    BURSTGPT = "burstgpt"
    MOONCAKE = "mooncake"
    JOURNAL = "journal"  # an earlier run of ours


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The requests of a trace in the order of their arrival; every array has one entry for each.

    `at_ns`: ns from the first row, ascending. `session`: which conversation it belongs to, -1 where the file names
    none. `blocks`: ids of the prompt's blocks of `block_tokens` tokens each, the last of which may be cut short; those
    of row i are `blocks[block_offsets[i]:block_offsets[i + 1]]`. Equal ids at equal places are equal text. Both are
    empty where the format has none. `digest`: SHA-256 of the file as hex. `dropped`: why rows were left out, and how
    many; `moved`: rows that stood in the file before one that came earlier, sorted (ties keep their order).
    """

    kind: TraceKind
    name: str
    digest: str
    at_ns: Int64s
    prompt_tokens: Int32s
    output_tokens: Int32s
    session: Int32s
    blocks: Int32s
    block_offsets: Int64s
    block_tokens: int = 0
    dropped: tuple[tuple[str, int], ...] = ()
    moved: int = 0

    def __len__(self) -> int:
        return len(self.at_ns)

    @property
    def span_s(self) -> float:
        """Seconds from the first request to the last."""
        return float(self.at_ns[-1] - self.at_ns[0]) / NANO if len(self) else 0.0

    def blocks_of(self, row: int) -> Int32s:
        """The block ids of a row's prompt, in order; empty where the format has none."""
        if not len(self.block_offsets):
            return self.blocks
        return self.blocks[self.block_offsets[row] : self.block_offsets[row + 1]]

    def notes(self) -> tuple[str, ...]:
        """What a reader of a report should know about how the file was taken, a sentence each."""
        told = [f"{count:,} rows left out: {why}" for why, count in self.dropped]
        if self.moved:
            told.append(f"{self.moved:,} rows were not in order of time and have been sorted")
        return tuple(told)


def replayed(trace: Trace, speed: float = 1.0, from_s: float = 0.0, duration_s: float | None = None) -> Trace:
    """The requests of a window of the trace, `speed` times as fast, counted from the window's start.

    `from_s` and `duration_s` (None: to the end) are seconds of the trace as it was recorded: a window of 600 s at speed
    10 lasts 60 s. Lengths, sessions and blocks stay. Raises ValueError for a speed outside 0.1 to 100 or a window with
    a negative start or length.
    """
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise ValueError(f"a trace is replayed at {SPEEDS[0]:g} to {SPEEDS[1]:g} times its speed, not {speed:g}")
    if not from_s >= 0.0 or (duration_s is not None and not duration_s >= 0.0):
        raise ValueError("a window of a trace starts at 0 s or later and is 0 s long or longer")
    start_ns = _whole_ns(from_s)
    first = int(np.searchsorted(trace.at_ns, start_ns))
    last = len(trace)
    if duration_s is not None:
        last = int(np.searchsorted(trace.at_ns, start_ns + _whole_ns(duration_s)))
    at_ns = np.rint((trace.at_ns[first:last] - start_ns) / speed).astype(np.int64)
    return _rows(replace(trace, at_ns=at_ns), first, last)


def shrunk(trace: Trace, by: int) -> Trace:
    """The same traffic with prompts, answers and blocks `by` times shorter, for a model with a short context.

    Every count is divided and rounded up, so that what shared a prefix still does: each prompt has as many blocks as
    before. Raises ValueError where `by` does not divide the length of a block.
    """
    if by < 1 or trace.block_tokens % by:
        raise ValueError(f"blocks of {trace.block_tokens} tokens cannot be made {by} times shorter")
    return replace(
        trace,
        prompt_tokens=-(-trace.prompt_tokens // np.int32(by)),
        output_tokens=-(-trace.output_tokens // np.int32(by)),
        block_tokens=trace.block_tokens // by,
    )


def _whole_ns(seconds: float) -> int:
    return round(min(seconds, 9e9) * NANO)


def _rows(trace: Trace, first: int, last: int) -> Trace:
    """Rows [first, last), but for the times, which have been cut already."""
    offsets, blocks = trace.block_offsets, trace.blocks
    if len(offsets):
        offsets = offsets[first : last + 1]
        blocks = blocks[offsets[0] : offsets[-1]]
        offsets = offsets - offsets[0]
    return replace(
        trace,
        prompt_tokens=trace.prompt_tokens[first:last],
        output_tokens=trace.output_tokens[first:last],
        session=trace.session[first:last],
        blocks=blocks,
        block_offsets=offsets,
    )
