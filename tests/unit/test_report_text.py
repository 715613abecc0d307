"""The text report: fits its width, says everything, lets nothing from outside act on the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_samples import NASTY, make_document, make_gate, write_journal

from scenarios.journal import JournalReader
from scenarios.report import Material, gather, render_text
from scenarios.report.layout import cells, cut, pad
from scenarios.report.words import keyed, of_metric, seconds, share
from scenarios.result import GateVerdict, Verdict

ALL_VERDICTS = (
    make_gate("fast", GateVerdict.PASS),
    make_gate("good", GateVerdict.FAIL, metric="goodput", bound=">= 0.95", measured=0.9375, interval=(0.9, 0.96)),
    make_gate("sure", GateVerdict.INCONCLUSIVE, needed=1420, reason="the interval crosses the bound"),
    make_gate("lag", GateVerdict.INVALID, reason="the load worker was 300 ms late"),
    make_gate("none", GateVerdict.INCONCLUSIVE, measured=None, interval=None),
)


def material(document: object = None, **changes: object) -> Material:
    return Material(document=document or make_document(), **changes)  # type: ignore[arg-type]


def test_the_report_says_verdict_gates_outcomes_latencies_recovery_findings_and_the_journal() -> None:
    text = render_text(material(make_document(Verdict.NO_GO, ALL_VERDICTS)), "/runs/x/journal.sqlite")
    flat = re.sub(r"\s+", " ", text)
    for part in (
        "✗ NO-GO peak-traffic",
        "✗ fail good",
        "93.75 %",
        ">= 95 %",
        "90 % to 96 %",
        "about 1,420 more requests would settle it",
        "! invalid",
        "the load worker was 300 ms late",
        "ok 300, shed 15, timeout 5, of 320 planned",
        "engine.kill at 90 s: back after 3.2 s",
        "spike at 120 s: not back inside the SLO in this run",
        "secret 2",
        "1.234 s",
        "tpot_s: no answer had two tokens",
        "Throughput 1.75 requests/s, 812.4 tokens/s, tokens by usage",
        "/runs/x/journal.sqlite",
        "seatrial export 20261122-101530-9f3a",
    ):
        assert part in flat, part


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_terminal(width: int, tmp_path: Path) -> None:
    document = make_document(Verdict.NO_GO, ALL_VERDICTS, target=NASTY * 3)
    with JournalReader(write_journal(tmp_path, document)) as reader:
        text = render_text(gather(reader, document), "/j", width)
    assert max(cells(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize("width", [80, 100])
def test_control_characters_from_outside_do_not_reach_the_terminal(width: int, tmp_path: Path) -> None:
    document = msgspec.structs.replace(make_document(Verdict.NO_GO, ALL_VERDICTS, target=NASTY), why=NASTY)
    with JournalReader(write_journal(tmp_path, document)) as reader:
        text = render_text(gather(reader, document), "/j", width)
    assert all(character.isprintable() or character == "\n" for character in text)


def test_an_incomplete_run_says_how_far_it_came() -> None:
    interrupted = material(make_document(state="interrupted"), observed=12)
    assert "interrupted after 12 of 320 requests" in render_text(interrupted, "/j", 100)
    aborted = material(make_document(state="aborted"), observed=12)
    assert "aborted after 12 of 320 requests: a condition" in render_text(aborted, "/j", 100)
    assert "died after 12 of 320 requests; everything committed is shown" in render_text(
        material(make_document(state="running"), observed=12), "/j", 100
    )
    assert "goes on: 12 of 320" in render_text(
        material(make_document(state="running"), observed=12, alive=True), "/j", 100
    )


def test_a_document_without_gates_or_latencies_still_makes_a_report() -> None:
    empty = make_document(Verdict.INCONCLUSIVE, ())
    nothing = msgspec.structs.replace(empty.summary.ttft_s, n=0)
    summary = msgspec.structs.replace(empty.summary, ttft_s=nothing, ttfa_s=nothing, itl_s=nothing, e2e_s=nothing)
    text = render_text(material(msgspec.structs.replace(empty, summary=summary)), "/j")
    assert "nothing was judged" in text
    assert "nothing was measured" in text


def test_odd_probes_are_named_where_goodput_sets_them_aside() -> None:
    document = make_document()
    assert "93.75 % of the planned ones that are no odd probes" in render_text(material(document), "/j", 100)
    summary = msgspec.structs.replace(document.summary, odd={"probes": 0, "correct": 0, "wrong": 0})
    text = render_text(material(msgspec.structs.replace(document, summary=summary)), "/j", 100)
    assert "93.75 % of all planned" in text
    assert "Odd input" not in text


def test_colour_only_wraps_the_same_text() -> None:
    document = make_document(Verdict.NO_GO, ALL_VERDICTS)
    marked = render_text(material(document), "/j", 80, lambda role, text: f"<{role}>{text}</{role}>")
    for role in ("good", "bad", "warn", "strong", "dim", "info"):
        marked = marked.replace(f"<{role}>", "").replace(f"</{role}>", "")
    assert marked == render_text(material(document), "/j", 80)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "n/a"), (0.0, "0 s"), (0.000012, "12 µs"), (0.4123, "412.3 ms"), (1.41239, "1.412 s"), (1800.0, "1,800 s")],
)
def test_seconds_take_the_unit_that_suits_them(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_a_share_is_never_rounded_up_to_the_whole() -> None:
    assert share(1.0) == "100 %"
    assert share(0.999999) != "100 %"
    assert share(0.982) == "98.2 %"


def test_a_metric_is_written_in_its_own_unit() -> None:
    assert of_metric("ttft_s.p95", 0.8) == "800 ms"
    assert of_metric("goodput", 0.95) == "95 %"
    assert of_metric("engine.restarts", 2) == "2"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [("accuracy_a", 0.394737, "39.47 %"), ("accuracy_drop", -0.01, "-1 %"), ("delay_s", 12.5, "12.5 s"),
     ("score", 0.31, "0.31"), ("detected", True, "yes"), ("evaluations", 3, "3"), ("p_value", None, "n/a")],
)  # fmt: skip
def test_a_value_of_a_free_mapping_is_written_in_the_unit_of_its_key(key: str, value: object, text: str) -> None:
    assert keyed(key, value) == text


@given(st.text(), st.integers(1, 40))
def test_padding_fills_exactly_its_columns_whatever_the_text(text: str, columns: int) -> None:
    assert cells(pad(text, columns)) == columns
    assert cells(cut(text, columns)) <= columns


def test_the_noise_floor_has_a_line_of_its_own_and_what_is_nought_is_left_out() -> None:
    facts = {
        "noise_floor_p50_s": 8e-5, "noise_floor_p99_s": 9e-4, "noise_send_p50_s": None, "noise_send_p99_s": None,
        "timer_p50_s": 5e-5, "timer_p99_s": 1e-4, "preflight": "16 streams x 50 events/s for 5 s",
        "send_lag_p99_s": 0.0004, "gc_share": 0.0, "worker_deaths": 0, "preempted_hz": 8.4,
    }  # fmt: skip
    document = make_document()
    summary = msgspec.structs.replace(document.summary, instrument=facts)
    flat = re.sub(r"\s+", " ", render_text(material(msgspec.structs.replace(document, summary=summary)), "j"))
    floor = "stamps 80 µs p50, 900 µs p99, timer 50 µs p50, 100 µs p99, by 16 streams x 50 events/s for 5 s"
    assert f"Noise floor {floor} Instrument sent late p99 400 µs, taken off its CPU per second 8.4 " in flat
    unmeasured = msgspec.structs.replace(document.summary, instrument={"noise_floor_p99_s": None})
    assert "Noise floor" not in render_text(material(msgspec.structs.replace(document, summary=unmeasured)), "j")
