"""A scenario file becomes a Scenario, or every mistake in it is named with its line and its fix."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.definition import (
    ArrivalKind,
    Arrivals,
    Drift,
    EngineSettings,
    FaultSpec,
    GateSpec,
    Over,
    Search,
    Slo,
    WarmupRule,
    WindowSpec,
)
from scenarios.errors import DefinitionErrors, Mistake, UnknownScenario
from scenarios.scenario_file import LARGEST_FILE, find_scenario, override, parse_scenario, read_scenario
from scenarios.toml_lines import parse
from scenarios.toml_table import nearest, seconds

WHOLE = """\
name = "everything"
about = "One of each"
timeout = "20s"
[workload]
mix = { "support-chat" = 2.0, odd = 1 }
drift = { start = 0.4, end = 0.8 }
safety_share = 0.1
[arrivals]
kind = "spike"
base = 4.0
peak = 20
spike_at = "1m"
spike_for = "20s"
duration = "3m"
[slo]
ttft_s = 0.8
tpot_s = "250ms"
e2e_s = 5
[engine]
slots = 8
ctx = 2048
queue_limit = 0
threads = 2
[[faults]]
kind = "engine.kill"
at = "90s"
part = "decode"
[[faults]]
kind = "engine.kill"
at = 100
[[gates]]
metric = "ttft_s.p95"
max = "800ms"
confidence = 0.9
name = "first word"
[[gates]]
metric = "odd.correct"
min = 0.5
max = 1.0
"""

SMALL = """\
name = "small"
[workload]
profile = "support-chat"
[arrivals]
kind = "poisson"
rate = 2.0
duration = "30s"
"""


def mistakes(text: str) -> tuple[Mistake, ...]:
    with pytest.raises(DefinitionErrors) as caught:
        parse_scenario(text, "s.toml")
    return caught.value.mistakes


def mistakes_or_none(text: str) -> tuple[Mistake, ...] | None:
    try:
        parse_scenario(text, "s.toml")
    except DefinitionErrors as error:
        return error.mistakes
    return None


def only(text: str) -> Mistake:
    found = mistakes(text)
    assert len(found) == 1, [str(one) for one in found]
    return found[0]


def with_line(old: str, new: str, text: str = SMALL) -> str:
    assert old in text
    return text.replace(old, new)


def test_every_key_reaches_the_scenario() -> None:
    scenario = parse_scenario(WHOLE, "s.toml")
    assert scenario.name == "everything"
    assert scenario.timeout_s == 20.0
    assert scenario.workload.mix == (("support-chat", 2.0), ("odd", 1.0))
    assert scenario.workload.drift == Drift(0.4, 0.8)
    assert scenario.workload.safety_share == 0.1
    assert scenario.arrivals == Arrivals(ArrivalKind.SPIKE, 180.0, base=4.0, peak=20.0, spike_at_s=60.0, spike_s=20.0)
    assert scenario.slo == Slo(0.8, 0.25, 5.0)
    assert scenario.engine == EngineSettings(8, 2048, 0, 2)
    assert scenario.faults == (
        FaultSpec("engine.kill", 90.0, params=(("part", "decode"),)),
        FaultSpec("engine.kill", 100.0, params=(("part", "all"),)),
    )
    assert scenario.gates == (
        GateSpec("ttft_s.p95", None, 0.8, 0.9, "first word"),
        GateSpec("odd.correct", 0.5, 1.0, 0.95, "odd.correct"),
    )
    assert scenario.source == WHOLE


def test_the_example_of_the_design_is_valid() -> None:
    text = """
name = "peak-traffic"
about = "A sale day"
[workload]
profile = "support-chat"
[arrivals]
kind = "spike"
base = 4.0
peak = 20.0
duration = "3m"
[[faults]]
kind = "engine.kill"
at = "90s"
[[gates]]
metric = "ttft_s.p95"
max = 0.8
confidence = 0.95
"""
    scenario = parse_scenario(text, "s.toml")
    assert scenario.arrivals.spike_at_s == pytest.approx(72.0)
    assert scenario.arrivals.spike_s == pytest.approx(30.0)


def test_five_different_mistakes_give_five_errors_with_lines_and_fixes() -> None:
    text = """\
name = "five"
abuot = "typing error"
[workload]
profile = "suport-chat"
[arrivals]
kind = "poisson"
rate = -2.0
duration = "3 min"
[[gates]]
metric = "drift.detected"
min = 1
[[gates]]
metric = "ttft.p95"
max = 0.8
"""
    found = mistakes(text)
    assert [(one.line, one.what, one.fix) for one in found] == [
        (2, "unknown key 'abuot'", 'did you mean "about"?'),
        (4, "unknown profile 'suport-chat'", 'did you mean "support-chat"?'),
        (7, "rate is out of range: -2.0", "it must be more than 0 and at most 100000"),
        (8, "duration has a wrong unit: '3 min'", 'write "3m"'),
        (13, "unknown metric 'ttft.p95'", 'did you mean "ttft_s.p95"?'),
    ]
    assert str(found[0]).startswith("s.toml:2: ")


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "fix"),
    [
        ('profile = "support-chat"', "profile = support-chat", 3, "not valid TOML", 'profile = "support-chat"'),
        ('duration = "30s"', "duration = 30s", 7, "not valid TOML", 'duration = "30s"'),
        ("rate = 2.0", "rate: 2.0", 6, "not valid TOML", "write rate = 2.0"),
        ("rate = 2.0", "rate =", 6, "not valid TOML", "give rate a value"),
        ("rate = 2.0", "rate = 2.0\nrate = 3.0", 7, "overwrite", "remove one"),
        ('duration = "30s"', 'duration = "30s', 7, "not valid TOML", "close the quote"),
        ("[arrivals]", "[arrivals", 4, "not valid TOML", "a table header looks like"),
        ("rate = 2.0", "just words", 6, "not valid TOML", "a line is"),
        ("[arrivals]", "[workload]", 4, "twice", "remove one"),
        ('name = "small"\n', "", 1, "missing key 'name'", 'add name = "my-trial"'),
        ("rate = 2.0\n", "", 4, "missing key 'rate' in [arrivals]", "add rate = 4.0"),
        ('profile = "support-chat"\n', "", 2, "missing key 'profile' in [workload]", "add profile"),
        ("rate = 2.0", 'rate = "fast"', 6, "rate must be a number, not text", "rate = 4.0"),
        ("rate = 2.0", "rate = true", 6, "rate must be a number, not true/false", "rate = 4.0"),
        ("rate = 2.0", "rate = nan", 6, "out of range", "more than 0"),
        ("rate = 2.0", "rate = inf", 6, "out of range", "more than 0"),
        ("rate = 2.0", "rate = 1" + "0" * 400, 6, "out of range", "more than 0"),
        ("rate = 2.0", "rate = 2.0\npeak = 9.0", 7, "peak does not belong to arrivals of kind poisson", "takes rate"),
        ("rate = 2.0", "rate = 2.0\nslots = 9", 7, "unknown key 'slots' in [arrivals]", "it belongs under [engine]"),
        ("rate = 2.0", "rate = 90000.0", 7, "the plan would hold about 2,700,000 requests", "stay under"),
        ('duration = "30s"', 'duration = "30 sec"', 7, "wrong unit", 'write "30s"'),
        ('duration = "30s"', 'duration = "1,5h"', 7, "wrong unit", 'write "1.5h"'),
        ('duration = "30s"', 'duration = "soon"', 7, "wrong unit", "no space"),
        ('duration = "30s"', "duration = []", 7, "must be a duration, not a list", '"1m"'),
        ('duration = "30s"', "duration = 0", 7, "out of range", "more than 0"),
        ('kind = "poisson"', 'kind = "poison"', 5, "unknown arrival kind", 'did you mean "poisson"?'),
        ('kind = "poisson"', "kind = 5", 5, "kind must be text, not a number", '"poisson"'),
        ('profile = "support-chat"', 'mix = { odd = 0 }', 3, "no profile with a weight above 0", "write mix"),
        ('profile = "support-chat"', 'mix = { "suport-chat" = 1 }', 3, "unknown profile", '"support-chat"?'),
        ('profile = "support-chat"', 'profile = "odd"\nmix = { odd = 1 }', 4, "both given", "keep one"),
        ('profile = "support-chat"', 'profile = "odd"\ndrift = { start = 0.1, end = 0.2 }', 4, "cannot drift", "add"),
        ('"support-chat"', '"support-chat"\nsafety_share = 1.5', 4, "out of range", "at most 1"),
        ('"support-chat"', '"support-chat"\nsafety_share = "5%"', 4, "wrong unit: '5%'", "write 0.05"),
        ('"support-chat"', '"support-chat"\ndrift = { start = 0.9, end = 0.2 }', 4, "after it ends", "at most end"),
        ('"support-chat"', '"support-chat"\ndrift = 0.4', 4, "drift must be a table", "drift = "),
        ('"small"', '"small"\nworkloads = {}', 2, "unknown table", 'did you mean "workload"?'),
        ('"small"', '"small"\ntimeout = 0', 2, "timeout is out of range", "more than 0"),
        ('"small"', '"small"\nfaults = 3', 2, "faults must be a list of tables", "[[faults]]"),
        ('"small"', '"a\\u001b[31mb"', 1, "printable", "take others out"),
        ('"small"', '2026-01-01', 1, "name must be text, not a date or time", "my-trial"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_its_fix(old: str, new: str, line: int, what: str, fix: str) -> None:
    found = only(with_line(old, new))
    assert found.line == line
    assert what in found.what
    assert fix in found.fix


@pytest.mark.parametrize(
    ("tail", "line", "what", "fix"),
    [
        ('[[gates]]\nmetric = "ttft_s.p95"', 8, "neither min nor max", "add max"),
        ('[[gates]]\nmetric = "ok_rate"\nmin = 0.9\nmax = 0.1', 10, "min 0.9 above max 0.1", "swap"),
        ('[[gates]]\nmetric = "ok_rate"\nmin = 95', 10, "out of range", "at most 1"),
        ('[[gates]]\nmetric = "ok_rate"\nmin = "95%"', 10, "wrong unit", "write 0.95"),
        ('[[gates]]\nmetric = "ok_rate"\nmin = 0.9\nconfidence = 1.0', 11, "confidence is out of range", "more than 0"),
        ('[[gates]]\nmetric = "ok_rate"\nmin = 0.9\nconfidence = 0', 11, "confidence is out of range", "more than 0"),
        ('[[gates]]\nmax = 1', 8, "missing key 'metric' in [[gates]]", "add metric"),
        ('[[gates]]\nmetric = "drift.delay_s"\nmax = 9', 9, "cannot measure drift.delay_s", "it needs a drift"),
        ('[[gates]]\nmetric = "odd.correct"\nmin = 0.9', 9, "cannot measure odd.correct", 'the profile "odd"'),
        ('[[gates]]\nmetric = "recovery_s.max"\nmax = 9', 9, "cannot measure recovery_s.max", "spike"),
        ('[[gates]]\nmetric = "findings.leak"\nmax = 0', 9, "cannot measure findings.leak", "safety_share"),
        ('[[gates]]\nmetric = "findings.pii.emial"\nmax = 0', 9, "unknown metric", '"findings.pii.email"'),
        ('[[gates]]\nmetric = "ok_rate"\nmin = 0\n[[gates]]\nmetric = "ok_rate"\nmin = 1', 13, "(line 8)", "keep"),
        ('[[faults]]\nkind = "engine.kil"\nat = 3', 9, "unknown fault kind", 'did you mean "engine.kill"?'),
        ('[[faults]]\nkind = "engine.kill"\nat = "2m"', 10, "after the end of the run (30 s)", "start it earlier"),
        ('[[faults]]\nkind = "engine.kill"\nat = 1\npart = "head"', 11, "unknown part 'head'", "all, api, decode"),
        ('[[faults]]\nkind = "engine.kill"\nat = 1\nfor = 2', 11, "is over as soon as it has struck", "remove for"),
        ('[gates]\nmetric = "ok_rate"', 8, "gates must be a list of tables", "[[gates]]"),
        ('[slo]\nttft_s = "1 s"', 9, "wrong unit", 'write "1s"'),
        ('[engine]\nslots = 0', 9, "slots is out of range", "at least 1"),
        ('[engine]\nslots = 1.5', 9, "slots must be a whole number", "slots = 1"),
    ],
)  # fmt: skip
def test_a_mistake_in_gates_faults_and_settings_is_named(tail: str, line: int, what: str, fix: str) -> None:
    found = only(SMALL + tail + "\n")
    assert found.line == line
    assert what in found.what
    assert fix in found.fix


@pytest.mark.parametrize(
    ("spike", "line", "what"),
    [
        ('spike_at = "31s"', 9, "starts at 31 s, after the end (30 s)"),
        ('spike_at = "20s"\nspike_for = "15s"', 10, "ends at 35 s, after the end (30 s)"),
        ("spike_at = -1", 9, "out of range"),
        ("spike_for = 0", 9, "out of range"),
        ("cv = 2", 9, "cv does not belong to arrivals of kind spike"),
    ],
)
def test_a_spike_that_does_not_fit_is_refused(spike: str, line: int, what: str) -> None:
    text = SMALL.replace("poisson", "spike").replace("rate = 2.0", "base = 2.0\npeak = 5.0") + spike
    found = only(text)
    assert found.line == line
    assert what in found.what


def test_a_spike_below_its_base_is_refused() -> None:
    text = SMALL.replace("poisson", "spike").replace("rate = 2.0", "base = 5.0\npeak = 2.0")
    assert "not above its base" in only(text).what


def test_missing_tables_are_named_together_with_all_else() -> None:
    found = mistakes("colour = 3\n")
    assert {one.what for one in found} == {
        "unknown key 'colour'",
        "missing key 'name'",
        "missing table [workload]",
        "missing table [arrivals]",
    }


def test_a_broken_table_is_one_mistake_and_not_one_more_for_each_gate_on_it() -> None:
    gates = '[[gates]]\nmetric = "drift.detected"\nmin = 1\n[[gates]]\nmetric = "recovery_s.max"\nmax = 1\n'
    text = with_line('"support-chat"', '"support-chat"\ndrift = { start = 0.4 }') + gates
    found = mistakes(text.replace('kind = "poisson"', 'kind = "spikes"'))
    assert [one.what for one in found] == ["missing key 'end' in [workload.drift]", "unknown arrival kind 'spikes'"]


def test_reading_goes_on_after_syntax_errors() -> None:
    text = with_line('"support-chat"', "support-chat").replace('"30s"', "30s") + "[[gates\nmetric = 5\nmax = 1\n"
    assert [one.line for one in mistakes(text)] == [3, 7, 8, 9]


def test_odd_input_alone_cannot_measure_latency() -> None:
    text = with_line('"support-chat"', '"odd"') + '[[gates]]\nmetric = "ttft_s.p95"\nmax = 1\n'
    assert 'a profile other than "odd"' in only(text).fix


def test_one_metric_may_have_a_min_gate_and_a_max_gate() -> None:
    text = SMALL + '[[gates]]\nmetric = "ok_rate"\nmin = 0.5\n[[gates]]\nmetric = "ok_rate"\nmax = 1.0\n'
    assert len(parse_scenario(text, "s.toml").gates) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [("250ms", 0.25), ("90s", 90.0), ("3m", 180.0), ("1.5h", 5400.0), ("1m30s", 90.0)],
)
def test_durations_are_read(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "3", "3 m", "3min", "-3s", "s", "1e3s", "3d", ".5s", "٣s", "1" * 50 + "s"])
def test_what_is_no_duration_is_not_guessed_at(text: str) -> None:
    assert seconds(text) is None


def test_a_file_that_cannot_be_a_scenario_is_refused_clearly(tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(DefinitionErrors) as caught:
            read_scenario(path)
        return str(caught.value)

    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'name = "x"\nabout = "caf\xe9"\n')
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (LARGEST_FILE + 1))
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    assert "is a directory" in refusal(tmp_path)
    assert f"{latin}:2: is not UTF-8 (byte 0xe9)" in refusal(latin)
    assert "larger than 256 KiB" in refusal(huge)
    assert "not a regular file" in refusal(pipe)
    with pytest.raises(UnknownScenario, match="check the path"):
        read_scenario(tmp_path / "missing.toml")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["huge.toml", "latin.toml", "pipe.toml"]


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "w.toml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert read_scenario(file).name == "small"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("rate = 2.0", "rate = -1").replace("\n", "\r\n").encode())
    with pytest.raises(DefinitionErrors, match=r"w\.toml:6: rate is out of range"):
        read_scenario(file)


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 4000, "a = " + "9" * 90_000, ".".join("a" * 9000) + " = 1", "\x00", "\ud7ff" * 9, "[[[[", "="],
)
def test_hostile_text_is_refused_quickly(text: str) -> None:
    assert mistakes(text)


def test_a_scenario_is_found_by_name_or_by_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL)
    assert find_scenario("odd-input").name == "odd-input"
    assert find_scenario(str(file)).name == "small"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("peak-trafic", 'did you mean "peak-traffic"?'), ("zzz", "the catalogue has"), ("a\0b", "no file")],
)
def test_an_unknown_scenario_says_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(UnknownScenario) as caught:
        find_scenario(name)
    assert hint in str(caught.value)


def test_an_override_sets_the_rate_and_stretches_the_rest() -> None:
    scenario = override(parse_scenario(WHOLE, "s.toml"), rate=2.0, duration_s=90.0)
    assert scenario.arrivals == Arrivals(ArrivalKind.SPIKE, 90.0, base=2.0, peak=10.0, spike_at_s=30.0, spike_s=10.0)
    assert [fault.at_s for fault in scenario.faults] == [45.0, 50.0]
    assert override(parse_scenario(SMALL, "s.toml"), rate=7.0).arrivals.rate == 7.0
    assert override(scenario) == scenario


@pytest.mark.parametrize(
    ("rate", "duration_s"),
    [
        (0.0, None),
        (-1.0, None),
        (math.nan, None),
        (math.inf, None),
        (None, 0.0),
        (None, math.nan),
        (None, 1e9),
        (9e4, 600.0),
    ],
)
def test_an_override_out_of_range_is_refused(rate: float | None, duration_s: float | None) -> None:
    with pytest.raises(DefinitionErrors, match=r"--(rate|duration)"):
        override(parse_scenario(SMALL, "s.toml"), rate, duration_s)


def test_lines_are_found_in_every_shape_of_toml() -> None:
    text = '''\
# a comment
"quoted key" = 1
a.b.c = """
two = "lines"
"""
list = [ # note
  "]", '#',
  1,
]
literal = \'\'\'
[no.table]\'\'\'
[ t . "x.y" ]
k = { in = 1 }
[[many]]
k = 1
[[many]]
k = 2
[many.sub]
z = 3
'''
    toml = parse(text)
    assert toml.whole
    places = {
        ("quoted key",): 2,
        ("a", "b", "c"): 3,
        ("list",): 6,
        ("literal",): 10,
        ("t", "x.y"): 12,
        ("t", "x.y", "k"): 13,
        ("t", "x.y", "k", "in"): 13,
        ("many", 0, "k"): 15,
        ("many", 1): 16,
        ("many", 1, "k"): 17,
        ("many", 1, "sub", "z"): 19,
    }
    assert {path: toml.line_of(path) for path in places} == places


@given(st.lists(st.sampled_from(WHOLE.splitlines()), max_size=40), st.text(max_size=30), st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_a_scenario_or_a_list_of_mistakes(lines: list[str], noise: str, at: int) -> None:
    text = "\n".join([*lines[:at], noise, *lines[at:]])
    found = mistakes_or_none(text)
    assert found is None or found
    assert all(1 <= one.line <= text.count("\n") + 1 and one.what and one.fix for one in found or ())


@given(st.integers(0, len(WHOLE.splitlines()) - 1), st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_one_changed_line_never_leaves_the_reader_without_words(number: int, noise: str) -> None:
    lines = WHOLE.splitlines()
    lines[number] = noise if number % 2 else lines[number] + noise
    assert all(one.fix and str(one).isprintable() for one in mistakes_or_none("\n".join(lines)) or ())


def test_the_nearest_name_is_found_across_case_and_underscores() -> None:
    assert nearest("Support_Chat", ("support-chat", "odd")) == "support-chat"
    assert nearest("zzzzz", ("support-chat", "odd")) is None


def test_a_misspelt_key_is_one_mistake_and_not_also_a_missing_one() -> None:
    text = 'name = "x"\n[workload]\nprofil = "it-ops"\n[arrivals]\nkind = "spikey"\npeak = -2\nduration = "9s"\n'
    with pytest.raises(DefinitionErrors) as caught:
        parse_scenario(text, "x.toml")
    assert [mistake.line for mistake in caught.value.mistakes] == [3, 5, 6]


SEARCH = """
name = "a"
workload = { profile = "it-ops" }
arrivals = { kind = "constant", rate = 4.0, duration = "4m" }
slo = { ttft_s = 0.5 }
"""


def test_a_search_has_defaults_and_takes_every_key() -> None:
    assert parse_scenario(SEARCH + "[search]", "f").search == Search()
    text = 'share = 0.9\nconfidence = 0.9\nprecision = 0.05\nprobes = 6\nprobe = "20s"\nlow = 2\nhigh = 50'
    assert parse_scenario(f"{SEARCH}[search]\n{text}", "f").search == Search(0.9, 0.9, 0.05, 6, 20.0, 2.0, 50.0)
    assert parse_scenario(SEARCH, "f").search is None
    assert parse_scenario(SEARCH + "[search]", "f").window == WindowSpec()  # its overload is no warm-up
    probed = SEARCH.replace('"it-ops"', '"odd", safety_share = 0.5')
    assert parse_scenario(probed + "[search]", "f").search == Search()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('kind = "constant", rate = 4.0', 'kind = "ramp", base = 1.0, peak = 4.0', "arrivals of kind ramp"),
        ("slo = { ttft_s = 0.5 }", "", "what a good answer is"),
        ('profile = "it-ops"', 'profile = "it-ops", drift = { start = 0.4, end = 0.7 }', "everything but the rate"),
        ('"it-ops"', '"odd"', "odd probes"),
        ('profile = "it-ops"', 'mix = { strange = { profile = "odd", weight = 1 } }', "odd probes"),
        ("[search]", '[search]\n[window]\nwarmup = "auto"', "a [search] changes the rate"),
        ("[search]", '[search]\n[[gates]]\nmetric = "accuracy"\nmin = 0.9\nsequential = true', "a [search] changes"),
        ("[search]", "[search]\nlow = 5\nhigh = 2", "low (5) is not below high (2)"),
        ("[search]", '[search]\n[[gates]]\nmetric = "goodput"\nmin = 0.9', "cannot measure goodput"),
        ("[search]", '[[gates]]\nmetric = "capacity.rate"\nmin = 5', "cannot measure capacity.rate"),
    ],
)
def test_a_search_that_cannot_be_done_is_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(DefinitionErrors, match=re.escape(says)):
        parse_scenario((SEARCH + "[search]").replace(old, new), "f")


GATE = '[[gates]]\nmetric = "ttft_s.p95"\nmax = 1\n'


@pytest.mark.parametrize(
    ("tail", "line", "what", "fix"),
    [
        ('sequential = "yes"', 11, "sequential must be true or false, not text", "sequential = true"),
        ('over = "all"', 11, "unknown set of requests 'all'", "served, planned"),
        ('[window]\nwarmup = "automatic"', 12, "warmup has a wrong unit", "write"),
        ('[window]\nwarmup = "30s"', 12, "the warm-up (30 s) is as long as the run (30 s)", "shorter"),
        ("[window]\nwarmup = -1", 12, "out of range", "at least 0"),
        ("[window]\nwarm = 1", 12, "unknown key 'warm' in [window]", "warmup"),
        ('sequential = true\n[window]\nwarmup = "auto"', 13, "found after the run", '"none"'),
        ("warmup = 3", 11, "unknown key 'warmup' in [[gates]]", "it belongs under [window]"),
    ],
)
def test_a_mistake_in_a_sequential_gate_or_the_window_is_named(tail: str, line: int, what: str, fix: str) -> None:
    found = only(SMALL + GATE + tail + "\n")
    assert found.line == line
    assert what in found.what
    assert fix in found.fix


@pytest.mark.parametrize(
    ("metric", "key", "what"),
    [
        ("itl_s.p95", "sequential = true", "gaps of one stream are not independent"),
        ("engine.restarts", "sequential = true", "it is one number of a whole run"),
        ("itl_s.p95", 'over = "planned"', "not something that every planned request should have"),
        ("ok_rate", 'over = "planned"', "not something that every planned request should have"),
    ],
)
def test_a_gate_that_cannot_be_judged_so_says_why(metric: str, key: str, what: str) -> None:
    assert what in only(SMALL + f'[[gates]]\nmetric = "{metric}"\nmax = 1\n{key}\n').what


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("rate = 2.0", "base = 1.0\npeak = 2.0"), "arrivals of kind ramp are not alike all along"),
        (("[arrivals]", "drift = { start = 0.4, end = 0.8 }\n[arrivals]"), "its workload drifts"),
        (("[arrivals]", '[[faults]]\nkind = "engine.kill"\nat = 3\n[arrivals]'), "it has [[faults]]"),
    ],
)
def test_what_is_not_alike_all_along_neither_ends_early_nor_has_a_warm_up_to_find(
    change: tuple[str, str], what: str
) -> None:
    text = with_line(*change)
    if "base" in text:
        text = text.replace("poisson", "ramp")
    assert what in only(text + GATE + "sequential = true\n").what
    assert what in only(text + '[window]\nwarmup = "auto"\n').what
    assert parse_scenario(text, "s.toml").window == WindowSpec()


def test_a_warm_up_is_looked_for_unless_the_author_or_a_sequential_gate_says_otherwise() -> None:
    assert parse_scenario(SMALL + GATE, "s.toml").window == WindowSpec(WarmupRule.AUTO)
    assert parse_scenario(SMALL + GATE + "sequential = true\n", "s.toml").window == WindowSpec()
    for word, spec in (('"none"', WindowSpec()), ("0", WindowSpec()), ('"10s"', WindowSpec(WarmupRule.TIME, 10.0))):
        assert parse_scenario(SMALL + f"[window]\nwarmup = {word}\n", "s.toml").window == spec


def test_a_percentile_over_all_planned_stands_beside_one_over_those_served() -> None:
    scenario = parse_scenario(SMALL + GATE + GATE + 'over = "planned"\nsequential = true\n', "s.toml")
    assert scenario.gates == (
        GateSpec("ttft_s.p95", None, 1.0, 0.95, "ttft_s.p95"),
        GateSpec("ttft_s.p95", None, 1.0, 0.95, "ttft_s.p95 of all planned", True, Over.PLANNED),
    )
    assert "duplicate" in only(SMALL + GATE + GATE).what


def test_a_run_made_shorter_than_its_warm_up_is_refused() -> None:
    scenario = parse_scenario(SMALL + '[window]\nwarmup = "10s"\n', "s.toml")
    with pytest.raises(DefinitionErrors, match="warm-up"):
        override(scenario, duration_s=10.0)
    assert override(scenario, duration_s=11.0).window.warmup_s == 10.0
