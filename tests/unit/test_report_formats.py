"""Markdown, JUnit, JSON and its schema."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_report_samples import NASTY, make_document, make_gate, write_journal

from scenarios.journal import JournalReader
from scenarios.report import Material, gather, render_json, render_junit, render_markdown, render_text
from scenarios.report.layout import cells
from scenarios.report.schema import PATH, build_schema
from scenarios.result import FaultOutcome, FaultResult, GateVerdict, ResultDocument, Verdict, Window
from scenarios.tick import Event

GATES = (
    make_gate("fast", GateVerdict.PASS),
    make_gate("good", GateVerdict.FAIL, metric="goodput", bound=">= 0.95", measured=0.9375, interval=(0.9, 0.96)),
    make_gate("sure", GateVerdict.INCONCLUSIVE, needed=1420),
    make_gate("lag", GateVerdict.INVALID, reason="late"),
)


def violations(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """What in `value` breaks `schema`, for the part of JSON Schema that msgspec writes."""
    if "$ref" in schema:
        return violations(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "anyOf" in schema:
        found = [violations(value, option, root, at) for option in schema["anyOf"]]
        return [] if any(not each for each in found) else found[0]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r}"]
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    kinds |= {"object": dict, "array": list}
    right = isinstance(value, kinds[schema["type"]]) and not (isinstance(value, bool) and schema["type"] != "boolean")
    wrong = [] if right else [f"{at}: {value!r} is no {schema['type']}"]
    if isinstance(value, dict):
        wrong += [f"{at}: no {name}" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if inner is None:
                wrong.append(f"{at}.{name} is not in the schema")
            elif isinstance(inner, dict):
                wrong += violations(item, inner, root, f"{at}.{name}")
    if isinstance(value, list):
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        firsts = schema.get("prefixItems", [])
        for i, item in enumerate(value):
            inner = firsts[i] if i < len(firsts) else schema.get("items")
            if isinstance(inner, dict):
                wrong += violations(item, inner, root, f"{at}[{i}]")
    return wrong


def test_the_shipped_schema_is_the_documents_own() -> None:
    assert PATH.read_text(encoding="utf-8") == build_schema(), "run `python -m scenarios.report.schema`"


@pytest.mark.parametrize("document", [make_document(), make_document(Verdict.NO_GO, GATES, target=NASTY)])
def test_the_json_document_follows_its_schema(document: ResultDocument) -> None:
    schema = json.loads(build_schema())
    value = json.loads(render_json(document))
    assert violations(value, schema, schema) == []
    del value["verdict"]
    value["summary"]["planned"] = "many"
    assert violations(value, schema, schema) == ["$: no verdict", "$.summary.planned: 'many' is no integer"]


def test_the_json_is_one_document_that_reads_back_the_same_and_is_safe_to_print() -> None:
    document = msgspec.structs.replace(make_document(target="\x9b2J\u202e é\ufeff"), why=NASTY)
    text = render_json(document)
    assert text.endswith("}\n")
    assert msgspec.json.decode(text, type=ResultDocument) == document
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ufeff]", text)


def test_the_json_does_not_depend_on_the_order_in_which_numbers_were_gathered() -> None:
    document = make_document()
    turned = dict(reversed(document.summary.outcomes.items()))
    other = msgspec.structs.replace(document, summary=msgspec.structs.replace(document.summary, outcomes=turned))
    assert render_json(document) == render_json(other)


def test_infinities_become_null() -> None:
    document = make_document()
    summary = msgspec.structs.replace(document.summary, goodput=float("nan"), goodput_rate=float("inf"))
    value = json.loads(render_json(msgspec.structs.replace(document, summary=summary)))
    assert value["summary"]["goodput"] is None
    assert value["summary"]["goodput_rate"] is None


def test_junit_has_a_case_for_each_gate_and_tells_fail_invalid_and_inconclusive_apart() -> None:
    suite = ElementTree.fromstring(render_junit(Material(make_document(Verdict.NO_GO, GATES))))
    assert suite.tag == "testsuite"
    assert [case.get("name") for case in suite.findall("testcase")] == ["fast", "good", "sure", "lag"]
    assert [[child.tag for child in case] for case in suite.findall("testcase")] == [
        [],
        ["failure"],
        ["skipped"],
        ["error"],
    ]
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "goodput is 93.75 %, bound >= 95 %"


def test_what_was_planned_and_how_long_it_took_are_of_the_whole_run_and_not_of_its_window() -> None:
    document = make_document()
    window = Window(start_s=30.0, end_s=180.0, rule="time")
    document = msgspec.structs.replace(
        document, summary=msgspec.structs.replace(document.summary, window_s=150.0, window=window)
    )
    material = Material(document, events=(Event(kind="phase.done", text="done", t_s=183.5),))
    assert "| planned | 320 in the whole run |" in render_markdown(material)
    assert 'time="183.500"' in render_junit(material)
    assert 'time="180.000"' in render_junit(Material(document))


def test_junit_holds_no_character_that_xml_forbids() -> None:
    document = make_document(
        Verdict.NO_GO, (make_gate(NASTY + "\x00\ufffe", GateVerdict.FAIL, reason=NASTY),), target=NASTY
    )
    text = render_junit(Material(document))
    ElementTree.fromstring(text)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)


@pytest.mark.parametrize(("verdict", "tag"), [(Verdict.INVALID, "error"), (Verdict.INCONCLUSIVE, "skipped")])
def test_junit_is_not_green_when_every_gate_passed_but_the_run_is_no_go(verdict: Verdict, tag: str) -> None:
    suite = ElementTree.fromstring(render_junit(Material(make_document(verdict, (make_gate(),)))))
    assert suite.find(f"testcase[@name='verdict']/{tag}") is not None


def test_junit_says_that_a_run_was_interrupted() -> None:
    suite = ElementTree.fromstring(render_junit(Material(make_document(state="interrupted"), observed=3)))
    skipped = suite.find("testcase[@name='verdict']/skipped")
    assert skipped is not None
    assert "interrupted after 3" in (skipped.get("message") or "")


def test_junit_is_red_for_a_run_whose_target_failed() -> None:
    gates = (make_gate("sure", GateVerdict.INCONCLUSIVE),)
    document = make_document(Verdict.INCONCLUSIVE, gates, state="failed")
    suite = ElementTree.fromstring(render_junit(Material(document, observed=3)))
    assert suite.get("errors") == "1"
    assert "failed after 3" in suite.find("testcase[@name='verdict']/error").get("message", "")  # type: ignore[union-attr]


def test_markdown_puts_verdict_and_gates_first_and_folds_the_rest() -> None:
    text = render_markdown(Material(make_document(Verdict.NO_GO, GATES)))
    assert text.startswith("## ✗ NO-GO: peak-traffic\n")
    assert text.index("| verdict | gate |") < text.index("<details>")
    assert text.count("<details>") == text.count("</details>")
    (failed,) = (line for line in text.splitlines() if line.startswith("| ✗"))
    assert "93.75 %" in failed
    assert "| throughput | 1.75 requests/s, 812.4 tokens/s (tokens by usage) |" in text


def test_markdown_lets_outside_text_open_no_tag_and_no_cell(tmp_path: Path) -> None:
    document = msgspec.structs.replace(make_document(Verdict.NO_GO, GATES, target=NASTY), why=NASTY)
    with JournalReader(write_journal(tmp_path, document)) as reader:
        text = render_markdown(gather(reader, document))
    assert "<img" not in text
    assert "](http" not in text.replace("\\]", "")
    assert all(character.isprintable() or character == "\n" for character in text)
    for line in text.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 5, 6, 8, 9)


def test_markdown_stays_small_enough_for_a_pull_request(tmp_path: Path) -> None:
    gates = tuple(
        make_gate(f"gate {i}", GateVerdict.FAIL, evidence=tuple(range(6)), reason=NASTY * 20) for i in range(20)
    )
    document = make_document(Verdict.NO_GO, gates)
    with JournalReader(write_journal(tmp_path, document)) as reader:
        assert len(render_markdown(gather(reader, document))) < 65_536


def test_a_report_rebuilt_from_the_journal_is_byte_for_byte_the_one_that_was_written(tmp_path: Path) -> None:
    document = make_document(Verdict.NO_GO, GATES)
    path = write_journal(tmp_path, document)
    renders = (render_markdown, render_junit, lambda m: render_json(m.document), lambda m: render_text(m, str(path)))
    with JournalReader(path) as reader:
        written = [render(gather(reader, document)) for render in renders]
    with JournalReader(path) as reader:
        again = reader.document()
        assert again is not None
        assert [render(gather(reader, again)) for render in renders] == written


def faulty() -> ResultDocument:
    """A document with a fault of each outcome, words from outside in all its texts."""

    def fault(number: int, outcome: FaultOutcome, **rest: Any) -> FaultResult:
        made = {"kind": "network.latency", "words": f"latency 200 ms {NASTY}", "at_s": number * 10.0, "requests": 34}
        made |= {"number": number, "end_s": number * 10.0 + 3, "outcome": outcome}
        return FaultResult(**made | rest)

    faults = (
        fault(1, FaultOutcome.HELD, facts={"held_s": 2.5, NASTY: NASTY}),
        fault(2, FaultOutcome.DEGRADED, out_s=3.0, detected_s=0.5),
        fault(3, FaultOutcome.RECOVERED, recovered_s=3.2, out_s=6.2, lost=12, shed=3, retried=4, duplicated=2),
        fault(4, FaultOutcome.LOST, lost=1234, budget_spent=0.125),
        fault(5, FaultOutcome.STUCK, lost=54, stuck=50, out_s=16.2, undone=False),
        fault(6, FaultOutcome.SKIPPED, why=f"it needs an NVIDIA GPU {NASTY}", end_s=None),
        fault(7, FaultOutcome.UNKNOWN, requests=0),
    )
    document = make_document()
    summary = msgspec.structs.replace(document.summary, faults=faults, fingerprints={"demo fp_1": 9, NASTY: 1})
    return msgspec.structs.replace(document, summary=summary)


def test_the_json_of_a_run_with_faults_follows_its_schema() -> None:
    schema = json.loads(build_schema())
    value = json.loads(render_json(faulty()))
    assert violations(value, schema, schema) == []
    assert value["summary"]["faults"][2]["outcome"] == "recovered"


def test_markdown_has_a_row_for_each_fault_and_what_came_of_it() -> None:
    text = render_markdown(Material(faulty()))
    rows = [line for line in text.splitlines() if "network.latency" in line]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        "✓ held",
        "≈ degraded",
        "↻ recovered in 3.2 s",
        "✗ lost 1,234",
        "■ stuck",
        "- skipped",
        "? unknown",
    ]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 9 for row in rows)
    assert "| 6.2 s | 12 | 3 | 4 | 3.2 s |" in rows[2]
    assert ["could not be undone" in row for row in rows] == [False] * 4 + [True] + [False] * 2
    assert "it needs an NVIDIA GPU" in rows[5]
    assert text.index("**Faults**") < text.index("<details>")
    assert "| models | demo fp" in text


def test_junit_tells_of_faults_in_its_output_and_leaves_the_judging_to_the_gates() -> None:
    text = render_junit(Material(faulty()))
    suite = ElementTree.fromstring(text)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "0", "0")
    told = suite.findtext("system-out") or ""
    assert told.startswith("Faults ")
    assert "↻ recovered in 3.2 s" in told
    assert "it needs an NVIDIA GPU" in told
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_text_report_tells_of_each_fault_within_its_width(width: int) -> None:
    text = render_text(Material(faulty()), "j", width)
    assert all(cells(line) <= width for line in text.splitlines() if not line.startswith(("Journal", "More", " " * 12)))
    assert "1 held, 1 degraded, 1 recovered, 1 lost, 1 stuck, 1 skipped, 1 unknown" in re.sub(r"\s+", " ", text)
    for word in ("✓ held", "↻ recovered in 3.2 s", "✗ lost 1,234", "■ stuck", "could not be undone", "12.5 % of the"):
        assert word in re.sub(r"\s+", " ", text)
    assert "engine.kill at 90 s: back after 3.2 s" in text  # no fault of the table: it keeps its line
    assert all(character.isprintable() or character == "\n" for character in text)
