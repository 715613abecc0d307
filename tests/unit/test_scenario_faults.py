"""Faults as a scenario file says them: every key reaches the scenario, every mistake has its line and its fix."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.definition import Blast, Chaos, Condition, FaultSpec, Matrix, Phase, Scenario
from scenarios.errors import DefinitionErrors, Mistake
from scenarios.faults.kinds import KINDS, Param, Unit, Via
from scenarios.scenario_file import override, parse_scenario, within
from scenarios.toml.keys import FAULT_KEYS

HEAD = """\
name = "stormy"
[workload]
profile = "support-chat"
[arrivals]
kind = "poisson"
rate = 2.0
duration = "60s"
"""
CHAOS = """\
name = "stormy"
[workload]
profile = "support-chat"
[[gates]]
metric = "error_rate"
max = 0.5
[chaos]
"""
LATENCY = '[[faults]]\nkind = "network.latency"\nat = "10s"\n'


def read(tail: str, head: str = HEAD) -> Scenario:
    return parse_scenario(head + tail, "s.toml")


def mistakes(tail: str, head: str = HEAD) -> tuple[Mistake, ...]:
    with pytest.raises(DefinitionErrors) as caught:
        read(tail, head)
    return caught.value.mistakes


def only(tail: str, head: str = HEAD) -> Mistake:
    found = mistakes(tail, head)
    assert len(found) == 1, [str(one) for one in found]
    return found[0]


def written(param: Param, value: float | str) -> str:
    return f"{param.name} = {json.dumps(value)}"


def other_than_default(param: Param) -> float | str:
    if param.words:
        return param.words[-1]
    if param.unit in (Unit.BYTES, Unit.COUNT):
        return int(param.low) if param.default != param.low else int(param.low) + 1
    return param.low if param.default != param.low else (param.low + param.high) / 2


def test_every_key_of_a_fault_reaches_the_scenario() -> None:
    tail = """
[[faults]]
kind = "network.latency"
at = "10s"
for = "7s"
share = 0.5
hits = 20
until = { metric = "ttft_s.p95", above = "2s", for = "3s" }
delay = "300ms"
jitter = 0.05
direction = "both"
[[faults]]
kind = "network.close"
random = { times = 3, from = "20s", to = "50s" }
for = "2s"
after = "64KB"
[[faults]]
kind = "engine.kill"
at = 59
"""
    assert read(tail).faults == (
        FaultSpec(
            "network.latency", 10.0, 7.0, 0.5, 20, Condition("ttft_s.p95", above=2.0, for_s=3.0),
            (("delay", 0.3), ("jitter", 0.05), ("direction", "both")),
        ),
        FaultSpec("network.close", 20.0, 2.0, params=(("after", 65536),), times=3, by_s=50.0),
        FaultSpec("engine.kill", 59.0, params=(("part", "all"),)),
    )  # fmt: skip


def test_every_table_about_faults_reaches_the_scenario() -> None:
    tail = """
[[abort]]
metric = "error_rate"
above = 0.5
for = "10s"
[[abort]]
metric = "in_flight"
below = 1
[blast_radius]
share = 0.5
at_once = 2
length = "20s"
[matrix]
faults = ["http", "stream.st*"]
slot = "8s"
lead = 1
length = "2s"
[[gates]]
metric = "error_rate"
max = 0.5
"""
    scenario = read(tail.replace("share = 0.5", "share = 1.0"))
    assert scenario.abort == (Condition("error_rate", above=0.5, for_s=10.0), Condition("in_flight", below=1.0))
    assert scenario.blast == Blast(1.0, 2, 20.0)
    names = ("http.error", "http.too_many", "http.header_lost", "http.error_in_200", "stream.stall")
    assert scenario.matrix == Matrix(names, 8.0, 1.0, 2.0)
    assert [(fault.kind, fault.at_s, fault.for_s) for fault in scenario.faults] == [
        (name, 8.0 * slot + 1.0, 2.0) for slot, name in enumerate(names)
    ]
    assert read(LATENCY).abort == ()
    assert read(LATENCY).blast == Blast()


def test_a_chaos_search_has_defaults_and_takes_every_key() -> None:
    assert read("", CHAOS).chaos == Chaos()
    keys = 'budget = "90s"\nfaults = ["engine.kill"]\nmost_faults = 2\nmost_requests = 5\nsettle = 0'
    assert read(keys, CHAOS).chaos == Chaos(90.0, ("engine.kill",), 2, 5, 0.0)


@pytest.mark.parametrize(
    ("tail", "line", "what", "fix"),
    [
        ("buget = 5", 8, "unknown key 'buget'", 'did you mean "budget"?'),
        ("most_faults = 0", 8, "out of range", "at least 1"),
        ('faults = ["zzz.*"]', 8, "no fault kind 'zzz.*'", "choose one of"),
        ('[[faults]]\nkind = "engine.kill"\nat = 1', 7, "what goes wrong, and there is [[faults]]", "remove"),
        ('[arrivals]\nkind = "constant"\nrate = 1.0\nduration = 9', 7, "and there is [arrivals]", "remove"),
    ],
)
def test_a_mistake_about_a_chaos_search_is_named(tail: str, line: int, what: str, fix: str) -> None:
    found = only(tail, CHAOS)
    assert found.line == line
    assert what in found.what
    assert fix in found.fix


def test_a_chaos_search_without_a_gate_has_nothing_to_find() -> None:
    head = CHAOS[: CHAOS.index("[[gates]]")] + "[chaos]\n"
    assert "needs a gate that may fail" in only("", head).what


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_taken_with_its_defaults_and_with_its_parameters(name: str) -> None:
    kind = KINDS[name]
    plain = f'[[faults]]\nkind = "{name}"\nat = "10s"\n'
    (fault,) = read(plain).faults
    assert dict(fault.params) == {param.name: param.default for param in kind.params}
    assert fault.for_s == (0.0 if kind.instant else 5.0)
    changed = {param.name: other_than_default(param) for param in kind.params}
    (fault,) = read(plain + "\n".join(written(param, changed[param.name]) for param in kind.params)).faults
    assert dict(fault.params) == changed


@pytest.mark.parametrize("name", KINDS)
def test_no_parameter_of_a_kind_is_called_like_a_key_of_every_fault(name: str) -> None:
    assert not {param.name for param in KINDS[name].params} & set(FAULT_KEYS)
    assert all(param.words or param.low <= float(param.default) <= param.high for param in KINDS[name].params)


@pytest.mark.parametrize(
    ("tail", "line", "what", "fix"),
    [
        ('[[faults]]\nkind = "network.latncy"\nat = 3', 9, "unknown fault kind", 'did you mean "network.latency"?'),
        ('[[faults]]\nat = 3', 8, "missing key 'kind'", "engine.kill"),
        ('[[faults]]\nkind = "engine.kill"', 8, "missing key 'at'", "random = {"),
        ('[[faults]]\nkind = "engine.kill"\nat = 3\nrandom = { times = 1, from = 1, to = 2 }', 11, "both given", "one"),
        ('[[faults]]\nkind = "engine.kill"\nat = 3\nfor = "2s"', 11, "over as soon as it has struck", "remove for"),
        ('[[faults]]\nkind = "engine.kill"\nat = 3\nuntil = { metric = "ok_rate", above = 1 }', 11, "over as", "until"),
        ('[[faults]]\nkind = "engine.kill"\nat = 3\nshare = 0.5', 11, "on the way", "remove share"),
        ('[[faults]]\nkind = "host.cpu"\nat = 3\nhits = 5', 11, "on the way", "remove hits"),
        ('[[faults]]\nkind = "engine.kill"\nat = 3\npart = "head"', 11, "unknown part 'head'", "all, api, decode"),
        ('[[faults]]\nkind = "engine.kill"\nat = 61', 10, "starts at 61 s, after the end of the run (60 s)", "earlier"),
        ('[[faults]]\nkind = "network.slice"\nat = 58', 10, "ends at 63 s, after the end of the run (60 s)", '"2s"'),
        ('[[faults]]\nkind = "network.slice"\nat = 50\nfor = "20s"', 11, "ends at 70 s", 'for = "10s"'),
        ('[[faults]]\nkind = "engine.kill"\nrandom = { times = 1, from = 1, to = 61 }', 10, "at 61 s, after", "run"),
        ('[[faults]]\nkind = "engine.kill"\nrandom = { times = 1, from = 9, to = 9 }', 10, "before it begins", "less"),
        ('[[faults]]\nkind = "engine.kill"\nrandom = { times = 1, from = 9 }', 10, "missing key 'to'", "to ="),
        ('[[faults]]\nkind = "engine.kill"\nrandom = { time = 1, from = 1, to = 9 }', 10, "key 'time'", "times"),
        ('[[faults]]\nkind = "engine.kill"\nrandom = "often"', 10, "random must be a table", "{ ... }"),
        (LATENCY + 'delay = "3 s"', 11, "delay has a wrong unit", 'write "3s"'),
        (LATENCY + "delay = 61", 11, "delay is out of range", "at most 60"),
        (LATENCY + "delai = 1", 11, "unknown key 'delai'", 'did you mean "delay"?'),
        (LATENCY + "share = 0", 11, "share is out of range", "more than 0"),
        (LATENCY + "hits = 0", 11, "hits is out of range", "at least 1"),
        (LATENCY + "for = 0", 11, "for is out of range", "more than 0"),
        (LATENCY + 'until = { metric = "latency", above = 1 }', 11, "unknown live figure 'latency'", "choose one of"),
        (LATENCY + 'until = { metric = "ok_rate" }', 11, "neither above nor below", "add above"),
        ('[[faults]]\nkind = "network.reset"\nat = 3\nafter = "64 kB"', 11, "no number of bytes", '"64KB"'),
        ('[[faults]]\nkind = "network.reset"\nat = 3\nafter = 1.5', 11, "no number of bytes", '"64KB"'),
        ('[[faults]]\nkind = "network.slice"\nat = 3\nsize = "2MB"', 11, "size is out of range", "at most 1.04858e+06"),
        ('[[faults]]\nkind = "stream.stall"\nat = 3\nafter = 1.5', 11, "must be a whole number", "after = 2"),
        ('[[faults]]\nkind = "host.cpu"\nat = 3\nload = 2', 11, "load is out of range", "at most 1"),
        ('[[abort]]\nmetric = "error_rate"\nabove = 50', 10, "above is out of range", "at most 1"),
        ('[[abort]]\nmetric = "error_rate"\nabove = 0.5\nbelow = 0.1', 11, "both given", "keep one"),
        ('[[abort]]\nmetric = "ttft_s.p95"\nabove = "2 s"', 10, "wrong unit", '"2s"'),
        ('[[abort]]\nmetric = "eror_rate"\nabove = 1', 9, "unknown live figure", 'did you mean "error_rate"?'),
        ('[[abort]]\nabove = 1', 8, "missing key 'metric'", "add metric"),
        ('[abort]\nmetric = "error_rate"', 8, "abort must be a list of tables", "[[abort]]"),
        ('[blast_radius]\nshare = 0', 9, "out of range", "more than 0"),
        ('[blast_radius]\natonce = 1', 9, "unknown key 'atonce'", 'did you mean "at_once"?'),
        ('[matrix]\nfaults = ["netwrk.reset"]', 9, "no fault kind 'netwrk.reset'", 'did you mean "network.reset"?'),
        ('[matrix]\nfaults = "network.*"', 9, "must be a list of names", "faults ="),
        ('[matrix]\nslot = "5s"', 8, "leaves nothing of a slot of 5 s", "make slot longer"),
        ('[matrix]', 8, "48 slots of 10 s take 480 s, longer than the run (60 s)", '"480s"'),
        ('[matrix]\nslots = "5s"\nfaults = ["engine.kill"]', 9, "unknown key 'slots'", 'did you mean "slot"?'),
        ('[[gates]]\nmetric = "ok_rate"\nmin = 0.1\nphase = "during"', 11, "nothing during them", "add [[faults]]"),
        (LATENCY + '[[gates]]\nmetric = "ok_rate"\nmin = 0.1\nphase = "later"', 14, "unknown phase 'later'", "after"),
        (LATENCY + '[[gates]]\nmetric = "recovery_s.max"\nmax = 1\nphase = "after"', 14, "one number of", "phase"),
        ("at_once = 3", 8, "unknown key 'at_once' in [arrivals]", "it belongs under [blast_radius]"),
    ],
)  # fmt: skip
def test_a_mistake_about_faults_is_named_with_its_line_and_its_fix(tail: str, line: int, what: str, fix: str) -> None:
    found = only(tail + "\n")
    assert found.line == line
    assert what in found.what
    assert fix in found.fix


@pytest.mark.parametrize(
    ("blast", "tail", "line", "what"),
    [
        ("share = 0.5", LATENCY, 10, "network.latency hits a share of 1, more than 0.5"),
        ("share = 0.5", LATENCY + "share = 0.6\n", 13, "network.latency hits a share of 0.6, more than 0.5"),
        ("share = 0.5", '[[faults]]\nkind = "engine.kill"\nat = 3\n', 10, "engine.kill hits a share of 1"),
        ('length = "4s"', LATENCY, 10, "lasts 5 s, longer than 4 s"),
        ('length = "4s"', LATENCY + 'for = "9s"\n', 13, "lasts 9 s, longer than 4 s"),
        ("at_once = 1", LATENCY + LATENCY, 15, "2 faults are on at 10 s, more than at_once (1) allows"),
        ("at_once = 1", '[matrix]\nfaults = ["engine.*"]\nslot = "6s"\n' + LATENCY, 10, "2 faults are on at 14 s"),
        (
            "at_once = 1",
            '[[faults]]\nkind = "network.reset"\nrandom = { times = 4, from = 10, to = 40 }\n',
            12,
            "30 s are too few to draw 4 of network.reset with at most 1 at once",
        ),
    ],
)
def test_a_fault_beyond_the_blast_radius_is_refused(blast: str, tail: str, line: int, what: str) -> None:
    found = only(f"[blast_radius]\n{blast}\n{tail}")
    assert found.line == line
    assert what in found.what


def test_faults_that_touch_end_to_end_are_not_on_together() -> None:
    assert len(read("[blast_radius]\nat_once = 1\n" + LATENCY + LATENCY.replace("10s", "15s")).faults) == 2


def test_a_blast_radius_asked_for_refuses_what_is_above_it_and_names_the_fault() -> None:
    scenario = read(LATENCY + "share = 0.4\n" + '[[faults]]\nkind = "stream.stall"\nat = "20s"\nshare = 0.6\n')
    assert within(scenario, 0.6).blast.share == 0.6
    with pytest.raises(
        DefinitionErrors, match=r"--blast-radius: the fault at 20 s, stream\.stall hits a share of 0\.6"
    ):
        within(scenario, 0.5)
    narrow = read("[blast_radius]\nshare = 0.4\n" + LATENCY + "share = 0.4\n")
    assert within(narrow, 0.9).blast.share == 0.4


def test_a_longer_run_stretches_faults_random_ones_and_slots_alike() -> None:
    tail = LATENCY + '[[faults]]\nkind = "network.reset"\nfor = "1s"\nrandom = { times = 2, from = 20, to = 30 }\n'
    scenario = override(read(tail + '[matrix]\nfaults = ["engine.kill"]\n'), duration_s=120.0)
    assert [(fault.at_s, fault.for_s, fault.by_s) for fault in scenario.faults] == [
        (20.0, 10.0, 0.0),
        (40.0, 2.0, 60.0),
        (4.0, 0.0, 0.0),
    ]
    assert scenario.matrix == Matrix(("engine.kill",), 20.0, 4.0, 6.0)


def test_a_run_made_so_long_that_a_fault_outlasts_the_blast_radius_is_refused() -> None:
    with pytest.raises(DefinitionErrors, match=r"--duration: then network\.latency lasts 50 s, longer than 20 s"):
        override(read('[blast_radius]\nlength = "20s"\n' + LATENCY), duration_s=600.0)


def test_a_closed_loop_takes_faults_at_any_time_but_no_matrix() -> None:
    closed = HEAD[: HEAD.index("[arrivals]")] + '[arrivals]\nkind = "closed"\nconcurrency = 2\nrequests = 9\n'
    assert read('[[faults]]\nkind = "network.latency"\nat = "2h"\n', closed).faults[0].at_s == 7200.0
    assert "a closed loop has no duration" in only('[matrix]\nfaults = ["engine.kill"]\n', closed).what


def test_gates_on_parts_of_a_run_stand_beside_the_one_on_the_whole() -> None:
    parts = [f'[[gates]]\nmetric = "ttft_s.p95"\nmax = 1\nphase = "{phase}"\n' for phase in Phase]
    gates = read(LATENCY + "".join(parts)).gates
    assert [(gate.name, gate.phase) for gate in gates] == [
        ("ttft_s.p95", Phase.WHOLE),
        ("ttft_s.p95 before", Phase.BEFORE),
        ("ttft_s.p95 during", Phase.DURING),
        ("ttft_s.p95 after", Phase.AFTER),
    ]
    assert "duplicate" in only(LATENCY + parts[1] + parts[1]).what


@pytest.mark.parametrize("tail", [LATENCY, '[matrix]\nfaults = ["engine.kill"]\n'])
def test_a_run_with_faults_of_any_sort_is_not_alike_all_along(tail: str) -> None:
    gate = '[[gates]]\nmetric = "ok_rate"\nmin = 0.1\nsequential = true\n'
    assert "a [matrix] or [chaos]" in only(tail + gate).what


LINES = (
    '[[faults]]', 'kind = "network.latency"', 'kind = "engine.kill"', 'at = "3s"', 'for = "2s"', "share = 0.5",
    'random = { times = 2, from = "1s", to = "9s" }', 'until = { metric = "ok_rate", below = 0.5 }', "hits = 3",
    '[[abort]]', 'metric = "error_rate"', "above = 0.5", "[blast_radius]", "at_once = 1", 'length = "9s"', "[matrix]",
    'faults = ["engine.*"]', 'slot = "4s"', "lead = 0", "[chaos]", 'budget = "9s"', "[[gates]]", 'phase = "during"',
)  # fmt: skip


def scenario_or_mistakes(text: str) -> Scenario | tuple[Mistake, ...]:
    try:
        return parse_scenario(text, "s.toml")
    except DefinitionErrors as error:
        return error.mistakes


@given(st.lists(st.sampled_from(LINES), max_size=20), st.text(max_size=10))
@settings(max_examples=300, deadline=None)
def test_any_lines_about_faults_give_a_scenario_or_a_list_of_mistakes(lines: list[str], noise: str) -> None:
    text = HEAD + "\n".join([*lines, noise])
    found = scenario_or_mistakes(text)
    if isinstance(found, tuple):
        assert all(1 <= one.line <= text.count("\n") + 1 and one.what and one.fix for one in found)
        return
    for fault in found.faults:
        assert KINDS[fault.kind].instant == (fault.for_s == 0.0)
        assert fault.share == 1.0 or KINDS[fault.kind].via is Via.PROXY
        assert max(fault.at_s, fault.by_s) + fault.for_s <= found.arrivals.duration_s + 1e-9
