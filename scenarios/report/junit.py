"""The report for a CI system: JUnit XML, one test suite, one test case for each gate."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from scenarios.report import faults, words
from scenarios.report.layout import as_it_is
from scenarios.report.material import Material
from scenarios.report.words import LONGEST_WHY, one_line
from scenarios.result import GateResult, GateVerdict, Verdict

# What XML 1.0 allows (https://www.w3.org/TR/xml/#charsets); anything else makes a file that no parser reads.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_COLUMNS = 100
_TAG = {GateVerdict.FAIL: "failure", GateVerdict.INVALID: "error", GateVerdict.INCONCLUSIVE: "skipped"}
_VERDICT_TAG = {Verdict.NO_GO: "failure", Verdict.INVALID: "error", Verdict.INCONCLUSIVE: "skipped"}


def render_junit(material: Material) -> str:
    """One `testsuite`: fail is a failure, invalid an error, inconclusive is skipped; faults are told in its output.

    A verdict that is not GO although every gate passed (an interrupted run, an invalid instrument) and a run whose
    target failed get a case of their own, so that a CI system never shows green for them. The suite's time is from the
    run's start to the last thing that happened in it.
    """
    document, run = material.document, material.document.run
    suite = ElementTree.Element("testsuite", name=_safe(run.scenario), timestamp=_safe(run.started_at))
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (
        ("verdict", document.verdict.value),
        ("why", document.why),
        ("run", run.id),
        ("seed", str(run.seed)),
        ("plan_hash", run.plan_hash),
        ("target", run.target),
        ("model", run.model),
        ("window", ", ".join(words.window(document.summary))),
        ("incomplete", material.incomplete),
    ):
        if value:
            ElementTree.SubElement(properties, "property", name=name, value=_safe(value))
    for gate in document.gates:
        _gate_case(suite, run.scenario, gate)
    doubtful = document.verdict is not Verdict.GO or material.incomplete
    failed = run.state == "failed"
    if failed or (doubtful and all(gate.verdict is GateVerdict.PASS for gate in document.gates)):
        case = ElementTree.SubElement(suite, "testcase", classname=_safe(run.scenario), name="verdict")
        tag = "error" if failed else _VERDICT_TAG.get(document.verdict, "skipped")
        ElementTree.SubElement(case, tag, message=_safe(material.incomplete or document.why))
    if document.summary.faults:
        told = "\n".join(faults.lines(document.summary.faults, _COLUMNS, as_it_is))
        ElementTree.SubElement(suite, "system-out").text = _NOT_XML.sub("", told)
    for attribute, path in (("failures", "*/failure"), ("errors", "*/error"), ("skipped", "*/skipped")):
        suite.set(attribute, str(len(suite.findall(path))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    ended_s = max((event.t_s for event in material.events), default=0.0)
    suite.set("time", f"{max(document.summary.window.end_s, ended_s):.3f}")
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _gate_case(suite: ElementTree.Element, scenario: str, gate: GateResult) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=_safe(scenario), name=_safe(gate.name))
    tag = _TAG.get(gate.verdict)
    if tag is None:
        return
    measured = words.of_metric(gate.metric, gate.measured)
    result = ElementTree.SubElement(case, tag, message=_safe(f"{gate.metric} is {measured}, bound {words.bound(gate)}"))
    if tag != "skipped":
        result.set("type", gate.verdict.value)
    details = [f"verdict: {gate.verdict.value}", f"samples: {gate.n}", f"interval: {words.interval(gate)}"]
    details += [f"why: {words.because(gate)}"] if words.because(gate) else []
    details += [f"evidence: requests {', '.join(map(str, gate.evidence[:10]))}"] if gate.evidence else []
    result.text = "\n".join(_safe(line) for line in details)


def _safe(text: str) -> str:
    return _NOT_XML.sub("", one_line(text, LONGEST_WHY))
