"""A target's URL, read in one place."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.address import Road, read_address, read_proxy
from scenarios.errors import TargetError
from scenarios.load.job import job_of
from scenarios.load.pool import LoadPool
from scenarios.load.target import parse_target, wire_bytes
from scenarios.plan import Plan
from scenarios.request import PlannedRequest

REQUEST = PlannedRequest(index=0, due_ns=0, path="/v1/x", body=b"{}")


def head(url: str, road: Road, key: str = "", **own: object) -> list[str]:
    request = PlannedRequest(index=0, due_ns=0, path="/v1/x", body=b"{}", **own)  # type: ignore[arg-type]
    return wire_bytes(request, parse_target(url, key, road)).partition(b"\r\n\r\n")[0].decode().split("\r\n")


@given(st.text(max_size=60))
def test_what_is_taken_as_a_target_is_taken_again_as_it_is_written(text: str) -> None:
    with contextlib.suppress(TargetError):
        address = read_address(text)
        assert read_address(address.url) == address


@pytest.mark.parametrize(
    ("text", "url", "loopback"),
    [
        ("http://localhost:8000/v1/", "http://localhost:8000", True),
        ("127.0.0.9", "http://127.0.0.9", True),
        ("https://[::1]:443/openai/v1", "https://[::1]/openai", True),
        ("https://llm.example.com", "https://llm.example.com", False),
        ("http://10.0.0.1:80", "http://10.0.0.1", False),
        ("unix:/run/llm.sock", "unix:/run/llm.sock", True),
    ],
)
def test_a_target_is_always_written_alike_and_known_as_ours_or_not(text: str, url: str, loopback: bool) -> None:
    assert (read_address(text).url, read_address(text).is_loopback) == (url, loopback)


@pytest.mark.parametrize("text", ["unix:", "unix:run/x", "unix:/" + "x" * 107, "unix:/a\0b", "unix:///" + "ä" * 60])
def test_a_socket_path_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(TargetError):
        read_address(text)


@pytest.mark.parametrize("text", ["https://host:3128", "unix:/run/x", "http://host/path", "http://u:p@host"])
def test_a_proxy_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(TargetError):
        read_proxy(text)


@pytest.mark.parametrize(
    "url", ["http://u:hun@h", "http://u:hun/ter2@h", "http://u:hun#@h", "u:hun?@h", "http://h/a@hun"]
)
def test_a_password_is_refused_and_not_shown_wherever_the_url_is_cut(url: str) -> None:
    with pytest.raises(TargetError) as caught:
        read_address(url)
    assert "hun" not in str(caught.value)


def test_a_proxied_plain_target_is_named_in_full() -> None:
    assert (
        head("http://127.0.0.1:81/a", Road(proxy="http://127.0.0.1:9"))[0] == "POST http://127.0.0.1:81/a/v1/x HTTP/1.1"
    )
    assert head("https://127.0.0.1:81", Road(proxy="http://127.0.0.1:9"))[0] == "POST /v1/x HTTP/1.1"


def test_a_header_of_the_road_goes_out_once_and_the_plan_has_the_last_word() -> None:
    road = Road(headers=(("X-Org", "me"), ("authorization", "Basic x")))
    lines = head("http://127.0.0.1", road, key="k", headers=(("x-org", "odd"),))
    assert [line for line in lines if line.lower().startswith(("x-org", "authorization"))] == [
        "authorization: Basic x",
        "x-org: odd",
    ]


def test_a_secret_header_comes_from_the_environment_and_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    target = parse_target("http://127.0.0.1", "", Road(headers=(("X-Key", "env:A_SECRET"),)))
    assert b"X-Key: s3cret" in wire_bytes(REQUEST, target)
    assert target.secrets == ("s3cret",)
    assert parse_target("http://127.0.0.1", "", Road(headers=(("X-Org", "public"),))).secrets == ()
    assert "s3cret" not in repr(target)


@pytest.mark.parametrize(
    "header", [("X Y", "1"), ("Content-Length", "1"), ("X", "a\r\nb: c"), ("X", "env:" + "NOT_SET_" + str(os.getpid()))]
)
def test_a_header_that_would_break_requests_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(TargetError):
        parse_target("http://127.0.0.1", "", Road(headers=(header,)))


def test_a_file_of_certificates_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(TargetError, match=name):
            parse_target("https://127.0.0.1", "", Road(ca_file=str(tmp_path / name)))


@pytest.mark.parametrize("tenant", ["", "gold"])
async def test_a_key_that_would_break_requests_is_refused(tenant: str) -> None:
    with pytest.raises(TargetError, match=tenant or "API key"):
        LoadPool(Plan.of([REQUEST]), "http://127.0.0.1", {tenant: "a\r\nX: b"})


def test_a_tenant_without_a_key_of_its_own_has_the_runs() -> None:
    target = parse_target("http://127.0.0.1", " one\n")
    for keys in ({"gold": ""}, {}):
        assert b"Bearer one\r\n" in job_of(msgspec.structs.replace(REQUEST, tenant="gold"), target, keys).wire


def test_another_key_stands_in_for_the_targets_own() -> None:
    target = parse_target("http://127.0.0.1", "one")
    assert b"Bearer two" in wire_bytes(REQUEST, target, "two")
    assert b"uthorization" not in wire_bytes(REQUEST, target, "")
