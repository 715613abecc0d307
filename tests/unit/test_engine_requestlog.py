"""What is remembered of requests: log lines with a bound and without text unless asked for, and spans."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.requestlog import TEXT_CHARS, LineWriter, Recorder, RequestRecord, bounded, line_of, wall_ns
from engine.config import EngineConfig
from engine.errors import ConfigError

S = 1_000_000_000
RECORD = RequestRecord(
    id="req-1",
    api="chat",
    model="demo",
    outcome="ok",
    status=200,
    received_ns=10 * S,
    ended_ns=13 * S,
    admitted_ns=10 * S + 500_000_000,
    first_token_ns=11 * S,
    streamed=True,
    response_id="chatcmpl-1",
    served_model="demo-1",
    finish_reasons=("stop",),
    prompt_tokens=12,
    completion_tokens=34,
    cached_tokens=8,
    key="ab12",
    settings={"temperature": 0.5, "max_tokens": 64, "seed": 7, "top_k": 40, "n": 1},
    prompt=(("system", "be kind"), ("user", "a secret question")),
    answers=("a secret answer",),
)


def test_a_line_holds_what_happened_and_no_text() -> None:
    line = line_of(RECORD, with_text=False)
    assert b"secret" not in line
    assert line.count(b"\n") == 1
    shown = json.loads(line)
    assert {name: shown[name] for name in ("id", "outcome", "status", "finish", "queue_s", "ttft_s", "e2e_s")} == {
        "id": "req-1",
        "outcome": "ok",
        "status": 200,
        "finish": ["stop"],
        "queue_s": 0.5,
        "ttft_s": 1.0,
        "e2e_s": 3.0,
    }
    assert (shown["prompt_tokens"], shown["completion_tokens"], shown["cached_tokens"]) == (12, 34, 8)


def test_a_request_that_got_nowhere_has_no_times() -> None:
    shown = json.loads(line_of(replace(RECORD, admitted_ns=0, first_token_ns=0, error="queue_full"), with_text=False))
    assert (shown["queue_s"], shown["ttft_s"], shown["error"]) == (None, None, "queue_full")


def test_text_is_shown_when_it_is_asked_for() -> None:
    shown = json.loads(line_of(RECORD, with_text=True))
    assert shown["prompt"][1] == {"role": "user", "text": "a secret question"}
    assert shown["answers"] == ["a secret answer"]


@given(st.text(st.characters(codec=None)), st.lists(st.text(st.characters(codec=None)), max_size=5))
def test_any_text_makes_one_line_of_bounded_length(name: str, texts: list[str]) -> None:
    record = replace(
        RECORD, id=name * 99, model=name * 99, prompt=tuple((name, t * 9999) for t in texts), answers=(name * 99_999,)
    )
    line = line_of(record, with_text=True)
    assert line.count(b"\n") == 1
    assert len(line) < 6 * 2 * TEXT_CHARS + 20_000
    json.loads(line)
    assert not any(byte < 32 for byte in line[:-1])


def test_texts_are_cut_where_the_bound_is() -> None:
    assert list(bounded(["abc", "defg", "h"], 5)) == ["abc", "de…"]
    assert list(bounded(["abc", "de", "h"], 5)) == ["abc", "de"]
    assert list(bounded([], 5)) == []


def test_a_monotonic_time_becomes_the_time_of_day() -> None:
    now_ns = wall_ns(time.monotonic_ns())
    assert abs(now_ns - time.time_ns()) < S


def test_lines_are_written_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        writer = LineWriter(file.fileno(), lambda descriptor, data: os.write(descriptor, data[:5]))
        for number in range(100):
            writer.put(b"line %d\n" % number)
        writer.close(10.0)
    assert path.read_bytes() == b"".join(b"line %d\n" % number for number in range(100))


def test_a_log_that_nobody_reads_stops_no_request_and_says_later_what_it_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.api.requestlog._WAITING_LINES", 3)
    reading, caught_up, written = threading.Event(), threading.Event(), []

    def write(descriptor: int, data: bytes) -> int:
        assert reading.wait(10)
        written.append(data)
        if len(written) == 3:
            caught_up.set()
        return len(data)

    writer = LineWriter(2, write)
    for _ in range(50):
        writer.put(b"x\n")  # returns at once, though nothing is read
    reading.set()
    assert caught_up.wait(10)
    writer.put(b"y\n")
    writer.close(10.0)
    assert written[-1] == b"y\n"
    assert written.count(b"x\n") + json.loads(written[-2])["count"] == 50


def test_a_log_that_is_gone_ends_the_writing_and_nothing_else() -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise BrokenPipeError

    writer = LineWriter(2, write)
    writer.put(b"x\n")
    writer.put(b"x\n")
    writer.close(10.0)


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF")
    return EngineConfig(model=model)


def test_a_recorder_without_log_and_spans_wants_no_text_and_does_nothing(config: EngineConfig) -> None:
    recorder = Recorder(replace(config, log_prompts=True))
    assert not recorder.wants_text
    recorder.record(RECORD)
    recorder.close()


def test_a_recorder_writes_a_line_to_the_engines_log(config: EngineConfig, capfd: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(replace(config, log_requests=True, log_prompts=True))
    assert recorder.wants_text
    recorder.record(RECORD)
    recorder.close()
    assert json.loads(capfd.readouterr().err)["answers"] == ["a secret answer"]


def test_spans_without_their_packages_are_a_bad_setting_with_its_fix(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "engine.api.spans", None)
    with pytest.raises(ConfigError, match=r"pip install 'seatrial\[otel\]'"):
        Recorder(replace(config, otel_endpoint="http://127.0.0.1:4318"))


def test_an_address_that_is_none_is_a_bad_setting(config: EngineConfig) -> None:
    pytest.importorskip("opentelemetry.sdk")
    with pytest.raises(ConfigError, match="no http"):
        Recorder(replace(config, otel_endpoint="collector:4318"))


def spans_of(config: EngineConfig, *records: RequestRecord) -> list[Any]:
    """The spans of these records."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from engine.api.spans import Spans

    exporter = InMemorySpanExporter()
    spans = Spans(config, exporter)
    for record in records:
        spans.record(record, ("127.0.0.1", 8080))
    spans.close(10.0)
    return list(exporter.get_finished_spans())


def test_a_span_says_what_the_conventions_want(config: EngineConfig) -> None:
    (span,) = spans_of(config, RECORD)
    assert span.name == "chat demo"
    assert span.kind.name == "SERVER"
    assert span.end_time - span.start_time == pytest.approx(3 * S, rel=0.01)
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "seatrial",
        "gen_ai.request.model": "demo",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.seed": 7,
        "gen_ai.request.top_k": 40.0,
        "gen_ai.request.stream": True,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "demo-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 1.0,
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.usage.output_tokens": 34,
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": 8080,
        "seatrial.request.id": "req-1",
        "seatrial.outcome": "ok",
    }


def test_a_span_belongs_to_the_trace_that_the_client_named(config: EngineConfig) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    under, alone, unsampled = (
        replace(RECORD, traceparent=f"00-{trace}-{parent}-01"),
        replace(RECORD, traceparent="nonsense\x00"),
        replace(RECORD, traceparent=f"00-{trace}-{parent}-00"),
    )
    spans = spans_of(config, under, alone, unsampled)
    assert len(spans) == 2  # the client asked for no span of the third
    assert f"{spans[0].context.trace_id:032x}" == trace
    assert f"{spans[0].parent.span_id:016x}" == parent
    assert spans[1].parent is None


def test_a_span_of_a_failure_names_its_error(config: EngineConfig) -> None:
    (span,) = spans_of(config, replace(RECORD, outcome="shed", status=429, error="queue_full"))
    assert span.attributes["error.type"] == "queue_full"
    assert span.status.status_code.name == "ERROR"


def test_a_span_holds_text_only_when_that_is_asked_for(config: EngineConfig) -> None:
    (without,) = spans_of(config, RECORD)
    assert "secret" not in without.to_json()
    (with_text,) = spans_of(replace(config, log_prompts=True), RECORD)
    assert json.loads(with_text.attributes["gen_ai.input.messages"])[1] == {
        "role": "user",
        "parts": [{"type": "text", "content": "a secret question"}],
    }
    assert json.loads(with_text.attributes["gen_ai.output.messages"])[0]["finish_reason"] == "stop"


def test_spans_reach_a_collector_over_http(config: EngineConfig) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:
            """Not a word on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        recorder = Recorder(replace(config, otel_endpoint=f"http://127.0.0.1:{collector.server_port}"))
        recorder.listens_on("127.0.0.1", 8080)
        recorder.record(RECORD)
        recorder.close(10.0)
        collector.shutdown()
        thread.join()
    ((path, body),) = received
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert path == "/v1/traces"
    assert [span.name for span in resource.scope_spans[0].spans] == ["chat demo"]


def test_a_dead_collector_delays_nothing(config: EngineConfig) -> None:
    pytest.importorskip("opentelemetry.sdk")
    recorder = Recorder(replace(config, otel_endpoint="http://127.0.0.1:9"))
    start = time.perf_counter()
    for _ in range(3000):  # more than the queue takes
        recorder.record(RECORD)
    took_s = time.perf_counter() - start
    start = time.perf_counter()
    recorder.close(within_s=0.2)
    assert time.perf_counter() - start < 5.0
    assert took_s < 10.0
    for thread in threading.enumerate():
        if thread.name.startswith(("Otel", "spans-close")):
            thread.join(20)  # it tries again for a while, and must not reach into the tests that follow


def test_spans_go_to_the_standard_path_unless_another_is_given() -> None:
    pytest.importorskip("opentelemetry.sdk")
    from engine.api.spans import traces_url

    assert traces_url("http://host:4318") == "http://host:4318/v1/traces"
    assert traces_url("http://host:4318/") == "http://host:4318/v1/traces"
    assert traces_url("https://host/otlp/v1/traces") == "https://host/otlp/v1/traces"
