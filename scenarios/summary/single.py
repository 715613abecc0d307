"""One finished request by itself: the latencies that it has, and whether it was served inside the SLO.

The same as the columns say of its row (scenarios.summary.columns, rates), for those who cannot wait for the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.definition import Slo
from scenarios.observation import Observation, Outcome

NS = 1_000_000_000


def latencies_of(observation: Observation) -> dict[str, float]:
    """The latencies from due that this request has, seconds."""
    due, first, last = observation.due_ns, observation.first_ns, observation.last_ns
    found: dict[str, float] = {}
    if first is not None:
        found["ttft_s"] = (first - due) / NS
    if observation.answer_ns is not None:
        found["ttfa_s"] = (observation.answer_ns - due) / NS
    if observation.outcome is Outcome.OK:
        found["e2e_s"] = ((observation.end_ns if last is None else last) - due) / NS
    if observation.outcome is Outcome.SHED:
        found["shed_s"] = (observation.end_ns - due) / NS
    tokens = observation.completion_tokens or 0
    if first is not None and last is not None and tokens >= 2 and last > first:
        found["tpot_s"] = (last - first) / NS / (tokens - 1)
    return found


def inside(slo: Slo, latencies: Mapping[str, float]) -> bool:
    """Whether an ok request met every bound; what it does not have is not held against it, save the first token."""
    first = latencies.get("ttft_s", latencies["e2e_s"])
    return (
        (slo.ttft_s is None or first <= slo.ttft_s)
        and (slo.e2e_s is None or latencies["e2e_s"] <= slo.e2e_s)
        and (slo.tpot_s is None or latencies.get("tpot_s", 0.0) <= slo.tpot_s)
    )
