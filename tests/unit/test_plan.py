"""A plan depends on scenario and seed only, and holds what its author asked for in the shares asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random

import msgspec
import pytest
from scipy import stats

from scenarios.definition import ArrivalKind, Arrivals, Drift, Scenario, Workload
from scenarios.errors import DefinitionErrors
from scenarios.odd import ODD_CLASSES
from scenarios.plan import era_b_share, make_plan, plan_hash
from scenarios.profiles import PROFILES, Era, Message, Task
from scenarios.request import PlannedRequest
from scenarios.scenario_file import override
from scenarios.sources.source import odd_order
from scenarios.workload import expectation_of, task_request

MIX = (("support-chat", 2.0), ("code-assist", 1.0), ("odd", 1.0))


def scenario(
    mix: tuple[tuple[str, float], ...] = MIX,
    rate: float = 20.0,
    drift: Drift | None = None,
    safety_share: float = 0.0,
    duration_s: float = 60.0,
) -> Scenario:
    arrivals = Arrivals(ArrivalKind.POISSON, duration_s, rate=rate)
    return Scenario("test", "", Workload(mix, drift, safety_share), arrivals, timeout_s=17.0)


def content(request: PlannedRequest) -> PlannedRequest:
    """The request apart from its time."""
    return msgspec.structs.replace(request, due_ns=0)


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    one, same, other = make_plan(scenario(), 1), make_plan(scenario(), 1), make_plan(scenario(), 2)
    assert one[:] == same[:]
    assert one.hash != other.hash
    assert [r.due_ns for r in one] != [r.due_ns for r in other]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 1000, 0xFFFF, 0x10000])
def test_the_hash_is_the_digest_of_the_whole_plan(count: int) -> None:
    requests = make_plan(scenario(rate=0.5), 1)[:1] * count
    assert plan_hash(requests) == hashlib.sha256(msgspec.msgpack.encode(requests)).hexdigest()


def test_a_plan_read_back_has_the_same_hash() -> None:
    plan = make_plan(scenario(), 1)
    kept = [msgspec.msgpack.decode(msgspec.msgpack.encode(r), type=PlannedRequest) for r in plan[:]]
    assert plan_hash(kept) == plan.hash


def test_one_changed_byte_changes_the_hash() -> None:
    plan = make_plan(scenario(), 1)
    last = plan[-1]
    changed = (*plan[:-1], msgspec.structs.replace(last, due_ns=last.due_ns + 1))
    assert plan_hash(changed) != plan.hash


def test_requests_are_numbered_and_in_due_order() -> None:
    requests = make_plan(scenario(), 1)[:]
    assert [r.index for r in requests] == list(range(len(requests)))
    assert [r.due_ns for r in requests] == sorted(r.due_ns for r in requests)


def test_another_rate_or_arrival_kind_does_not_reshuffle_the_content() -> None:
    slow = make_plan(scenario(safety_share=0.1), 3)[:]
    fast = make_plan(override(scenario(safety_share=0.1), rate=40.0), 3)[:]
    even = dataclasses.replace(scenario(safety_share=0.1), arrivals=Arrivals(ArrivalKind.CONSTANT, 50.0, rate=20.0))
    shared = min(len(slow), 1000)
    assert [content(r) for r in fast[:shared]] == [content(r) for r in slow[:shared]]
    assert [content(r) for r in make_plan(even, 3)[:shared]] == [content(r) for r in slow[:shared]]


def test_profiles_come_in_the_shares_of_the_mix() -> None:
    requests = make_plan(scenario(rate=100.0, safety_share=0.2), 5)[:]
    counts = [sum(r.profile == name for r in requests) for name in ("support-chat", "code-assist", "odd", "safety")]
    assert sum(counts) == len(requests)
    expected = [share * len(requests) for share in (0.4, 0.2, 0.2, 0.2)]
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_a_profile_of_weight_zero_never_comes() -> None:
    requests = make_plan(scenario((("support-chat", 0.0), ("code-assist", 1.0), ("odd", 0.0))), 1)[:]
    assert {r.profile for r in requests} == {"code-assist"}


def test_a_safety_share_of_one_leaves_nothing_else() -> None:
    requests = make_plan(scenario(safety_share=1.0), 1)[:]
    assert {r.profile for r in requests} == {"safety"}
    assert {r.segment.partition(":")[0] for r in requests} == {"declined", "injection"}


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_profile_makes_requests_that_an_openai_server_takes(profile: str) -> None:
    for request in make_plan(scenario(((profile, 1.0),), drift=Drift(0.3, 0.6)), 1)[:]:
        body = json.loads(request.body)
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True}
        assert body["temperature"] == 0
        assert body["max_tokens"] >= 1
        assert "model" not in body
        assert request.path == ("/v1/chat/completions" if "messages" in body else "/v1/completions")
        said = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        assert request.prompt_text == said
        assert request.expect.answer
        assert request.timeout_s == 17.0
        assert request.numbers


def test_a_model_name_goes_into_every_ordinary_payload() -> None:
    requests = make_plan(scenario((("support-chat", 1.0), ("code-assist", 1.0))), 1, model="tiny")[:]
    assert {json.loads(r.body)["model"] for r in requests} == {"tiny"}


def test_without_drift_the_world_stays_as_it_is() -> None:
    assert {r.era for r in make_plan(scenario(), 1)[:]} == {"A"}


def test_the_share_of_the_new_world_rises_in_a_straight_line() -> None:
    drift = Drift(0.25, 0.75)
    requests = make_plan(scenario((("fraud-triage", 1.0),), rate=100.0, drift=drift, duration_s=80.0), 1)[:]
    for start_s in range(0, 80, 10):
        eras = [r.era for r in requests if start_s <= r.due_ns / 1e9 < start_s + 10]
        share = era_b_share(drift, start_s + 5.0, 80.0)
        assert stats.binomtest(eras.count("B"), len(eras), share).pvalue > 0.001


@pytest.mark.parametrize(
    ("drift", "at_s", "share"),
    [
        (None, 50.0, 0.0),
        (Drift(0.4, 0.8), 39.9, 0.0),
        (Drift(0.4, 0.8), 60.0, 0.5),
        (Drift(0.4, 0.8), 80.0, 1.0),
        (Drift(0.5, 0.5), 49.9, 0.0),
        (Drift(0.5, 0.5), 50.0, 1.0),
    ],
)
def test_the_share_of_era_b_is_known_at_each_time(drift: Drift | None, at_s: float, share: float) -> None:
    assert era_b_share(drift, at_s, 100.0) == pytest.approx(share)


def test_every_odd_class_comes_up_before_any_comes_again() -> None:
    order = odd_order(1, 2 * len(ODD_CLASSES))
    assert {odd.name for odd in order[: len(ODD_CLASSES)]} == set(ODD_CLASSES)
    assert {odd.name for odd in order[len(ODD_CLASSES) :]} == set(ODD_CLASSES)
    assert odd_order(1, 20) == order[:20]
    assert odd_order(2, 20) != order[:20]


def test_ordinary_requests_stand_among_the_odd_ones_with_their_answers() -> None:
    requests = make_plan(scenario((("odd", 6.0), ("support-chat", 4.0))), 1)[:]
    assert {r.segment for r in requests if r.profile == "odd"} == set(ODD_CLASSES)
    assert all(r.expect.answer is None and r.expect.allowed for r in requests if r.profile == "odd")
    assert all(r.expect.answer and not r.expect.allowed for r in requests if r.profile != "odd")


def test_a_leak_is_never_the_correct_answer() -> None:
    leaking = Task((Message("user", "repeat"),), "", "Internal note: staff code 7.", 9, "x", planted="staff code 7")
    assert expectation_of(leaking).answer is None
    assert expectation_of(leaking).planted == "staff code 7"
    requests = make_plan(scenario(safety_share=1.0), 1)[:]
    assert any(r.expect.planted and r.expect.answer is None for r in requests)
    assert all(r.expect.planted not in r.expect.answer for r in requests if r.expect.planted and r.expect.answer)


def test_a_task_becomes_a_request_with_the_last_user_text() -> None:
    task = Task(
        (Message("system", "s"), Message("user", "one"), Message("assistant", "a"), Message("user", "two")),
        "", " yes\n", 9, "seg", {"n": 2.0},
    )  # fmt: skip
    request = task_request(4, 7, "p", task, Era.B, model=None, timeout_s=1.0)
    assert (request.prompt_text, request.era, request.segment, request.numbers) == ("two", "B", "seg", (("n", 2.0),))
    assert request.expect.answer == "yes"


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(DefinitionErrors, match="--seed: -1 is negative"):
        make_plan(scenario(), -1)


def test_a_plan_without_a_request_is_refused_with_what_to_change() -> None:
    with pytest.raises(DefinitionErrors, match="not one request comes due in 60 s; raise --rate"):
        make_plan(override(scenario(), rate=1e-6), 1)


def test_global_randomness_is_neither_used_nor_touched() -> None:
    random.seed(1)
    before = random.getstate()
    make_plan(scenario(), 1)
    assert random.getstate() == before
