"""The worst gate decides, INVALID never yields GO, and the sentence names the gate with its numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.result import GateResult, GateVerdict, Verdict
from scenarios.verdict import conclude


def gate(verdict: GateVerdict, **rest: Any) -> GateResult:
    made: dict[str, Any] = {
        "name": "ttft_s.p95", "metric": "ttft_s.p95", "bound": "<= 0.8", "measured": 0.914, "interval": (0.85, 0.99),
        "confidence": 0.95, "n": 400, "verdict": verdict,
    }  # fmt: skip
    return GateResult(**(made | rest))


@given(st.lists(st.sampled_from(list(GateVerdict)), min_size=1, max_size=6), st.booleans())
def test_the_worst_gate_decides(verdicts: list[GateVerdict], interrupted: bool) -> None:
    verdict, why = conclude([gate(one) for one in verdicts], interrupted)
    if GateVerdict.INVALID in verdicts:
        assert verdict is Verdict.INVALID
    elif GateVerdict.FAIL in verdicts:
        assert verdict is Verdict.NO_GO
    elif GateVerdict.INCONCLUSIVE in verdicts or interrupted:
        assert verdict is Verdict.INCONCLUSIVE
    else:
        assert verdict is Verdict.GO
    assert why.endswith(".")
    assert "\n" not in why


@pytest.mark.parametrize("verdict", list(GateVerdict))
def test_a_run_that_was_ruled_out_is_no_go_whatever_its_gates_say(verdict: GateVerdict) -> None:
    why = "The run was aborted after 3.0 s: error_rate above 0.5, it is 0.7."
    assert conclude([gate(verdict)], interrupted=True, ruled_out=why) == (Verdict.NO_GO, why)
    assert conclude([], ruled_out=why) == (Verdict.NO_GO, why)


@pytest.mark.parametrize("gates", [[], [gate(GateVerdict.INVALID)]])
def test_a_run_that_was_ruled_out_by_what_cannot_be_trusted_is_invalid(gates: list[GateResult]) -> None:
    verdict, why = conclude(gates, interrupted=True, ruled_out="The run was aborted.", spoilt="its proxy was gone")
    assert (verdict, why) == (Verdict.INVALID, "The run cannot be judged: its proxy was gone.")


def test_an_interrupted_run_is_never_go() -> None:
    verdict, why = conclude([gate(GateVerdict.PASS)], interrupted=True)
    assert verdict is Verdict.INCONCLUSIVE
    assert "interrupted" in why


def test_a_run_without_gates_decides_nothing() -> None:
    assert conclude([])[0] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("gates", "sentence"),
    [
        (
            [gate(GateVerdict.FAIL), gate(GateVerdict.PASS)],
            "1 of 2 gates failed: ttft_s.p95 is 0.914 s, bound <= 0.8 s, 95 % interval 0.85 to 0.99 s, n = 400.",
        ),
        (
            [gate(GateVerdict.FAIL, name="fast", metric="goodput", measured=0.5, interval=None, n=1)],
            "The only gate failed: fast (goodput) is 0.5, bound <= 0.8.",
        ),
        (
            [gate(GateVerdict.INCONCLUSIVE, interval=(0.7, None), reason="about 40 more would settle it")],
            "The only gate is not settled: ttft_s.p95 is 0.914 s, bound <= 0.8 s, 95 % interval 0.7 to unbounded s, "
            "n = 400; about 40 more would settle it.",
        ),
        (
            [gate(GateVerdict.PASS)] * 3,
            "All 3 gates passed: first ttft_s.p95 is 0.914 s, bound <= 0.8 s, 95 % interval 0.85 to 0.99 s, n = 400.",
        ),
    ],
)
def test_the_sentence_names_the_deciding_gate_with_its_numbers(gates: list[GateResult], sentence: str) -> None:
    assert conclude(gates)[1] == sentence
