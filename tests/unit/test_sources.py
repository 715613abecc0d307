"""What a workload's settings make of a plan: conversations, rows, lengths, shared beginnings, tenants and clients."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from scenarios.errors import DefinitionErrors
from scenarios.plan import Plan, make_plan
from scenarios.request import PlannedRequest, Retry
from scenarios.scenario_file import parse_scenario

POISSON = '[arrivals]\nkind = "poisson"\nrate = 10.0\nduration = "30s"\n'


def plan_of(workload: str, folder: Path = Path("/nowhere"), arrivals: str = POISSON, seed: int = 1) -> Plan:
    return make_plan(parse_scenario(f'name = "a"\n[workload]\n{workload}\n{arrivals}', str(folder / "s.toml")), seed)


def messages(request: PlannedRequest) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(request.body)["messages"]
    return found


def sessions(plan: Plan) -> list[list[PlannedRequest]]:
    chains: dict[int, list[PlannedRequest]] = {}
    for request in plan:
        chains.setdefault(int(plan.root[request.index]), []).append(request)
    return list(chains.values())


SESSIONS = 'profile = "support-chat"\nturns = { min = 2, max = 5 }\nthink = { mean = 3, cv = 0.5 }\n'


def test_a_turn_sends_the_conversation_so_far_with_the_true_answers() -> None:
    for session in sessions(plan_of(SESSIONS)):
        for earlier, later in pairwise(session):
            history = messages(later)
            assert history[: len(messages(earlier))] == messages(earlier)
            assert history[len(messages(earlier))] == {"role": "assistant", "content": earlier.expect.answer}
            assert len(history) == len(messages(earlier)) + 2


def test_a_turn_waits_for_the_one_before_it_and_then_thinks() -> None:
    plan = plan_of(SESSIONS)
    lengths = Counter(len(session) for session in sessions(plan))
    assert set(lengths) == {2, 3, 4, 5}
    for session in sessions(plan):
        assert session[0].after is None
        for earlier, later in pairwise(session):
            assert later.after == earlier.index
            assert later.due_ns == earlier.due_ns + round(later.think_s * 1e9)
    thinks = [request.think_s for request in plan if request.after is not None]
    assert sum(thinks) / len(thinks) == pytest.approx(3.0, rel=0.1)


def test_users_of_a_closed_loop_ask_one_after_the_other() -> None:
    arrivals = '[arrivals]\nkind = "closed"\nconcurrency = 4\nrequests = 50\nthink = "1s"\n'
    plan = plan_of('profile = "it-ops"', arrivals=arrivals)
    assert [request.after for request in plan] == [None] * 4 + list(range(46))
    assert {request.think_s for request in plan[4:]} == {1.0}
    assert [request.due_ns for request in plan[:12]] == [0] * 4 + [10**9] * 4 + [2 * 10**9] * 4


def test_every_row_of_a_dataset_is_asked_before_any_is_asked_again(tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {n}?", "answer": f" {n} ", "tags": ["sums"]} for n in range(50)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = plan_of('profile = "dataset"\nfile = "d.jsonl"\nmax_tokens = 7', tmp_path)
    asked = [request.prompt_text for request in plan[:100]]
    assert sorted(asked[:50]) == sorted(asked[50:]) == sorted(str(row["prompt"]) for row in rows)
    assert asked[:50] != asked[50:]
    first = plan[0]
    assert first.path == "/v1/completions"
    assert json.loads(first.body)["max_tokens"] == 7
    assert first.expect.answer == first.prompt_text.split()[-1].rstrip("?")
    assert first.segment == "sums"
    assert [r.prompt_text for r in plan_of('profile = "dataset"\nfile = "d.jsonl"', tmp_path, seed=2)[:50]] != asked[
        :50
    ]


def test_a_conversation_of_a_dataset_is_sent_as_it_is(tmp_path: Path) -> None:
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    body = {"messages": said, "max_tokens": 3, "temperature": 0.5}
    (tmp_path / "d.jsonl").write_text(
        json.dumps({"custom_id": "1", "url": "/v1/chat/completions", "body": body}) + "\n"
    )
    request = plan_of('profile = "dataset"\nfile = "d.jsonl"', tmp_path)[0]
    sent = json.loads(request.body)
    assert sent["messages"] == said
    assert (sent["max_tokens"], sent["temperature"], sent["stream"]) == (3, 0.5, True)
    assert request.expect.answer is None


def test_a_dataset_that_has_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"prompt": "a"}\n')
    scenario = parse_scenario(
        f'name = "a"\n[workload]\nprofile = "dataset"\nfile = "d.jsonl"\n{POISSON}', str(tmp_path / "s")
    )
    (tmp_path / "d.jsonl").write_text('{"prompt": "ab"}\n')
    with pytest.raises(DefinitionErrors, match="is not the file that the scenario was read with"):
        make_plan(scenario, 1)


# ---- traces and made-up text


@pytest.fixture
def mooncake(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = [
        {
            "timestamp": 1000 * i,
            "input_length": 1024 + 32 * i,
            "output_length": 32 * i,
            "hash_ids": ids[: 3 if i else 2],
        }
        for i, ids in enumerate([i % 2, 2, 100 + i] for i in range(10))
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


TRACE = '[arrivals]\nkind = "trace"\nfile = "t.jsonl"\n'


def words(request: PlannedRequest) -> list[str]:
    return messages(request)[0]["content"].split()


def test_a_request_has_the_lengths_of_the_row_whose_time_it_has(mooncake: Path) -> None:
    plan = plan_of('profile = "trace"\nshrink = 16', mooncake, TRACE + 'from = "2s"\nspeed = 2\n')
    assert [request.due_ns for request in plan] == [i * 500_000_000 for i in range(8)]
    assert [len(words(request)) for request in plan] == [64 + 2 * i for i in range(2, 10)]
    assert [json.loads(request.body)["max_tokens"] for request in plan] == [2 * i for i in range(2, 10)]
    assert all(json.loads(request.body)["ignore_eos"] for request in plan)


def test_rows_that_share_blocks_share_text_and_no_more(mooncake: Path) -> None:
    one, other, same, *_ = plan_of('profile = "trace"\nshrink = 16', mooncake, TRACE)
    assert words(one)[:64] == words(same)[:64]
    assert words(one)[64:] != words(same)[64:]
    assert words(one)[:32] != words(other)[:32]
    assert words(one)[32:64] == words(other)[32:64]


def test_lengths_are_cut_and_never_nothing(mooncake: Path) -> None:
    plan = plan_of('profile = "trace"\nprompt_max = 70\noutput_max = 9\nexact_output = false', mooncake, TRACE)
    assert {len(words(request)) for request in plan} == {70}
    assert [json.loads(request.body)["max_tokens"] for request in plan] == [1] + [9] * 9
    assert "ignore_eos" not in json.loads(plan[0].body)


def test_with_other_arrivals_the_rows_go_round(mooncake: Path) -> None:
    plan = plan_of('profile = "trace"\nfile = "t.jsonl"\nshrink = 16', mooncake)
    assert [len(words(request)) for request in plan[:20]] == [64 + 2 * i for i in range(10)] * 2


SYNTHETIC = (
    'profile = "synthetic"\nprompt_tokens = 100\noutput_tokens = 9\nprefix_tokens = 40\nprefixes = 3\nreuse = 0.7'
)


def test_a_share_of_made_up_prompts_begins_alike() -> None:
    plan = plan_of(SYNTHETIC)
    assert {len(words(request)) for request in plan} == {100}
    beginnings = Counter(" ".join(words(request)[:40]) for request in plan)
    shared = [count for _, count in beginnings.most_common(3)]
    assert stats.binomtest(sum(shared), len(plan), 0.7).pvalue > 0.01
    assert stats.chisquare(shared).pvalue > 0.01
    assert sorted(beginnings.values())[:-3] == [1] * (len(beginnings) - 3)
    assert len({" ".join(words(request)) for request in plan}) == len(plan)


def test_two_entries_of_a_mix_share_nothing_with_each_other() -> None:
    entry = '{ profile = "synthetic", weight = 1, prompt_tokens = 50, output_tokens = 9, prefix_tokens = 40 }'
    plan = plan_of(f"[workload.mix]\none = {entry}\ntwo = {entry}")
    beginnings = {(request.profile, " ".join(words(request)[:40])) for request in plan}
    assert len(beginnings) == len({text for _, text in beginnings}) == 2


def test_another_rate_does_not_reshuffle_made_up_text() -> None:
    slow = plan_of(SYNTHETIC.replace("prompt_tokens = 100", "prompt_tokens = { mean = 100 }"))
    fast = plan_of(
        SYNTHETIC.replace("prompt_tokens = 100", "prompt_tokens = { mean = 100 }"),
        arrivals=POISSON.replace("10.0", "90"),
    )
    assert [request.body for request in fast[:100]] == [request.body for request in slow[:100]]


# ---- tenants and clients


def test_tenants_have_their_shares_and_a_session_has_one_tenant() -> None:
    plan = plan_of(SESSIONS + '[workload.tenants]\nacme = 3\nglobex = { weight = 1, key_env = "SECRET_NAME" }')
    owners = [{request.tenant for request in session} for session in sessions(plan)]
    assert all(len(owner) == 1 for owner in owners)
    counts = Counter(owner.pop() for owner in owners)
    assert stats.binomtest(counts["acme"], counts.total(), 0.75).pvalue > 0.01
    assert not any(b"SECRET_NAME" in request.body or request.headers for request in plan)


def test_clients_come_in_their_shares_and_none_is_both_slow_and_gone() -> None:
    plan = plan_of(
        'profile = "it-ops"\n[workload.clients]\nslow_reader = { share = 0.3, bytes_per_s = 99 }\n'
        "disconnect = { share = 0.2, after_events = 4 }\nretry = { share = 0.5, attempts = 3, wait = 1, factor = 2 }",
        arrivals=POISSON.replace("10.0", "60.0"),
    )
    slow = [request for request in plan if request.read_bytes_per_s == 99.0]
    gone = [request for request in plan if request.hang_up_after_events == 4]
    again = [request for request in plan if request.retry == Retry(attempts=3, wait_s=1.0, factor=2.0)]
    for found, share in ((slow, 0.3), (gone, 0.2), (again, 0.5)):
        assert stats.binomtest(len(found), len(plan), share).pvalue > 0.01
    assert not {request.index for request in slow} & {request.index for request in gone}
    assert {request.retry for request in plan} == {None, again[0].retry}


def test_odd_probes_have_manners_of_their_own() -> None:
    workload = (
        'profile = "odd"\n[workload.clients]\ndisconnect = { share = 1, after_events = 1 }\nretry = { attempts = 9 }'
    )
    assert all(r.hang_up_after_events == 0 and r.retry is None for r in plan_of(workload))


def test_tenants_and_clients_leave_the_questions_as_they_are() -> None:
    plain = plan_of('profile = "it-ops"')
    people = "\n[workload.tenants]\na = 1\n[workload.clients]\ndisconnect = { share = 0.5, after_events = 1 }"
    assert [r.body for r in plan_of('profile = "it-ops"' + people)] == [r.body for r in plain]
