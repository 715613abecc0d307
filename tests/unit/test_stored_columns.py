"""Columns read from a journal are those made of the same objects, and the live counters can take up from them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from test_live_run import RATES, SLO, runs

from scenarios.definition import GateSpec
from scenarios.errors import MiscountError
from scenarios.journal import JournalReader, JournalWriter
from scenarios.metrics import LATENCIES
from scenarios.observation import Finding, Judged, Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.runner.live import LiveRun
from scenarios.summary import columns as columns_module
from scenarios.summary import columns_of, stored_columns
from scenarios.summary.columns import Columns

Run = list[tuple[PlannedRequest, Observation, Judged, tuple[Finding, ...]]]


def stored(run: Run) -> Columns:
    with tempfile.TemporaryDirectory() as folder:
        writer = JournalWriter(Path(folder, "j"))
        writer.add_plan(request for request, *_ in run)
        for _, observation, judged, findings in reversed(run):  # they end in any order
            writer.add_observations([observation])
            writer.add_judged([judged])
            writer.add_findings(findings)
        writer.close()
        with JournalReader(writer.path) as reader:
            return stored_columns(reader)


def same(one: Columns, other: Columns) -> None:
    for name in Columns.__dataclass_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if name in ("gap_s", "gap_row"):
            a, b = np.sort(a), np.sort(b)
        if name == "flagged":
            assert {key: rows.tolist() for key, rows in a.items()} == {key: rows.tolist() for key, rows in b.items()}
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)


@given(runs())
@settings(max_examples=50, deadline=None)
def test_they_are_the_same_by_both_roads(run: Run) -> None:
    made = columns_of(
        [request for request, *_ in run],
        [observation for _, observation, _, _ in run],
        [judged for _, _, judged, _ in run],
        [finding for *_, findings in run for finding in findings],
    )
    same(stored(run), made)
    for name in LATENCIES.keys() - {"itl_s"}:
        np.testing.assert_array_equal(stored(run).latency_s[name], made.latency_s[name])


@given(runs())
@settings(max_examples=50, deadline=None)
def test_live_counters_taken_up_are_as_if_folded(run: Run) -> None:
    due_ns = np.array([request.due_ns for request, *_ in run], dtype=np.int64)
    folded, taken_up = LiveRun(due_ns, SLO), LiveRun(np.empty(0, dtype=np.int64), SLO)
    for request, observation, judged, findings in run:
        if observation.outcome is not Outcome.UNSENT:
            folded.fold(request, observation, judged, findings)
    taken_up.take_up(stored(run))
    gates = [GateSpec(name, minimum=0.5) for name in (*RATES, "findings.any", "findings.leak", "findings.escape")]
    assert taken_up.counts(gates) == folded.counts(gates)
    assert taken_up.outcomes == folded.outcomes
    assert taken_up.findings == folded.findings
    assert (taken_up.tokens, taken_up.planned) == (folded.tokens, folded.planned)
    assert taken_up.sketches == folded.sketches
    assert set(taken_up.models) == {one.fingerprint for _, one, _, _ in run if one.fingerprint}


def test_a_request_without_an_observation_is_unsent(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j")
    writer.add_plan(PlannedRequest(index=i, due_ns=i * 10, path="/", body=b"", profile="it-ops") for i in range(3))
    writer.add_observations([Observation(index=1, due_ns=10, end_ns=15, outcome=Outcome.OK)])
    writer.close()
    with JournalReader(writer.path) as reader:
        columns = stored_columns(reader)
    assert columns.is_outcome(Outcome.UNSENT).tolist() == [True, False, True]
    assert columns.end_s.tolist() == [0.0, 1.5e-8, 2e-8]


def test_of_a_target_that_names_itself_anew_in_each_answer_the_first_names_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(columns_module, "MOST_FINGERPRINTS", 10)
    requests = [PlannedRequest(index=i, due_ns=0, path="/", body=b"", profile="it-ops") for i in range(40)]
    observations = [
        Observation(index=i, due_ns=0, end_ns=9, outcome=Outcome.OK, fingerprint=f"m {i if i < 30 else 3}")
        for i in range(40)
    ]
    names = columns_of(requests, observations).fingerprints
    assert len(names) == 10
    assert next(iter(names.items())) == ("m 3", 11)


def test_an_observation_of_no_request_is_a_bug(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j")
    writer.add_observations([Observation(index=1, due_ns=10, end_ns=15, outcome=Outcome.OK)])
    writer.close()
    with JournalReader(writer.path) as reader, pytest.raises(MiscountError, match="1 observations belong to no"):
        stored_columns(reader)


def test_of_too_many_gaps_whole_streams_are_left_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "MOST_GAPS", 10)
    requests = [PlannedRequest(index=i, due_ns=0, path="/", body=b"", profile="it-ops") for i in range(20)]
    observations = [
        Observation(index=i, due_ns=0, end_ns=9, outcome=Outcome.OK, event_ns=(1, 2 + i, 3 + i)) for i in range(20)
    ]
    columns = columns_of(requests, observations)
    assert columns.gap_share == 0.25
    assert sorted(set(columns.gap_row.tolist())) == [0, 4, 8, 12, 16]


def test_a_gap_too_long_for_a_step_is_still_a_gap() -> None:
    request = PlannedRequest(index=0, due_ns=0, path="/", body=b"", profile="it-ops")
    observation = Observation(index=0, due_ns=0, end_ns=9, outcome=Outcome.OK, event_ns=(1, 10_000_000_001))
    assert columns_of([request], [observation]).gap_s.tolist() == [10.0]
