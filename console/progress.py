"""What is said on stderr while a run goes on: one rewritten line for a person, plain lines for everybody else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import IO, Protocol

from console import terminal
from scenarios.report import words
from scenarios.report.layout import cut
from scenarios.report.words import one_line, seconds
from scenarios.tick import Event, Tick

PLAIN_EVERY_S = 5.0
_REDRAW_EVERY_S = 0.2
_BAR = 12
_EXPECTED = ("ok", "shed", "cancelled", "unsent")
_GATE_GLYPH = {"pass": "✓", "fail": "✗"}


class Progress(Protocol):
    """Takes what the runner tells; never raises, because talk must not stop a run."""

    def tick(self, tick: Tick) -> None: ...
    def event(self, event: Event) -> None: ...
    def close(self) -> None: ...


def choose(plain: bool, stream: IO[str] | None = None) -> Progress:
    """The rewritten line when a person watches stderr on a terminal that can, and did not ask for --plain."""
    stream = stream or sys.stderr
    if terminal.redraws(stream) and not plain:
        return LineProgress(stream)
    return PlainProgress(stream)


def clock(span_s: float) -> str:
    """mm:ss, or h:mm:ss from an hour on; nothing below zero."""
    minutes, second = divmod(max(0, int(span_s)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


def bar(fraction: float, columns: int = _BAR) -> str:
    """A bar of `columns` columns."""
    full = round(max(0.0, min(1.0, fraction)) * columns)
    return "█" * full + "░" * (columns - full)


def describe(tick: Tick) -> list[str]:
    """The tick's facts, most important first, each short enough for one line."""
    parts = [
        f"{clock(tick.t_s)} / {clock(tick.duration_s)}" if tick.duration_s > 0 else clock(tick.t_s),
        *([one_line(tick.stage, 60)] if tick.stage else []),
        f"due {tick.due_rate:.1f}/s",
        f"done {tick.done_rate:.1f}/s",
        f"in flight {tick.in_flight}",
        f"ttft p95 {seconds(tick.ttft.p95)}",
    ]
    others = {name: count for name, count in tick.outcomes.items() if count and name not in _EXPECTED}
    parts.append(f"shed {tick.outcomes.get('shed', 0)}")
    if others:
        parts.append(f"not ok {sum(others.values())}")
    if tick.gates:
        parts.append("gates " + "".join(_GATE_GLYPH.get(gate.state, "·") for gate in tick.gates))
    if tick.faults:
        parts.append("fault " + ", ".join(one_line(fault.kind, 30) for fault in tick.faults))
    return parts


def tick_line(tick: Tick, width: int) -> str:
    """The rewritten line of `width` columns at most; what does not fit is left out whole, from the end."""
    # a closed loop has no duration: what is done of what is planned says how far it is
    done = tick.t_s / tick.duration_s if tick.duration_s > 0 else tick.done / max(tick.planned, 1)
    if tick.instrument.preflight is not None:
        done = tick.instrument.preflight
    line = f"{one_line(tick.state, 12):<9} {bar(done)}"
    for part in describe(tick):
        if len(line) + 2 + len(part) > width:
            break
        line += f"  {part}"
    return cut(line, width)


def event_line(event: Event) -> str:
    """What happened, on one line."""
    return f"{event.t_s:7.1f} s  {words.event(event)}"


class PlainProgress:
    """A line every five seconds of the run, at each change of state and on each event."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._said_s = -1e9
        self._state = ""

    def tick(self, tick: Tick) -> None:
        if tick.state == self._state and 0 <= tick.t_s - self._said_s < PLAIN_EVERY_S:
            return
        self._said_s, self._state = tick.t_s, tick.state
        _write(self._stream, f"{one_line(tick.state, 12)}  {'  '.join(describe(tick))}\n")

    def event(self, event: Event) -> None:
        _write(self._stream, f"{event_line(event)}\n")

    def close(self) -> None:
        """Nothing is left open."""


class LineProgress:
    """One line that is rewritten in place; events scroll by above it."""

    def __init__(self, stream: IO[str], now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._drawn_at = -1e9
        self._line = ""

    def tick(self, tick: Tick) -> None:
        if self._now() - self._drawn_at < _REDRAW_EVERY_S and tick.state != "done":
            return
        self._drawn_at = self._now()
        self._line = tick_line(tick, terminal.width(self._stream) - 1)
        _write(self._stream, f"\r\x1b[2K{self._line}")

    def event(self, event: Event) -> None:
        line = cut(event_line(event), terminal.width(self._stream) - 1)
        _write(self._stream, f"\r\x1b[2K{line}\n{self._line}")

    def close(self) -> None:
        if self._line:
            _write(self._stream, "\r\x1b[2K")
            self._line = ""


def _write(stream: IO[str], text: str) -> None:
    try:
        stream.write(terminal.fitted(text, stream))
        stream.flush()
    except (OSError, ValueError):  # nobody reads stderr any more; the run goes on
        return
