"""A try as the file that replays it: what is written reads back as the scenario that was run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.chaos.draw import Draws
from scenarios.chaos.feel import Feel
from scenarios.chaos.gates import Held, Known, gates_of
from scenarios.chaos.one_try import Try
from scenarios.chaos.written import scenario_of, toml_of
from scenarios.definition import Blast, GateSpec, Over, Scenario
from scenarios.faults.kinds import KINDS
from scenarios.scenario_file import parse_scenario

MIXED = """\
name = "searched"
about = "with \\"quotes\\" and ünïcödé"
timeout = "3s"
[workload]
safety_share = 0.1
clients = { retry = { attempts = 5 } }
[workload.mix]
support-chat = 2.0
made = { profile = "synthetic", weight = 1.5, prompt_tokens = { min = 5, max = 50 }, output_tokens = 10 }
[workload.tenants]
one = 1.0
two = { weight = 2.0, key_env = "KEY_OF_TWO" }
[slo]
ttft_s = "800ms"
[engine]
slots = 4
[blast_radius]
at_once = 10
length = "30s"
[keep]
prompts = false
[[abort]]
metric = "error_rate"
above = 0.5
[chaos]
budget = "2m"
settle = "3s"
[[gates]]
metric = "ttft_s.p95"
max = 2.0
over = "planned"
confidence = 0.9
[[gates]]
metric = "error_rate"
max = 0.01
phase = "after"
"""
PLAIN = """\
name = "searched"
[workload]
profile = "dataset"
file = "questions.jsonl"
[chaos]
[[gates]]
metric = "error_rate"
max = 0
phase = "after"
"""


def written_and_read(base: Scenario, one: Try, held: Held, folder: Path = Path("/elsewhere")) -> None:
    text = toml_of(base, one, held, ("a remark\nthat goes on",))
    read = parse_scenario(text, str(folder / "minimal.toml"))
    assert dataclasses.replace(read, source=base.source) == scenario_of(base, one, held)


@given(st.integers(0, 1000), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_whatever_is_tried_reads_back_as_the_same_scenario(seed: int, nth: int) -> None:
    base = parse_scenario(MIXED, "s.toml")
    assert base.chaos is not None
    draws = Draws(seed, tuple(KINDS.values()), base.chaos, Blast(at_once=10, length_s=30.0), Feel(0.1, 0.7))
    for _ in range(nth):
        one = draws.next()
    assert one is not None
    for held in gates_of(base, one, Known(right=True, ours=True)):
        written_and_read(base, one, held)


@given(st.lists(st.floats(0, 600), min_size=1, max_size=8), st.floats(0.001, 500))
@settings(max_examples=60, deadline=None)
def test_any_times_read_back_to_the_bit(at_s: list[float], from_s: float) -> None:
    base = parse_scenario(MIXED, "s.toml")
    one = Try(tuple(sorted(at_s)))
    if from_s < one.arrivals.duration_s:
        written_and_read(base, one, Held(GateSpec("error_rate", maximum=0.0, name="back"), from_s))


def test_a_file_that_the_workload_names_is_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text(json.dumps({"prompt": "Add 1 and 2.", "answer": "3"}) + "\n")
    base = parse_scenario(PLAIN, str(tmp_path / "s.toml"))
    one = Try((0.0, 1.0))
    written_and_read(base, one, gates_of(base, one, Known())[0])


def test_in_a_mix_too(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text(json.dumps({"prompt": "Add 1 and 2.", "answer": "3"}) + "\n")
    mix = 'mix = { support-chat = 1, mine = { profile = "dataset", weight = 2, file = "questions.jsonl" } }'
    base = parse_scenario(PLAIN.replace('profile = "dataset"\nfile = "questions.jsonl"', mix), str(tmp_path / "s.toml"))
    written_and_read(base, Try((0.0,)), Held(GateSpec("accuracy", minimum=1.0, name="right")))


@pytest.mark.parametrize(
    "gate",
    [
        GateSpec("ttft_s.p95", maximum=2.0, confidence=0.9, name="all", over=Over.PLANNED),
        GateSpec("goodput", minimum=0.5, maximum=1.0, name="goodput"),
    ],
)
def test_all_of_a_gate_is_written(gate: GateSpec) -> None:
    base = parse_scenario(MIXED, "s.toml")
    written_and_read(base, Try((0.0, 2.5)), Held(gate, 1.25))


def test_a_remark_cannot_become_more_than_a_comment() -> None:
    base = parse_scenario(MIXED, "s.toml")
    held = Held(GateSpec("error_rate", maximum=0.0, name="back"))
    text = toml_of(base, Try((0.0,)), held, ("one\r\n[workload]\u2028x\x00",))
    assert text.splitlines()[0].startswith("# one")
    parse_scenario(text, "s.toml")
