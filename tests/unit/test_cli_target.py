"""A target other than this machine: read strictly, named back, its key kept out of everything that is written."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

import pytest

from console.errors import UsageError
from console.target import API_KEY_ENV, confirm, key_env, load_key, read_road, read_target
from scenarios.address import Road
from scenarios.definition import ArrivalKind, Arrivals, FaultSpec, Scenario, Workload

FAR = "https://llm.example.com"


def scenario(*faults: str) -> Scenario:
    return Scenario(
        name="x",
        about="",
        workload=Workload(mix=(("support-chat", 1.0),)),
        arrivals=Arrivals(ArrivalKind.CONSTANT, duration_s=60.0, rate=4.0),
        faults=tuple(FaultSpec(kind, 1.0) for kind in faults),
    )


def answers(**changes: bool) -> argparse.Namespace:
    return argparse.Namespace(**{"yes": False, "i_own_this_target": False, "proxy": None} | changes)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/v1", "http://localhost:8000"),
        ("https://host/openai/v1/", "https://host/openai"),
        ("localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_a_target_is_taken_with_or_without_v1(text: str, url: str) -> None:
    assert read_target(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "ftp://host",
        "http://",
        "",
        "http://host:99999",
        "http://[::1",
        "http://host?key=1",
        "http://host#x",
        "http://ho st",
        "http://host\x1b[2J",
        "http://hőst",
        "http://host:0",
    ],
)
def test_a_url_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="http://localhost:8000") as caught:
        read_target(text)
    assert "\x1b" not in str(caught.value)


def test_a_key_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        read_target("http://user:s3cret@host")
    assert "s3cret" not in str(caught.value)
    assert "environment" in str(caught.value)


def test_this_machine_needs_no_confirmation() -> None:
    confirm(answers(), "http://127.0.0.1:8000", scenario("engine.kill"))


def test_without_a_terminal_a_far_target_needs_yes() -> None:
    with pytest.raises(UsageError, match=r"about 240 requests in 60 s, up to 4 a second to https://llm.example.com"):
        confirm(answers(), FAR, scenario())
    confirm(answers(yes=True), FAR, scenario())


def test_faults_against_a_far_target_need_ownership() -> None:
    with pytest.raises(UsageError, match=r"engine\.kill.*--i-own-this-target"):
        confirm(answers(yes=True), FAR, scenario("engine.kill"))
    confirm(answers(yes=True, i_own_this_target=True), FAR, scenario("engine.kill"))


@pytest.mark.parametrize(
    ("answer", "goes"), [("y\n", True), ("yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_a_person_is_asked(answer: str, goes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", asked := Terminal())
    if goes:
        confirm(answers(), FAR, scenario())
    else:
        with pytest.raises(UsageError, match="nothing was sent"):
            confirm(answers(), FAR, scenario())
    assert FAR in asked.getvalue()


def test_a_key_comes_from_a_file_into_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(API_KEY_ENV, "")
    path = tmp_path / "key"
    path.write_text("s3cret\n")
    path.chmod(0o644)
    load_key(path)
    assert os.environ[API_KEY_ENV] == "s3cret"
    assert key_env(FAR) == API_KEY_ENV
    assert key_env(None) is None
    err = capsys.readouterr().err
    assert "chmod 600" in err
    assert "s3cret" not in err


@pytest.mark.parametrize("text", ["", "two words", "a\nb\n"])
def test_a_key_file_that_holds_no_single_key_is_refused_without_repeating_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(UsageError, match="the key and nothing else") as caught:
        load_key(path)
    assert "two words" not in str(caught.value)


def test_a_key_file_that_cannot_be_read_is_explained_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read \(No such file or directory\); give a text file"):
        load_key(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is not UTF-8 text"):
        load_key(tmp_path / "binary")


def test_a_key_sent_unencrypted_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(API_KEY_ENV, "s3cret")
    confirm(answers(yes=True), "http://llm.example.com", scenario())
    assert "unencrypted" in capsys.readouterr().err


def roads(**changes: object) -> argparse.Namespace:
    plain = {"target": FAR, "proxy": None, "header": [], "ca_file": None, "insecure": False}
    return argparse.Namespace(**plain | changes)


def test_the_road_to_a_target_is_read_from_the_options() -> None:
    args = roads(proxy="localhost:3128", header=["X-A: b: c", "X-K: env:KEY"], ca_file=Path("/ca.pem"), insecure=True)
    assert read_road(args) == Road("http://localhost:3128", (("X-A", "b: c"), ("X-K", "env:KEY")), "/ca.pem", False)
    assert read_road(roads()) == Road()


@pytest.mark.parametrize(
    "changes",
    [
        {"header": ["no colon"]},
        {"header": ["Authorization: Bearer x"]},
        {"header": [": x"]},
        {"proxy": "ftp://x"},
        {"target": None, "insecure": True},
    ],
)
def test_a_road_that_leads_nowhere_is_a_usage_error(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        read_road(roads(**changes))


def test_a_proxy_elsewhere_is_no_longer_this_machine() -> None:
    with pytest.raises(UsageError, match="--yes"):
        confirm(roads(yes=False, proxy="http://far.example.com:1"), "http://127.0.0.1", scenario())
