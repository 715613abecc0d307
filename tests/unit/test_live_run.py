"""The live counters take a cheaper road than the summary; they must come to the same numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenarios.definition import GateSpec, Slo
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.runner.live import LiveRun
from scenarios.summary import columns_of
from scenarios.summary.rates import share

RATES = ("goodput", "ok_rate", "shed_rate", "error_rate", "accuracy", "accuracy.era_a", "accuracy.era_b", "odd.correct")
SLO = Slo(ttft_s=0.5, tpot_s=0.05, e2e_s=2.0)
MS = 1_000_000


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[PlannedRequest, Observation, Judged, tuple[Finding, ...]]]:
    made = []
    for index in range(draw(st.integers(0, 12))):
        outcome = draw(st.sampled_from(Outcome))
        due = index * 100 * MS
        first = due + draw(st.integers(1, 900)) * MS
        gaps = draw(st.lists(st.integers(1, 120), max_size=4))
        times = tuple(first + sum(gaps[:count]) * MS for count in range(len(gaps) + 1))
        spoke = outcome is Outcome.OK and draw(st.booleans())
        observation = Observation(
            index=index,
            due_ns=due,
            outcome=outcome,
            sent_ns=None if outcome is Outcome.UNSENT else due,
            first_ns=times[0] if spoke else None,
            answer_ns=times[0] if spoke else None,
            last_ns=times[-1] if spoke else None,
            event_ns=times if spoke else (),
            end_ns=times[-1],
            completion_tokens=draw(st.sampled_from([None, 1, len(times)])) if spoke else None,
            answer="yes" if spoke else "",
            attempts=draw(st.integers(1, 3)),
            begun=draw(st.integers(0, 3)),
            fingerprint=draw(st.sampled_from(["", "demo fp_1", "demo fp_2"])),
        )
        request = PlannedRequest(
            index=index,
            due_ns=due,
            path="/",
            body=b"",
            profile=draw(st.sampled_from(["it-ops", "odd"])),
            era=draw(st.sampled_from("AB")),
        )
        judged = Judged(index=index, correct=draw(st.sampled_from([None, True, False])))
        found = draw(st.booleans()) and spoke
        finding = Finding(index=index, category="leak", severity="high", start=0, end=1, detector="rule")
        made.append((request, observation, judged, (finding,) if found else ()))
    return made


@given(runs())
def test_every_live_rate_is_the_rate_of_the_summary(
    run: list[tuple[PlannedRequest, Observation, Judged, tuple[Finding, ...]]],
) -> None:
    live = LiveRun(np.array([request.due_ns for request, *_ in run], dtype=np.int64), SLO)
    for request, observation, judged, findings in run:
        live.fold(request, observation, judged, findings)
    columns = columns_of(
        [request for request, *_ in run],
        [observation for _, observation, _, _ in run],
        [judged for _, _, judged, _ in run],
        [finding for *_, findings in run for finding in findings],
    )
    names = (*RATES, "findings.any", "findings.leak", "findings.escape")
    counts = live.counts([GateSpec(name, minimum=0.5) for name in names])
    for name in names:
        expected = share(columns, SLO, name)
        assert counts[name] == (expected.hits, expected.n), name
    for family in ("ttft_s", "ttfa_s", "e2e_s", "tpot_s", "shed_s"):
        values = columns.latency_s[family]
        assert live.sketches[family].n == len(values[values == values]), family
    assert live.sketches["itl_s"].n == len(columns.gap_s)
    assert live.outcomes.total() == len(run)


def test_rates_count_the_last_two_seconds() -> None:
    requests = [PlannedRequest(index=i, due_ns=i * 100 * MS, path="/", body=b"") for i in range(40)]
    live = LiveRun(np.array([request.due_ns for request in requests]), Slo())
    for request in requests[:35]:
        end = request.due_ns + 50 * MS
        observation = Observation(
            index=request.index, due_ns=request.due_ns, outcome=Outcome.OK, end_ns=end, completion_tokens=3
        )
        live.fold(request, observation, Judged(index=request.index), ())
    due, done, tokens = live.rates(3.5)
    assert (due, done, tokens) == (10.0, 10.0, 30.0)
