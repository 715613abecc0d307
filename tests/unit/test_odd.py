"""Every odd class makes probes that are what they claim to be, and the judgement of their answers is exact."""

from __future__ import annotations

import json
import random

import httptools
import msgspec
import pytest

from scenarios.observation import Outcome
from scenarios.odd import ODD_CLASSES, OddClass, OddGroup, is_correct
from scenarios.odd.probe import Probe
from scenarios.request import PlannedRequest
from scenarios.workload import odd_request

VARIANTS = 40
every_class = pytest.mark.parametrize("odd", ODD_CLASSES.values(), ids=list(ODD_CLASSES))


def planned(odd: OddClass, seed: int, model: str | None = None) -> PlannedRequest:
    return odd_request(0, 0, odd, random.Random(seed), model=model, timeout_s=30.0)


def probes(name: str) -> list[Probe]:
    return [ODD_CLASSES[name].make(random.Random(seed)) for seed in range(VARIANTS)]


def test_there_are_classes_in_every_group_and_enough_of_them() -> None:
    assert len(ODD_CLASSES) >= 40
    assert {odd.group for odd in ODD_CLASSES.values()} == set(OddGroup)


@every_class
def test_a_class_says_what_is_right_and_why(odd: OddClass) -> None:
    assert odd.why.endswith(".")
    assert odd.allowed
    for entry in odd.allowed:
        assert entry in ("closed", "cancelled", "2xx", "4xx") or 400 <= int(entry) < 600


@every_class
def test_the_same_generator_state_gives_the_same_probe(odd: OddClass) -> None:
    for seed in range(3):
        assert planned(odd, seed) == planned(odd, seed)


@every_class
def test_a_probe_can_be_planned_and_kept(odd: OddClass) -> None:
    for seed in range(5):
        request = planned(odd, seed)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=PlannedRequest) == request
        assert request.profile == "odd"
        assert request.segment == odd.name
        assert request.timeout_s <= 12.0
        assert request.expect.allowed == odd.allowed
        assert all("!" <= char <= "~" for char in request.path)
        assert not (request.raw and request.body)


@every_class
def test_a_probe_that_should_be_answered_is_valid_and_short(odd: OddClass) -> None:
    if odd.allowed != ("2xx",):
        return
    for seed in range(VARIANTS):
        request = planned(odd, seed)
        payload = json.loads(request.body)
        assert payload["stream"] is True
        assert payload["messages"][-1]["role"] == "user"
        assert len(request.prompt_text.encode()) <= 600


def test_a_model_name_is_put_into_payloads_but_not_over_the_odd_ones() -> None:
    assert json.loads(planned(ODD_CLASSES["emoji"], 0, model="m").body)["model"] == "m"
    assert json.loads(planned(ODD_CLASSES["model-wrong-type"], 0, model="m").body)["model"] != "m"
    assert b"model" not in planned(ODD_CLASSES["emoji"], 0).body


@pytest.mark.parametrize("name", ["truncated-json", "invalid-utf8", "two-documents", "javascript-json", "deep-json"])
def test_bodies_that_claim_to_be_broken_are(name: str) -> None:
    for probe in probes(name):
        with pytest.raises((ValueError, RecursionError)):
            msgspec.json.decode(probe.body)


@pytest.mark.parametrize("name", ["lone-surrogate", "duplicate-keys", "not-an-object", "nan-and-infinity"])
def test_bodies_at_the_edge_are_still_read_by_a_lenient_parser(name: str) -> None:
    for probe in probes(name):
        json.loads(probe.body)


class _Server:
    """Counts the whole messages that a strict HTTP parser sees."""

    def __init__(self) -> None:
        self.whole = 0

    def on_message_complete(self) -> None:
        self.whole += 1


def _parsed(raw: bytes) -> int:
    """How many whole requests are in the bytes; -1 when a strict parser refuses them."""
    server = _Server()
    parser = httptools.HttpRequestParser(server)
    try:
        parser.feed_data(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return -1
    return server.whole


def test_a_slow_body_is_a_whole_valid_request() -> None:
    for probe in probes("slow-body"):
        assert _parsed(probe.raw) == 1
        assert 0 < probe.raw_chunks_s * 8 <= 2.0


@pytest.mark.parametrize("name", ["unfinished-headers", "gone-mid-body", "content-length-too-large"])
def test_unfinished_requests_never_end(name: str) -> None:
    assert {_parsed(probe.raw) for probe in probes(name)} == {0}


@pytest.mark.parametrize(
    "name",
    [
        "content-length-nonsense",
        "two-content-lengths",
        "length-and-chunked",
        "http-2-preface",
        "tls-hello",
        "binary-noise",
    ],
)
def test_broken_http_is_refused_by_a_strict_parser(name: str) -> None:
    assert {_parsed(probe.raw) for probe in probes(name)} == {-1}


def test_the_header_bomb_and_the_url_are_as_large_as_they_claim() -> None:
    for name in ("header-bomb", "long-url"):
        assert all(100_000 <= len(probe.raw) <= 120_000 for probe in probes(name))


def test_hang_ups_are_timed_and_may_end_cancelled() -> None:
    for name in ("gone-mid-stream", "gone-at-once", "gone-mid-body"):
        assert "cancelled" in ODD_CLASSES[name].allowed
        assert all(0 < probe.hang_up_after_s <= 0.3 for probe in probes(name))


@pytest.mark.parametrize(
    ("allowed", "outcome", "status", "correct"),
    [
        (("400",), Outcome.HTTP_4XX, 400, True),
        (("400",), Outcome.HTTP_4XX, 404, False),
        (("400",), Outcome.RESET, 400, True),  # answered, then closed on a client that still sends
        (("400",), Outcome.RESET, None, False),
        (("400",), Outcome.OK, 200, False),
        (("400",), Outcome.HTTP_5XX, 500, False),
        (("400",), Outcome.TIMEOUT, None, False),
        (("400",), Outcome.UNSENT, None, False),
        (("400",), Outcome.REFUSED, None, False),
        (("400", "413"), Outcome.HTTP_4XX, 413, True),
        (("2xx",), Outcome.OK, 200, True),
        (("2xx",), Outcome.TRUNCATED, 200, False),
        (("2xx",), Outcome.MALFORMED, 200, False),
        (("200",), Outcome.TRUNCATED, 200, False),
        (("2xx",), Outcome.TIMEOUT, 200, False),
        (("4xx",), Outcome.HTTP_4XX, 418, True),
        (("4xx",), Outcome.SHED, 429, False),
        (("5xx",), Outcome.SHED, 503, False),
        (("429",), Outcome.SHED, 429, True),
        (("closed",), Outcome.RESET, None, True),
        (("closed",), Outcome.TRUNCATED, None, True),
        (("closed",), Outcome.RESET, 200, False),
        (("closed",), Outcome.REFUSED, None, False),
        (("closed",), Outcome.TIMEOUT, None, False),
        (("cancelled", "2xx"), Outcome.CANCELLED, None, True),
        (("cancelled", "2xx"), Outcome.CANCELLED, 200, True),
        (("cancelled", "2xx"), Outcome.CANCELLED, 500, False),  # it failed before we hung up
        (("cancelled", "2xx"), Outcome.OK, 200, True),
        (("cancelled", "2xx"), Outcome.RESET, None, False),
        (("2xx",), Outcome.CANCELLED, 200, False),
        ((), Outcome.OK, 200, False),
    ],
)
def test_an_answer_is_judged_by_what_a_correct_server_does(
    allowed: tuple[str, ...], outcome: Outcome, status: int | None, correct: bool
) -> None:
    assert is_correct(allowed, outcome, status) is correct
