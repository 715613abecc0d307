"""A fault asked for live: what a person typed is checked, goes through the journal, and comes out the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.definition import Condition, FaultSpec
from scenarios.faults.asked import AskedWrongly, decode, encode, read_asked
from scenarios.faults.kinds import KINDS
from scenarios.faults.words import params_in_words


def test_what_a_person_types_becomes_the_fault() -> None:
    fault = read_asked("network.latency", "10s", "0.5", {"delay": "300ms", "jitter": " 0.05 ", "direction": "up"}, 7)
    params = (("delay", 0.3), ("jitter", 0.05), ("direction", "up"))
    assert fault == FaultSpec("network.latency", 0.0, 10.0, 0.5, 7, params=params)
    assert params_in_words(fault) == "delay 300ms, jitter 50ms, direction up; a share of 0.5, 7 hits"


def test_what_is_left_out_is_the_default() -> None:
    assert read_asked("network.close") == FaultSpec("network.close", 0.0, 5.0, params=(("after", 200),))
    assert read_asked("http.error", given={"status": "503"}).params == (("status", "503"),)
    assert read_asked("network.reset", given={"after": "64KB"}).params == (("after", 65536),)
    assert read_asked("host.clock_step", given={"step": "-60"}).params == (("step", -60.0),)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_comes_out_of_its_command_as_it_went_in(name: str) -> None:
    assert decode(encode(read_asked(name))) == read_asked(name) == decode(name)


def test_a_condition_and_bounds_go_along() -> None:
    until = Condition("error_rate", above=0.5, for_s=2.0)
    fault = FaultSpec("stream.stall", 0.0, 3.0, 0.25, 9, until, (("after", 1), ("delay", 0.5)))
    assert decode(encode(fault)) == fault


@pytest.mark.parametrize(
    ("kind", "length", "share", "given_", "says"),
    [
        ("network.latncy", "", "", {}, 'did you mean "network.latency"?'),
        ("network.latency", "3 s", "", {}, "for has a wrong unit: '3 s'; write \"3s\""),
        ("network.latency", "", "2", {}, "share is out of range"),
        ("network.latency", "", "", {"delay": "soon"}, "delay has a wrong unit"),
        ("network.latency", "", "", {"delai": "1s"}, 'did you mean "delay"?'),
        ("network.latency", "", "", {"at": "1s"}, "at is no parameter of network.latency; it has delay"),
        ("network.refuse", "", "", {"kind": "x"}, "kind is no parameter of network.refuse; it has none"),
        ("engine.kill", "5s", "", {}, "over as soon as it has struck; remove for"),
        ("engine.kill", "", "0.5", {}, "share is for faults that happen on the way"),
        ("host.cpu", "", "", {"processes": "many"}, "processes must be a number"),
    ],
)
def test_what_cannot_be_asked_for_says_why(
    kind: str, length: str, share: str, given_: dict[str, str], says: str
) -> None:
    with pytest.raises(AskedWrongly) as caught:
        read_asked(kind, length, share, given_)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ('{"kind": "engine.kill", "at": 3}', "what is asked for comes at once"),
        ('{"kind": "engine.kill"', "no JSON"),
        ('{"for": 3}', "missing key 'kind'"),
        ("{}", "missing key 'kind'"),
        ("", "unknown fault kind ''"),
        ('{"kind": 3}', "kind must be text"),
        ('{"kind": "network.reset", "after": 1e3}', "no number of bytes"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(argument: str, says: str) -> None:
    with pytest.raises(AskedWrongly) as caught:
        decode(argument)
    assert says in str(caught.value)


def kind_or_refusal(argument: str) -> str:
    try:
        return decode(argument).kind
    except AskedWrongly as error:
        return f"refused: {error}"


@given(
    st.text(max_size=40)
    | st.dictionaries(st.sampled_from(["kind", "for", "until", "x"]), st.text(max_size=5) | st.floats()).map(json.dumps)
)
@settings(max_examples=200, deadline=None)
def test_any_argument_is_a_fault_or_refused_in_words(argument: str) -> None:
    found = kind_or_refusal(argument)
    assert found in KINDS or len(found) > len("refused: ")
