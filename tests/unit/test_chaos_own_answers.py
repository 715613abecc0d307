"""The target's own answers as right ones: which questions can be asked again, and the scenario that does."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from scenarios.chaos.own_answers import asking, rows_of
from scenarios.dataset import read_dataset
from scenarios.observation import Observation, Outcome
from scenarios.request import PlannedRequest
from scenarios.scenario_file import parse_scenario

SEARCH = """\
name = "searched"
timeout = "3s"
[workload]
{workload}
[workload.tenants]
one = 1.0
[chaos]
[[gates]]
metric = "{metric}"
min = 0.5
"""
BODY = {"model": "m", "prompt": "Why?", "max_tokens": 7, "temperature": 0, "stream": True}


def base(workload: str = 'profile = "support-chat"', metric: str = "ok_rate") -> str:
    return SEARCH.format(workload=workload, metric=metric)


def request(**changes: object) -> PlannedRequest:
    return PlannedRequest(index=0, due_ns=0, path="/v1/completions", body=json.dumps(BODY | changes).encode())


def seen(answer: str = "Because.", outcome: Outcome = Outcome.OK) -> Observation:
    return Observation(index=0, due_ns=0, outcome=outcome, end_ns=1, answer=answer)


def test_questions_become_rows_with_the_answers_that_they_got() -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hé?"}]
    chat = request(messages=messages)
    body = msgspec.json.decode(chat.body)
    del body["prompt"]
    rows = rows_of([request(), msgspec.structs.replace(chat, body=json.dumps(body).encode())], [seen(), seen("Ho.\n")])
    assert rows is not None
    assert [json.loads(line) for line in rows.splitlines()] == [
        {"prompt": "Why?", "max_tokens": 7, "answer": "Because."},
        {"messages": messages, "max_tokens": 7, "answer": "Ho.\n"},
    ]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (request(tools=[]), seen()),
        (request(temperature=1), seen()),
        (msgspec.structs.replace(request(), body=b"{"), seen()),
        (msgspec.structs.replace(request(), raw=b"GET /"), seen()),
        (request(), seen(" ")),
        (request(), seen(outcome=Outcome.TRUNCATED)),
    ],
)
def test_what_cannot_be_asked_again_or_was_not_answered_is_no_row(asked: PlannedRequest, answered: Observation) -> None:
    assert rows_of([request(), asked], [seen(), answered]) is None


def test_the_scenario_asks_just_these_questions_and_keeps_all_else(tmp_path: Path) -> None:
    old = parse_scenario(base(), "s.toml")
    path = tmp_path / "answers.jsonl"
    path.write_text(rows_of([request(), request(prompt="When?")], [seen(), seen("Now.")]) or "")
    new = asking(old, str(path))
    assert new is not None
    assert (new.gates, new.timeout_s, new.chaos, new.workload.tenants) == (
        old.gates,
        old.timeout_s,
        old.chaos,
        old.workload.tenants,
    )
    assert parse_scenario(new.source, "s.toml").workload == new.workload
    assert [row.expected for row in read_dataset(path)] == ["Because.", "Now."]


def test_a_gate_that_needs_the_scenarios_own_questions_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(rows_of([request()], [seen()]) or "")
    old = parse_scenario(base('profile = "odd"', "odd.correct"), "s.toml")
    assert asking(old, str(path)) is None
