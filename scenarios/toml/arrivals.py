"""`[arrivals]`: when requests start."""

from __future__ import annotations

from scenarios.arrivals import expected_count
from scenarios.definition import ArrivalKind, Arrivals
from scenarios.toml.keys import ALL_ARRIVAL_KEYS, ARRIVAL_KEYS, FASTEST, HOMES, LONGEST_S, MOST_REQUESTS
from scenarios.toml_table import Table

# Where a spike stands when its author does not say: shares of the run's duration.
SPIKE_AT, SPIKE_FOR = 0.4, 1 / 6


def read_arrivals(top: Table) -> Arrivals | None:
    table = top.table("arrivals", required='kind = "poisson", rate = 2.0 and duration = "1m"')
    if table is None:
        return None
    table.refuse_unknown(ALL_ARRIVAL_KEYS, HOMES)
    word = table.word("kind", tuple(kind.value for kind in ArrivalKind), "arrival kind", required='"poisson"')
    duration_s = table.duration("duration", required='"1m"', above=0.0, high=LONGEST_S)
    if word is None:
        for key in ("rate", "base", "peak"):  # wrong for every kind
            table.number(key, low=0.0, high=FASTEST)
        return None
    kind = ArrivalKind(word)
    own = ARRIVAL_KEYS[kind]
    for key in ALL_ARRIVAL_KEYS[2:]:
        if key in table and key not in own:
            fix = f"{kind} takes {', '.join(own)} and duration"
            table.refuse(key, f"{key} does not belong to arrivals of kind {kind}", fix)
    rates: dict[str, float | None] = dict.fromkeys(("rate", "base", "peak"), 0.0)
    for key in rates.keys() & own.keys():
        floor = {"low": 0.0} if key == "base" else {"above": 0.0}  # base 0: nothing but the spike, a ramp from nothing
        rates[key] = table.number(key, required=own[key], high=FASTEST, **floor)
    cv = table.number("cv", low=0.05, high=10.0) if "cv" in own else None
    spike = _read_spike(table, duration_s) if kind is ArrivalKind.SPIKE else (0.0, 0.0)
    rate, base, peak = rates["rate"], rates["base"], rates["peak"]
    if duration_s is None or rate is None or base is None or peak is None or spike is None:
        return None
    arrivals = Arrivals(kind, duration_s, rate, base, peak, *spike, cv=1.0 if cv is None else cv)
    if kind is ArrivalKind.SPIKE and peak <= base:
        what = f"the spike's peak ({peak:g}) is not above its base ({base:g})"
        table.refuse("peak", what, "raise peak or lower base")
    if (count := expected_count(arrivals)) > MOST_REQUESTS:
        what = f"the plan would hold about {count:,.0f} requests"
        table.refuse("duration", what, f"stay under {MOST_REQUESTS:,}: lower the rate or the duration")
    return arrivals


def _read_spike(table: Table, duration_s: float | None) -> tuple[float, float] | None:
    """Start and length of the spike in seconds."""
    at_s = table.duration("spike_at", low=0.0)
    for_s = table.duration("spike_for", above=0.0)
    if duration_s is None or (at_s is None and "spike_at" in table) or (for_s is None and "spike_for" in table):
        return None
    at_s = duration_s * SPIKE_AT if at_s is None else at_s
    if at_s >= duration_s:
        what = f"the spike starts at {at_s:g} s, after the end ({duration_s:g} s)"
        table.refuse("spike_at", what, "start it earlier")
        return None
    if for_s is None:
        for_s = min(duration_s * SPIKE_FOR, duration_s - at_s)
    if at_s + for_s > duration_s + 1e-9:
        what = f"the spike ends at {at_s + for_s:g} s, after the end ({duration_s:g} s)"
        table.refuse("spike_for", what, f"make spike_for at most {duration_s - at_s:g}")
        return None
    return at_s, for_s
