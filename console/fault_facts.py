"""What faults a scenario has, before they come: for documents, and as lines for a person. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scenarios.conditions import in_words
from scenarios.definition import FaultSpec, Scenario
from scenarios.faults.kinds import KINDS
from scenarios.faults.possible import Setting, why_not
from scenarios.faults.words import harm_in_words, params_in_words, undone_in_words
from scenarios.report.layout import field, wrapped
from scenarios.report.words import seconds, share


def fault_facts(fault: FaultSpec) -> dict[str, Any]:
    """One fault as its author wrote it, the defaults said."""
    return {
        "kind": fault.kind,
        "at_s": fault.at_s,
        "by_s": fault.by_s or None,
        "times": fault.times,
        "for_s": fault.for_s,
        "share": fault.share,
        "hits": fault.hits or None,
        "until": None if fault.until is None else in_words(fault.until),
        "params": dict(fault.params),
        "words": params_in_words(fault),
    }


def safety_facts(scenario: Scenario) -> dict[str, Any]:
    """What keeps the experiment within bounds."""
    blast = scenario.blast
    return {
        "abort": [in_words(condition) for condition in scenario.abort],
        "blast_radius": {"share": blast.share, "at_once": blast.at_once, "length_s": blast.length_s},
    }


def rehearsed_facts(fault: FaultSpec, here: Setting) -> dict[str, Any]:
    """One fault at its own moment: what it would touch, who would undo it, or why it would be skipped here."""
    kind = KINDS[fault.kind]
    return {
        **fault_facts(fault),
        "does": kind.about,
        "touches": harm_in_words(kind),
        "undone": undone_in_words(kind),
        "skipped": why_not(kind, here),
    }


def safety_lines(facts: dict[str, Any], width: int) -> Iterator[str]:
    """Abort conditions and blast radius."""
    if facts["abort"]:
        yield from field("Abort", facts["abort"], width)
    blast = facts["blast_radius"]
    bounds = [
        f"at most {share(blast['share'])} of the traffic",
        f"{blast['at_once']} faults at once",
        f"{seconds(blast['length_s'])} each",
    ]
    yield from field("Blast", bounds, width)


def fault_line(facts: dict[str, Any]) -> list[str]:
    """`network.latency at 30 s, for 5s, delay 200ms`, in parts."""
    when = f"at {seconds(facts['at_s'])}"
    if facts["by_s"]:
        times = "once" if facts["times"] == 1 else f"{facts['times']} times"
        when = f"{times} between {seconds(facts['at_s'])} and {seconds(facts['by_s'])}"
    lasts = [f"for {seconds(facts['for_s'])}"] if facts["for_s"] else []
    return [f"{facts['kind']} {when}", *lasts, *([facts["words"]] if facts["words"] else [])]


def rehearsed_lines(faults: Sequence[dict[str, Any]], width: int) -> Iterator[str]:
    """Every fault with what it does and how it ends, or why it would be skipped."""
    skipped = sum(1 for fault in faults if fault["skipped"])
    yield f"{len(faults)} faults, {skipped} of which would be skipped here" if skipped else f"{len(faults)} faults"
    for fault in faults:
        lasts = f"for {seconds(fault['for_s'])}" if fault["for_s"] else "over at once"
        yield f"  {seconds(fault['at_s']):>9}  {fault['kind']}, {lasts}"
        texts = [f"skipped: {fault['skipped']}"] if fault["skipped"] else _story(fault)
        for text in texts:
            yield from wrapped(text, width, " " * 13)


def _story(fault: dict[str, Any]) -> list[str]:
    story = [fault["does"], f"touches {fault['touches']}; undone: {fault['undone']}"]
    return [fault["words"], *story] if fault["words"] else story
