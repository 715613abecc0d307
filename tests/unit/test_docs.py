"""The documents against the program: what they show must exist, and what exists must be shown."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from console.cli import COMMANDS, build_parser
from scenarios import catalogue
from scenarios.conditions import FIGURES
from scenarios.definition import (
    ArrivalKind,
    Arrivals,
    Blast,
    Chaos,
    Condition,
    Drift,
    EngineSettings,
    FaultSpec,
    GateSpec,
    Matrix,
    Scenario,
    Slo,
    Workload,
)
from scenarios.faults.kinds import KINDS
from scenarios.faults.kinds.markdown import markdown
from scenarios.metrics import FINDING_CATEGORIES, METRICS
from scenarios.observation import Outcome
from scenarios.plan import make_plan
from scenarios.result import ResultDocument
from scenarios.scenario_file import parse_scenario
from scenarios.toml.keys import (
    ALL_ARRIVAL_KEYS,
    ALL_PART_KEYS,
    BLAST_KEYS,
    CHAOS_KEYS,
    CLIENT_KEYS,
    CONDITION_KEYS,
    DRIFT_KEYS,
    ENGINE_KEYS,
    FAULT_KEYS,
    GATE_KEYS,
    KEEP_KEYS,
    MATRIX_KEYS,
    MIX_KEYS,
    PROFILE_NAMES,
    RANDOM_KEYS,
    SEARCH_KEYS,
    SLO_KEYS,
    TENANT_KEYS,
    TOP_KEYS,
    WORKLOAD_KEYS,
)

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/scenarios.md",
    "docs/faults.md",
    "docs/engine.md",
    "docs/serve.md",
    "docs/decisions/001-command-line.md",
    "docs/decisions/007-resume.md",
    "docs/console.md",
)
SCENARIOS = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
FAULTS = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", SCENARIOS + FAULTS, flags=re.DOTALL)
MEASURED = re.compile(r"<!-- engine-table -->.*<!-- /engine-table -->", re.DOTALL)
"""Written by the benchmark, which speaks of its own options and of the peers'."""
TEXTS = {name: MEASURED.sub("", (ROOT / name).read_text(encoding="utf-8")) for name in DOCUMENTS}
PLACEHOLDERS = {"SCENARIO": "peak-traffic", "COMMAND": "run", "RUN": "last"}


def shown_commands() -> list[tuple[str, str]]:
    """Every `seatrial ...` in code: indented blocks (up to two spaces before an explanation) and back-ticked spans."""
    found = []
    for name, text in TEXTS.items():
        blocks = (line.strip() for line in text.splitlines() if line.startswith("    seatrial"))
        found += [(name, re.split(r" {2,}", line)[0]) for line in blocks]
        found += [(name, span) for span in re.findall(r"`(seatrial[^`]*)`", text)]
    return found


def parses(command: str) -> list[str]:
    """The command's arguments, with names in place of placeholders."""
    words = shlex.split(command.partition("|")[0])[1:]
    return [PLACEHOLDERS.get(word, word) for word in words]


@pytest.mark.parametrize(("document", "command"), shown_commands())
def test_every_command_that_a_document_shows_parses(document: str, command: str) -> None:
    words = parses(command)
    if "--help" in words:
        with pytest.raises(SystemExit) as stop:
            build_parser().parse_args(words)
        assert stop.value.code == 0
        return
    if words in (["show"], ["watch"], ["report"], ["export"], ["run"], ["resume"], ["inject"]):  # named, not shown
        return
    build_parser().parse_args(words)


def test_the_readme_shows_every_command() -> None:
    for command in COMMANDS:
        assert f"seatrial {command}" in TEXTS["README.md"], command


def options(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= options(inner)
    return found


def test_every_option_that_a_document_mentions_exists() -> None:
    known = options(build_parser()) | {"--strict"}  # mypy's own
    for name, text in TEXTS.items():
        mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", re.sub(r"<!--.*?-->", "", text)))
        assert mentioned <= known, name


def test_every_option_of_run_is_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["run", "--help"])
    text = capsys.readouterr().out
    for option in ("--target", "--model", "--seed", "--rate", "--duration", "--workers", "--runs-dir", "--json",
                   "--junit", "--markdown", "--plain", "--i-own-this-target"):  # fmt: skip
        assert option in text
    assert "--run-id" not in text


def section(title: str) -> str:
    _, _, rest = SCENARIOS.partition(f"## {title}\n")
    assert rest, f"no section {title}"
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("Top of the file", tuple(k for k in TOP_KEYS if k in ("name", "about", "timeout"))),
        ("`[workload]`", (*WORKLOAD_KEYS, *PROFILE_NAMES, *ALL_PART_KEYS, *MIX_KEYS, *TENANT_KEYS, *CLIENT_KEYS)),
        ("`[arrivals]`", (*ALL_ARRIVAL_KEYS, *ArrivalKind)),
        ("`[slo]`", SLO_KEYS),
        ("`[search]`", SEARCH_KEYS),
        ("`[engine]`", ENGINE_KEYS),
        ("`[keep]`", KEEP_KEYS),
        ("`[[gates]]`", GATE_KEYS),
        ("`[[faults]]`", FAULT_KEYS),
        ("`[[abort]]`", (*CONDITION_KEYS, *FIGURES)),
        ("`[blast_radius]`", BLAST_KEYS),
        ("`[matrix]`", MATRIX_KEYS),
        ("`[chaos]`", CHAOS_KEYS),
        ("Metrics", (*(m for m in METRICS if not m.startswith("findings.")), "findings.any", *FINDING_CATEGORIES)),
        ("Outcomes", tuple(outcome.value for outcome in Outcome)),
    ],
)
def test_every_key_of_a_section_is_explained_in_it(title: str, keys: tuple[str, ...]) -> None:
    explained = set(re.findall(r"`([^`\n]+)`", section(title)))
    assert set(keys) <= explained


def test_every_table_and_drift_key_is_explained() -> None:
    assert {f"drift.{key}" for key in DRIFT_KEYS} <= set(re.findall(r"`([^`\n]+)`", SCENARIOS))
    for table in set(TOP_KEYS) - {"name", "about", "timeout"}:
        assert f"[{table}]" in SCENARIOS


def test_no_field_of_a_definition_was_forgotten_by_the_file_format() -> None:
    renamed = {"mix", "parts", "duration_s", "spike_at_s", "spike_s", "period_s", "recording", "minimum", "maximum"}
    renamed |= {
        "at_s",
        "by_s",
        "for_s",
        "params",
        "length_s",
        "slot_s",
        "lead_s",
        "budget_s",
        "settle_s",
        "kinds",
    }  # of faults
    renamed |= {"timeout_s", "blast", "source"}
    keys = {*WORKLOAD_KEYS, *ALL_ARRIVAL_KEYS, *SLO_KEYS, *ENGINE_KEYS, *GATE_KEYS, *DRIFT_KEYS} | renamed
    keys |= {*TOP_KEYS, *FAULT_KEYS, *RANDOM_KEYS, *CONDITION_KEYS, *BLAST_KEYS, *MATRIX_KEYS, *CHAOS_KEYS}
    faults = (Scenario, FaultSpec, Condition, Blast, Matrix, Chaos)
    for kind in (Workload, Arrivals, Slo, EngineSettings, GateSpec, Drift, *faults):
        assert set(kind.__dataclass_fields__) <= keys, kind


def test_the_example_in_the_documents_is_a_valid_scenario() -> None:
    example = EXAMPLES[0]
    scenario = parse_scenario(example, "docs/scenarios.md")
    assert scenario.name == "sale-day"
    assert len(scenario.gates) == 2


@pytest.mark.parametrize("example", EXAMPLES[1:])
def test_a_part_of_a_scenario_in_the_documents_is_valid_with_the_rest_around_it(example: str, tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text('{"prompt": "How much?", "answer": "Ten."}\n')
    row = '{"timestamp": %d, "input_length": 600, "output_length": 9, "hash_ids": [0, 1]}\n'
    (tmp_path / "trace.jsonl").write_text(row % 0 + row % 900)
    rest = {
        "workload": '[workload]\nprofile = "it-ops"\n',
        "arrivals": '[arrivals]\nkind = "constant"\nrate = 1.0\nduration = "2m"\n',
    }
    missing = "".join(text for table, text in rest.items() if table not in tomllib.loads(example))
    scenario = parse_scenario(f'name = "part"\n{example}\n{missing}', str(tmp_path / "part.toml"))
    assert make_plan(scenario, 1)[:2]


def test_the_defaults_in_the_documents_are_the_programs() -> None:
    defaults = EngineSettings()
    for key in ("slots", "ctx", "queue_limit"):
        (row,) = re.findall(rf"\| `{key}` \|.*\| (\d+) \|", section("`[engine]`"))
        assert int(row) == getattr(defaults, key)
    assert f"| {GateSpec('x').confidence} |" in section("`[[gates]]`")


def test_the_kinds_of_faults_in_the_documents_are_the_programs() -> None:
    _, _, rest = FAULTS.partition("<!-- kinds -->\n")
    written, mark, _ = rest.partition("\n<!-- /kinds -->")
    assert mark
    assert written == markdown(), "write it again: python -m scenarios.faults.kinds"
    assert all(f"| `{name}` |" in written for name in KINDS)


def test_scenarios_that_the_readme_names_are_in_the_catalogue() -> None:
    for name in catalogue.names():
        assert name in TEXTS["README.md"] + TEXTS["CHANGELOG.md"], name


def test_links_to_files_lead_somewhere() -> None:
    for name, text in TEXTS.items():
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / name).parent.joinpath(link).exists(), f"{name}: {link}"


def test_the_exit_codes_in_the_readme_and_the_help_are_the_programs() -> None:
    from console.exits import Exit

    words = ("GO", "NO-GO", "usage or bad input", "INCONCLUSIVE", "INVALID", "the target", "a bug in", "interrupted")
    readme, usage = (" ".join(text.split()).lower() for text in (TEXTS["README.md"], build_parser().format_help()))
    for code, word in zip(Exit, words, strict=True):
        assert f" {code.value} {word}".lower() in readme, code
        assert f" {code.value} {word}".lower() in usage, code


def test_the_document_that_readers_rely_on_keeps_its_names() -> None:
    assert ResultDocument.__struct_fields__[:5] == ("verdict", "why", "run", "summary", "gates")
