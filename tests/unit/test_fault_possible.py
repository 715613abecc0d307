"""What can be brought about against which target, and what is missing where it cannot."""

from __future__ import annotations

import pytest

from scenarios.faults.kinds import KINDS, Need, Via
from scenarios.faults.possible import Setting, not_possible, why_not
from scenarios.faults.words import harm_in_words, undone_in_words

GPU = {"host.gpu_memory", "host.gpu_clock"}
TLS = {"network.tls_expired"}
ENGINE = {name for name in KINDS if KINDS[name].family == "engine"} | {"host.pause"}
MODEL = {name for name in KINDS if Need.MODEL in KINDS[name].needs}
HERE = {"host.cpu", "host.memory", "engine.port_taken"} | GPU


@pytest.mark.parametrize(
    ("here", "missing"),
    [
        (Setting(), TLS | GPU),
        (Setting(gpus=1), TLS),
        (Setting("http://localhost:8000"), TLS | GPU | ENGINE),
        (Setting("http://localhost:8000", has_pid=True), TLS | GPU | MODEL),
        (Setting("http://localhost:8000", launched=True, gpus=2), TLS | MODEL),
        (Setting("https://llm.example.com", gpus=1), HERE | ENGINE),
        (Setting("http://llm.example.com"), TLS | HERE | ENGINE),
        (Setting("unix:/run/llm.sock"), TLS | GPU | ENGINE),
    ],
)
def test_a_target_can_have_these_faults_and_not_those(here: Setting, missing: set[str]) -> None:
    assert set(not_possible(here)) == missing


def test_why_says_what_is_missing_and_what_the_driver_says() -> None:
    assert why_not(KINDS["engine.kill"], Setting("http://localhost:1")).startswith("it needs the target's process")
    gpu = "it needs an NVIDIA GPU (no driver); run it where there is one, or leave it out"
    assert why_not(KINDS["host.gpu_memory"], Setting(gpu_note="no driver")) == gpu
    assert why_not(KINDS["host.cpu"], Setting()) == ""


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_says_what_it_touches_and_who_puts_it_right(name: str) -> None:
    kind = KINDS[name]
    assert harm_in_words(kind)
    assert undone_in_words(kind)
    assert (harm_in_words(kind) == "this machine") == (Need.LOCAL in kind.needs and kind.family == "host")
    assert (kind.via is Via.PROXY) == (harm_in_words(kind) == "this run's requests on their way")
