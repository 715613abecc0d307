"""From bytes to an Observation, without a socket."""

from __future__ import annotations

import gzip
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.load.answer import Reading, retry_after_s, to_hide
from scenarios.load.chunk import UNREADABLE, Chunk, decode_chunk, plain_chunks, says_text
from scenarios.load.exchange import Ending, Exchange, Job
from scenarios.load.sse import event_fields
from scenarios.observation import Observation, Outcome

JOB = Job(7, 1_000, b"x", 1.0, stream=True, raw=False, head=False, contract=True)


def streamed(
    *events: bytes, ending: Ending = Ending.COMPLETE, budget_ns: int = 1 << 62, secrets: tuple[str, ...] = ()
) -> Observation:
    exchange = Exchange(JOB, 1_000)
    exchange.sent_ns = 2_000
    exchange.take_header(b"Content-Type", b"text/event-stream")
    assert exchange.take_head(200) == ""
    for number, event in enumerate(events):
        exchange.received_bytes += len(event)
        assert exchange.take_body(event, 10_000 * (number + 1)) == ""
    exchange.end(ending, 10**9)
    reading = Reading(exchange, 0, 3, to_hide(secrets))
    while (observation := reading.step(budget_ns)) is None:
        pass
    return observation


def delta(body: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":' + body.encode() + b"}]}\n\n"


DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_first_token_but_not_an_answer(field: str) -> None:
    one = streamed(
        delta('{"role":"assistant","content":""}'), delta(f'{{"{field}":"hm"}}'), delta('{"content":"A"}'), DONE
    )
    assert (one.first_ns, one.answer_ns, one.last_ns) == (20_000, 30_000, 30_000)
    assert one.event_ns == (20_000, 30_000)
    assert one.answer == "A"


def test_a_legacy_completion_chunk_carries_its_text_in_the_choice() -> None:
    one = streamed(b'data: {"choices":[{"index":0,"text":"A","finish_reason":"length"}]}\n\n', DONE)
    assert (one.answer, one.finish_reason, one.first_ns) == ("A", "length", 10_000)


def test_the_last_usage_counts_wherever_it_comes() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":%d}}\n\n'
    one = streamed(usage % 1, delta('{"content":"A"}'), usage % 2, DONE)
    assert (one.prompt_tokens, one.completion_tokens) == (1, 2)
    assert one.event_ns == (20_000,)


def test_nulls_and_unknown_fields_are_no_breach() -> None:
    nulls = b'data: {"choices":null,"usage":null,"error":null,"x":[1]}\n\n'
    last = b'data: {"choices":[{"index":0,"delta":null,"finish_reason":"stop"}]}\n\n'
    one = streamed(nulls, b'data: {"type":"ping"}\n\n', last, DONE)
    assert (one.outcome, one.first_ns, one.event_ns) == (Outcome.OK, None, ())


def test_the_answer_is_that_of_the_first_choice() -> None:
    other = b'data: {"choices":[{"index":1,"delta":{"content":"B"}}]}\n\n'
    assert streamed(delta('{"content":"A"}'), other, DONE).answer == "A"


def test_a_long_answer_is_read_in_slices_with_the_same_result() -> None:
    events = [delta('{"content":"x"}')] * 1000
    assert streamed(*events, DONE, budget_ns=1) == streamed(*events, DONE)


@given(
    st.lists(st.sampled_from(["{", '{"content":"A"}', '{"content":1}', "null"]), max_size=5),
    st.sampled_from(list(Ending)),
)
def test_every_ending_of_every_stream_has_one_outcome(bodies: list[str], ending: Ending) -> None:
    one = streamed(*(delta(body) for body in bodies), ending=ending)
    assert isinstance(one.outcome, Outcome)
    assert (one.outcome is Outcome.UNSENT) == (ending is Ending.UNSENT)
    assert one.outcome is not Outcome.OK  # none of them has its [DONE]
    assert (one.index, one.due_ns, one.worker) == (7, 1_000, 3)


LINES = st.sampled_from(
    [
        b'data: {"choices":[{"delta":{"content":"A"}}]}',
        b'data: {"usage":{"completion_tokens":3}}',
        'data: {"choices":[{"delta":{"content":"\u2028\u00e9"}}]}'.encode(),
        b"data: {}",
        b"data: {} ",
        b"data: {} {}",
        b'data: {"choices":[',
        b"data: {",
        b"data: ]}",
        b'data: {"x":"\xff"}',
        b'data: {"error":"no"}',
        b"data:{}",
        b"data: [DONE]",
        b"event: error",
        b": hm",
        b"data: {}\ndata: {}",
        b"data: {\ndata: }",
        b"data: {}\r",
    ]
)


def one_by_one(events: list[bytes]) -> list[Chunk] | None:
    chunks = []
    for raw in events:
        if not raw.startswith(b"data: {") or b"\n" in raw or b"\r" in raw:
            return None
        try:
            chunks.append(decode_chunk(event_fields(raw)[1]))
        except UNREADABLE:
            return None
    return None if any(chunk.error is not None for chunk in chunks) else chunks


@given(st.lists(LINES, min_size=1, max_size=6))
def test_events_decoded_in_one_go_are_those_decoded_one_by_one(events: list[bytes]) -> None:
    assert plain_chunks(events) == one_by_one(events)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'data: {"choices":[{"delta":{"content":"A"}}]}', True),
        (b'data: {"choices":[{"delta":{"reasoning":"A"}}]}', True),
        (b'data: {"choices":[{"text":"A"}]}', True),
        (b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}', False),
        (b"data: [DONE]", False),
        (b": hm", False),
        (b"data: \xff", False),
    ],
)
def test_an_event_says_text_or_does_not(raw: bytes, says: bool) -> None:
    assert says_text(raw) is says


def test_an_error_keeps_to_its_bound() -> None:
    assert len(streamed(b'data: {"error":"' + b"x" * 5000 + b'"}\n\n', DONE).error) == 500


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        (None, None, None),
        ("3", None, 3.0),
        ("0.25", None, 0.25),
        ("soon", None, None),
        ("-1", None, None),
        ("9" * 400, None, 1e9),
        ("²", None, None),
        ("Mon, 23 Nov 2026 10:00:07 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 7.0),
        ("Mon, 23 Nov 2026 10:00:00 GMT", "Mon, 23 Nov 2026 10:00:07 GMT", 0.0),
        ("Mon, 23 Nov 2026 10:00:07 +9999999999", None, None),
    ],
)
def test_retry_after_is_seconds_a_date_or_nothing(value: str | None, date: str | None, expected: float | None) -> None:
    assert retry_after_s(value, date) == expected


def test_no_part_of_a_secret_is_left_at_the_end_of_an_error_or_in_a_finish_reason() -> None:
    secret = "Bearer sk-0123456789"
    said = "x" * 495 + "sk-0123456789"
    one = streamed(b'data: {"error":"' + said.encode() + b'"}\n\n', DONE, secrets=(secret, "short"))
    assert one.error == "x" * 495 + "[api "
    finish = b'data: {"choices":[{"index":0,"finish_reason":"Bearer sk-0123456789%s"}]}\n\n' % (b"y" * 500)
    one = streamed(delta('{"content":"a short one"}'), finish, DONE, secrets=(secret, "short"))
    assert one.finish_reason == ("[api key]" + "y" * 500)[:100]
    assert one.answer == "a short one"
    failed = Reading(Exchange(JOB, 0), 0, 3, to_hide((secret,))).failed("no: sk-0123456789")
    assert failed.error == "no: [api key]"


def test_bytes_after_a_compressed_body_are_a_breach() -> None:
    exchange = Exchange(JOB, 0)
    exchange.take_header(b"Content-Encoding", b"gzip")
    assert exchange.take_head(200) == ""
    assert exchange.take_body(gzip.compress(b"{}"), 1) == ""
    assert "after the end" in exchange.take_body(b"more", 2)


@pytest.mark.parametrize("date", [None, "rubbish"])
def test_retry_after_without_a_good_date_header_counts_from_now(date: str | None) -> None:
    when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    found = retry_after_s(when, date)
    assert found is not None
    assert 55 < found <= 60


MAKER = b'data: {"model":"m-1","system_fingerprint":"fp_2","choices":[]}\n\n'


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((MAKER, DONE), "m-1 fp_2"),
        ((b": ping\n\n", b'data: {"model":"","choices":[]}\n\n', MAKER, DONE), "m-1 fp_2"),
        ((b'data: {"model":"m-1","system_fingerprint":null,"choices":[]}\n\n', MAKER, DONE), "m-1"),
        ((MAKER.replace(b"m-1", b"a"), MAKER, DONE), "a fp_2"),
        ((b'data: {"model":7,"choices":[]}\n\n', DONE), ""),
        ((b'data: {"model":\n\n', DONE), ""),
        ((b"data: \xff\n\n", DONE), ""),
        ((delta('{"content":"A"}'), DONE), ""),
        ((DONE,), ""),
        ((), ""),
    ],
)
def test_the_fingerprint_is_what_the_first_event_that_names_a_model_says(
    events: tuple[bytes, ...], expected: str
) -> None:
    one = streamed(*events)
    assert (one.fingerprint, one.begun) == (expected, 1)


def test_a_fingerprint_hides_secrets_and_keeps_to_its_bound() -> None:
    one = streamed(MAKER.replace(b"m-1", b"sk-12345678" + b"m" * 500), DONE, secrets=("sk-12345678",))
    assert one.fingerprint.startswith("[api key]mmm")
    assert len(one.fingerprint) == 200


def test_a_body_has_a_fingerprint_too_and_an_answer_without_a_status_was_not_begun() -> None:
    exchange = Exchange(JOB, 1_000)
    exchange.job = msgspec.structs.replace(JOB, stream=False)
    exchange.take_header(b"content-type", b"application/json")
    assert exchange.take_head(200) == ""
    assert exchange.take_body(b'{"model":"m-1","choices":[]}', 10_000) == ""
    exchange.end(Ending.COMPLETE, 20_000)
    one = Reading(exchange, 0, 3).step(1 << 62)
    assert one is not None
    assert (one.outcome, one.fingerprint, one.begun) == (Outcome.OK, "m-1", 1)
    assert Reading(exchange, 0, 3).failed("x").begun == 1
    silent = Exchange(JOB, 1_000)
    silent.sent_ns = 2_000
    silent.end(Ending.TIMEOUT, 20_000)
    said = Reading(silent, 0, 3).step(1 << 62)
    assert said is not None
    assert (said.begun, said.fingerprint) == (0, "")
