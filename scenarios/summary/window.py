"""The part of a run that its numbers speak of: after the warm-up, and not longer than requests came due.

A request belongs to the window when it was due in it. What is due before it (cold caches, a queue that fills) or, in a
run that ended early, after the last request up to which all are known, counts in the outcomes alone. The drain after
the last due time is outside too: it is no part of the rate at which a service answers steady traffic.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenarios.definition import WarmupRule, WindowSpec
from scenarios.observation import Outcome
from scenarios.result import Window
from scenarios.stats import warmup
from scenarios.summary.columns import Columns, Floats, Mask


@dataclass(frozen=True, slots=True)
class Measured:
    """A window, and the columns of the requests in it."""

    window: Window
    columns: Columns

    @property
    def length_s(self) -> float:
        """Seconds from its start to its end; 0.0 when nothing was sent."""
        return self.window.end_s - self.window.start_s


def measured_window(columns: Columns, spec: WindowSpec, settled: int | None = None, *, cut_off: bool) -> Measured:
    """The window of a run.

    settled: of a run that the gates ended early, how many requests of the plan had all ended then. cut_off: the run was
    stopped or died, so that what it never came to send is not held against anybody.
    """
    n = len(columns.index)
    known = np.arange(n) < (n if settled is None else settled)
    if not columns.sent.any():
        return Measured(Window(start_s=0.0, end_s=0.0, rule=spec.warmup.value), cut(columns, known))
    due_s = columns.due_s
    last = known & columns.sent if cut_off else known
    end_s = float(due_s[last].max(initial=0.0))
    known &= due_s <= end_s
    first_s = float(due_s[known].min(initial=end_s))
    start_s, steady, note = _start(columns, known, spec)
    if settled is not None:
        note = "; ".join(
            part for part in (f"the first {settled:,} requests of the plan decided the gates", note) if part
        )
    rows = known if start_s is None else known & (due_s >= start_s)
    start_s = first_s if start_s is None else max(start_s, first_s)
    if end_s <= start_s:  # everything came due at one moment: there is only the time that it took
        end_s = max(end_s, float(columns.end_s[columns.sent & rows].max(initial=start_s)))
    window = Window(
        start_s=start_s, end_s=end_s, rule=spec.warmup.value, excluded=n - int(rows.sum()), steady=steady, note=note
    )
    return Measured(window, cut(columns, rows))


def cut(columns: Columns, rows: Mask) -> Columns:
    """Only these rows; what belongs to a row (gaps, flagged answers) goes with it. Counts of findings stay whole."""
    if rows.all():
        return columns
    n = len(rows)
    place = np.cumsum(rows) - 1
    gaps = rows[columns.gap_row]
    inside = np.flatnonzero(rows)
    together = len(inside) and int(inside[-1] - inside[0]) + 1 == len(inside)
    chosen = slice(int(inside[0]), int(inside[-1]) + 1) if together else rows  # a view where it can be one
    own: dict[str, Any] = {
        field.name: value[..., chosen]
        for field in dataclasses.fields(columns)
        if isinstance(value := getattr(columns, field.name), np.ndarray) and value.shape[-1] == n
    } | {
        "gap_s": columns.gap_s[gaps],
        "gap_row": place[columns.gap_row[gaps]].astype(columns.gap_row.dtype),
        "flagged": {category: place[found[rows[found]]] for category, found in columns.flagged.items()},
    }
    return dataclasses.replace(columns, **own)


def lateness(columns: Columns) -> Floats:
    """How late the first words of each answer came: due to first text, to the end of an ok answer without any.

    Infinite for one that never came, NaN where the question does not arise: odd probes, requests that we hung up
    ourselves before, and those never sent.
    """
    return or_never(columns, "ttft_s")


def or_never(columns: Columns, family: str) -> Floats:
    """A latency with infinity for requests that were not answered so far; see `lateness`."""
    times = columns.latency_s[family]
    whole = columns.latency_s["e2e_s"]
    times = np.where(np.isnan(times), whole, times)
    never = np.isnan(times) & ~columns.odd & ~columns.is_outcome(Outcome.CANCELLED, Outcome.UNSENT)
    return np.where(never, np.inf, times)


def _start(columns: Columns, known: Mask, spec: WindowSpec) -> tuple[float | None, bool | None, str]:
    """When the warm-up ends (None: there is none), whether service was steady then, and a sentence on it."""
    due_s = columns.due_s
    if spec.warmup is WarmupRule.NONE:
        return None, None, ""
    if spec.warmup is WarmupRule.TIME:
        left_out = int((known & (due_s < spec.warmup_s)).sum())
        note = f"warm-up: first {spec.warmup_s:.4g} s ({left_out} requests) left out, as the scenario says"
        return spec.warmup_s, None, note
    late_s = lateness(columns)
    rows = np.flatnonzero(known & ~np.isnan(late_s))
    rows = rows[np.argsort(due_s[rows], kind="stable")]
    found = warmup.find(late_s[rows])
    if not found.enough:
        return None, None, f"warm-up: not looked for; {len(rows)} requests are worth too few independent ones"
    if found.why_unsteady:
        return None, False, f"not steady: {found.why_unsteady}; nothing was left out"
    if not found.cut:
        return None, True, "warm-up: none found"
    start_s = float(due_s[rows[found.cut]])
    left_out = int((known & (due_s < start_s)).sum())
    return start_s, True, f"warm-up: first {start_s:.4g} s ({left_out} requests) left out, found by CUSUM"
