"""Sending on time: alarms, lag, and the bytes of a request."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.errors import TargetError
from scenarios.load.alarm import Alarm, PollingAlarm, SharpAlarm, TimerfdAlarm
from scenarios.load.lag import LagCounts, LagHistogram
from scenarios.load.sockets import Sockets
from scenarios.load.target import Target, parse_target, wire_bytes
from scenarios.request import PlannedRequest

MS = 1_000_000
MakeAlarm = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Alarm]


def sharp(loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> Alarm:
    return SharpAlarm(Sockets(loop), ring)


ALARMS: list[MakeAlarm] = [PollingAlarm, *([TimerfdAlarm, sharp] if sys.platform == "linux" else [])]


@pytest.mark.parametrize("make", ALARMS)
async def test_an_alarm_rings_once_and_not_before_its_time(make: MakeAlarm) -> None:
    rings: list[int] = []
    rang = asyncio.Event()

    def ring() -> None:
        rings.append(time.monotonic_ns())
        rang.set()

    alarm = make(asyncio.get_running_loop(), ring)
    due_ns = time.monotonic_ns() + 20 * MS
    alarm.set(due_ns + 5_000 * MS)
    alarm.set(due_ns)
    async with asyncio.timeout(3):
        await rang.wait()
    await asyncio.sleep(0.01)
    alarm.close()
    assert len(rings) == 1
    assert rings[0] >= due_ns


@pytest.mark.parametrize("make", ALARMS)
async def test_an_alarm_set_to_the_past_rings_at_once_and_a_closed_one_never(make: MakeAlarm) -> None:
    rang = asyncio.Event()
    alarm = make(asyncio.get_running_loop(), rang.set)
    alarm.set(0)
    async with asyncio.timeout(3):
        await rang.wait()
    rang.clear()
    alarm.set(time.monotonic_ns() + 5 * MS)
    alarm.close()
    await asyncio.sleep(0.02)
    assert not rang.is_set()


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=200), st.floats(0, 1))
def test_a_lag_quantile_is_within_a_bucket_of_the_true_one(lags_ns: list[int], q: float) -> None:
    histogram = LagHistogram()
    for lag_ns in lags_ns:
        histogram.add(lag_ns)
    true_ns = sorted(lags_ns)[max(1, -(-int(q * len(lags_ns) * 10**9) // 10**9)) - 1]
    found_s = histogram.quantile_s(q)
    assert found_s is not None
    if q * len(lags_ns) % 1 > 1e-6:  # at an exact rank rounding may pick the neighbour
        assert max(true_ns, 1000) / 1e9 / 1.1 <= found_s or found_s == histogram.max_ns / 1e9
    assert found_s <= max(histogram.max_ns, 1000) / 1e9


@given(st.lists(st.integers(0, 10**10)), st.lists(st.integers(0, 10**10)))
def test_taken_and_merged_counts_equal_counting_at_one_place(first: list[int], second: list[int]) -> None:
    parts, whole, merged = LagHistogram(), LagHistogram(), LagHistogram()
    for lags in (first, second):
        for lag_ns in lags:
            parts.add(lag_ns)
            whole.add(lag_ns)
        merged.merge(parts.take())
    assert (merged.n, merged.max_ns) == (whole.n, whole.max_ns)
    assert all(merged.quantile_s(q) == whole.quantile_s(q) for q in (0.0, 0.5, 0.99, 1.0))
    assert parts.take() == LagCounts()


def target(url: str = "http://127.0.0.1:8080", key: str = "") -> Target:
    return parse_target(url, key)


def request(**own: object) -> PlannedRequest:
    return PlannedRequest(index=0, due_ns=0, path="/v1/x", body=b"{}", **own)  # type: ignore[arg-type]


def test_a_request_is_written_with_what_the_server_needs() -> None:
    head, _, body = wire_bytes(request(), target(key="k")).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/x HTTP/1.1"
    assert set(lines[1:]) == {
        "Host: 127.0.0.1:8080",
        "User-Agent: seatrial",
        "Accept: text/event-stream",
        "Content-Type: application/json",
        "Content-Length: 2",
        "Authorization: Bearer k",
    }
    assert body == b"{}"


def test_a_header_of_the_plan_replaces_the_default_of_its_name() -> None:
    own = (("content-type", "text/odd"), ("AUTHORIZATION", "none"), ("X-Twice", "1"), ("X-Twice", "2"))
    wire = wire_bytes(request(headers=own), target(key="k"))
    assert wire.lower().count(b"content-type") == wire.lower().count(b"authorization") == 1
    assert wire.count(b"X-Twice") == 2


def test_raw_bytes_go_out_as_they_are() -> None:
    assert wire_bytes(request(raw=b"\x00\xff", headers=(("a", "b"),)), target(key="k")) == b"\x00\xff"


@pytest.mark.parametrize(
    "own",
    [
        {"headers": (("a", "b\r\nc: d"),)},
        {"headers": (("a b", "c"),)},
        {"headers": (("", "c"),)},
        {"method": "GET /x HTTP/1.1\r\n"},
    ],
)
def test_what_would_break_the_request_is_refused(own: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="raw bytes"):
        wire_bytes(request(**own), target())


@pytest.mark.parametrize("path", ["/a b", "/a\r\nb", "no-slash", "/ä"])
def test_a_path_that_cannot_be_sent_is_refused(path: str) -> None:
    odd = PlannedRequest(index=0, due_ns=0, path=path, body=b"")
    if path == "no-slash":
        odd = PlannedRequest(index=0, due_ns=0, path=path, body=b"")
    with pytest.raises(ValueError, match="path"):
        wire_bytes(odd, target())


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:99999",
        "http://user:pw@127.0.0.1",
        "http://127.0.0.1/?a=b",
        "http://no-such-host.invalid",
    ],
)
def test_a_target_that_cannot_be_used_says_why(url: str) -> None:
    with pytest.raises(TargetError):
        target(url)


def test_the_key_of_a_target_does_not_show_in_its_repr() -> None:
    assert "secret" not in repr(target(key="secret"))


def test_an_ipv6_target_has_brackets_in_its_host_header() -> None:
    assert target("http://[::1]:81").address.authority == "[::1]:81"
    assert target("http://127.0.0.1:80/v1/").address.authority == "127.0.0.1"
