"""`[keep]`: what the journal keeps is said in words that a person would write, or refused with line and fix."""

from __future__ import annotations

import pytest

from scenarios.definition import Keep
from scenarios.errors import DefinitionErrors
from scenarios.scenario_file import parse_scenario

BASE = """
name = "made"
[workload]
profile = "it-ops"
[arrivals]
kind = "constant"
rate = 1.0
duration = "5s"
"""


def kept(section: str) -> Keep:
    return parse_scenario(BASE + section, "made.toml").keep


def test_without_the_section_prompts_and_64_mb_of_answers_are_kept() -> None:
    assert kept("") == kept("[keep]") == Keep(64 << 20, True)


@pytest.mark.parametrize(
    ("section", "keep"),
    [
        ('[keep]\nanswers = "2GB"', Keep(2 << 30, True)),
        ('[keep]\nanswers = "128 KB"', Keep(128 << 10, True)),
        ("[keep]\nanswers = 0\nprompts = false", Keep(0, False)),
        ('[keep]\nprompts = true\nanswers = "0MB"', Keep(0, True)),
    ],
)
def test_sizes_and_flags_are_read(section: str, keep: Keep) -> None:
    assert kept(section) == keep


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ("[keep]\nanswers = 64", "write a size such as"),
        ('[keep]\nanswers = "64 bytes"', "write a size such as"),
        ("[keep]\nanswers = true", "write a size such as"),
        ('[keep]\nprompts = "no"', "true or false"),
        ("[keep]\nanswer = 0", "answers"),
        ("prompts = false", r"under \[keep\]|unknown key"),
    ],
)
def test_what_is_no_size_or_flag_is_refused_with_a_fix(section: str, what: str) -> None:
    with pytest.raises(DefinitionErrors, match=what):
        kept(section)
