"""Every way to answer badly has exactly one outcome."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from answer_table import ALL, RAW, STREAMED, WHOLE
from scripted_server import ScriptedServer

from scenarios.load.pool import LoadPool
from scenarios.observation import Observation, Outcome
from scenarios.plan import Plan
from scenarios.request import PlannedRequest

TIMEOUT_S = 3.0


def raw_request(name: str) -> bytes:
    return f"POST /v1/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


# what else the plan says of a request, beside its path
OWN: dict[str, dict[str, Any]] = {
    **{name: {"stream": False} for name in WHOLE},
    **{name: {"raw": raw_request(name)} for name in RAW},
    "raw-sent-slowly": {"raw": raw_request("raw-sent-slowly"), "raw_chunks_s": 0.02},
    "hung-up-after-an-event": {"hang_up_after_events": 1},
    "hung-up-after-a-while": {"hang_up_after_s": 0.2},
    "hung-up-too-late-to-matter": {"hang_up_after_s": TIMEOUT_S * 0.8},
    "head-has-no-body": {"method": "HEAD", "stream": False},
    "get-of-plain-text": {"method": "GET", "stream": False},
    "get-of-bad-json": {"method": "GET", "stream": False},
    "a-header-that-cannot-be-sent": {"headers": (("X-Odd", "a\r\nb"),)},
}


def planned() -> list[PlannedRequest]:
    return [
        PlannedRequest(
            index=index,
            due_ns=index * 1_000_000,
            path=f"/v1/{name}",
            body=b"{}",
            timeout_s=TIMEOUT_S,
            **OWN.get(name, {}),
        )
        for index, name in enumerate(ALL)
    ]


async def run_all() -> dict[str, Observation]:
    async with ScriptedServer({name: script for name, (_, script) in ALL.items()}) as server:
        pool = LoadPool(Plan.of(planned()), server.url)
        await pool.prepare()
        pool.start(time.monotonic_ns())
        seen = [one async for batch in pool.batches() for one in batch.observations]
        assert pool.deaths == []
        assert pool.totals.done == len(ALL)
        await pool.close()
    assert sorted(one.index for one in seen) == list(range(len(ALL)))
    names = list(ALL)
    return {names[one.index]: one for one in seen}


@pytest.fixture(scope="module")
def observed() -> dict[str, Observation]:
    return asyncio.run(run_all())


@pytest.mark.parametrize(("name", "outcome"), [(name, outcome) for name, (outcome, _) in ALL.items()])
def test_each_behaviour_of_a_server_has_its_outcome(
    observed: dict[str, Observation], name: str, outcome: Outcome
) -> None:
    one = observed[name]
    assert one.outcome is outcome, one
    assert (one.error == "") == (outcome is Outcome.OK), one
    assert len(one.error) <= 500


def test_the_answers_that_are_ok_say_what_the_server_said(observed: dict[str, Observation]) -> None:
    for name in STREAMED | WHOLE:
        if ALL[name][0] is Outcome.OK:
            assert observed[name].answer == "A B", name
    full = observed["a-whole-stream"]
    assert (full.prompt_tokens, full.completion_tokens, full.finish_reason, full.status) == (7, 3, "stop", 200)
    json_answer = observed["a-json-answer"]
    assert (json_answer.completion_tokens, json_answer.finish_reason) == (3, "stop")


def test_an_empty_role_chunk_is_no_token(observed: dict[str, Observation]) -> None:
    assert len(observed["a-whole-stream"].event_ns) == 2


def test_a_body_that_is_no_stream_has_one_time_for_everything(observed: dict[str, Observation]) -> None:
    one = observed["a-json-answer"]
    assert one.event_ns == (one.end_ns,)
    assert one.first_ns == one.answer_ns == one.last_ns == one.end_ns


def test_times_are_in_order_for_every_request(observed: dict[str, Observation]) -> None:
    for one in observed.values():
        marks = [one.due_ns, one.sent_ns, one.first_ns, one.last_ns, one.end_ns]
        known = [mark for mark in marks if mark is not None]
        assert known == sorted(known), one
        assert list(one.event_ns) == sorted(one.event_ns)


def test_what_came_before_a_break_is_kept(observed: dict[str, Observation]) -> None:
    for name in ("a-reset-in-the-stream", "an-end-before-done", "half-a-stream-and-nothing", "hung-up-after-an-event"):
        assert observed[name].answer == "A"
        assert observed[name].first_ns is not None


def test_a_timeout_counts_from_due(observed: dict[str, Observation]) -> None:
    for name, (outcome, _) in ALL.items():
        if outcome is Outcome.TIMEOUT:
            late_s = (observed[name].end_ns - observed[name].due_ns) / 1e9 - TIMEOUT_S
            assert -0.005 < late_s < 5


def test_retry_after_is_read_as_seconds_or_as_a_date(observed: dict[str, Observation]) -> None:
    assert observed["shed-429"].retry_after_s == 2.0
    assert observed["shed-503"].retry_after_s == 0.5
    assert observed["shed-until-a-date"].retry_after_s == 7.0


def test_an_error_says_what_the_server_said(observed: dict[str, Observation]) -> None:
    for name in ("shed-429", "500", "an-error-event", "an-event-named-error"):
        assert observed[name].error == "the model is gone"
    assert "the model is gone" in observed["an-error-with-status-200"].error
    assert observed["a-close-without-an-answer"].error == "closed without an answer"
    assert observed["raw-closed"].error == "closed without an answer"


def test_slow_sending_takes_seven_pauses(observed: dict[str, Observation]) -> None:
    one = observed["raw-sent-slowly"]
    assert one.sent_ns is not None
    assert one.end_ns - one.sent_ns >= 7 * 20_000_000


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_port_where_nobody_listens_refuses() -> None:
    pool = LoadPool(
        Plan.of([PlannedRequest(index=0, due_ns=0, path="/", body=b"")]), f"http://127.0.0.1:{closed_port()}"
    )
    await pool.prepare()
    pool.start(time.monotonic_ns())
    (one,) = [one async for batch in pool.batches() for one in batch.observations]
    await pool.close()
    assert (one.outcome, one.sent_ns) == (Outcome.REFUSED, None)
    assert "refused" in one.error.lower()
