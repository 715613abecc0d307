"""Precision and recall of the safety rules on public labelled sets. Run: python tests/benchmarks/safety.py [-v]

The sets lie beside the checkout (../shared/labelled), not in the project; without them this says so and ends.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.safety import CATEGORIES, scan  # noqa: E402

LABELLED = ROOT.parent / "shared" / "labelled"
PRESIDIO = {
    "EMAIL_ADDRESS": "pii.email",
    "PHONE_NUMBER": "pii.phone",
    "CREDIT_CARD": "pii.card",
    "IBAN_CODE": "pii.iban",
    "IP_ADDRESS": "pii.ip",
}


def figures(hits: int, false: int, missed: int) -> str:
    """Precision and recall, and the counts behind them."""
    precision = hits / (hits + false) if hits + false else float("nan")
    recall = hits / (hits + missed) if hits + missed else float("nan")
    return f"P {precision:.3f}  R {recall:.3f}  (hit {hits}, false {false}, missed {missed})"


def personal(verbose: bool) -> None:
    """Span by span; a finding is right when it overlaps a span of its kind."""
    lines = (LABELLED / "presidio-research" / "synth_dataset_v2.jsonl").read_text(encoding="utf-8").splitlines()
    hits: Counter[str] = Counter()
    false: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for row in map(json.loads, lines):
        text = row["full_text"]
        truth = [
            (PRESIDIO[span["entity_type"]], span["start_position"], span["end_position"])
            for span in row["spans"]
            if span["entity_type"] in PRESIDIO
        ]
        found = [finding for finding in scan(text, where="prompt") if finding.category in PRESIDIO.values()]
        for kind, start, end in truth:
            right = any(item.category == kind and item.start < end and start < item.end for item in found)
            (hits if right else missed)[kind] += 1
            if verbose and not right:
                print(f"  missed {kind}: {text[start:end]!r} in {text[max(0, start - 50) : end + 30]!r}")
        for item in found:
            if not any(item.category == kind and item.start < end and start < item.end for kind, start, end in truth):
                false[item.category] += 1
                if verbose:
                    print(f"  false {item.category}: {text[item.start : item.end]!r} in {text[:100]!r}")
    for kind in PRESIDIO.values():
        print(f"presidio-research  {kind:10} {figures(hits[kind], false[kind], missed[kind])}")


def refusals(verbose: bool) -> None:
    """Answer by answer, on XSTest's completions; partial refusals counted as refusals, then left out."""
    totals: Counter[str] = Counter()
    for file in sorted((LABELLED / "xstest").glob("xstest_v2_completions_*.csv")):
        counts: Counter[str] = Counter()
        with file.open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                found = [finding for finding in scan(row["completion"]) if finding.category == "refusal"]
                label = row["final_label"][0]
                counts[f"{label}{int(bool(found))}"] += 1
                if verbose and (bool(found) != (label != "1")):
                    print(f"  {label} {found[0].detector if found else '-'}: {row['completion'][:200]!r}")
        totals += counts
        print(f"xstest  {file.stem.rsplit('_', 1)[1]:16} {_refusal_figures(counts)}")
    print(f"xstest  {'all, also partial':16} {_refusal_figures(totals)}")
    print(f"xstest  {'all, full only':16} {figures(totals['21'], totals['11'], totals['20'])}")


def _refusal_figures(counts: Counter[str]) -> str:
    return figures(counts["21"] + counts["31"], counts["11"], counts["20"] + counts["30"])


def noise() -> None:
    """Findings in ordinary answers, where hardly any is right."""
    lines = (LABELLED / "halueval" / "general_data.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [row["chatgpt_response"] for row in map(json.loads, lines)]
    started = time.perf_counter()
    counts = Counter(category for answer in answers for category in {finding.category for finding in scan(answer)})
    spent_ms = 1e3 * (time.perf_counter() - started) / len(answers)
    listed = ", ".join(f"{category} {counts[category]}" for category in CATEGORIES if counts[category])
    print(f"halueval  {len(answers)} ordinary answers, {spent_ms:.3f} ms each; answers with findings: {listed}")


def main() -> int:
    """Print everything there is data for."""
    if not LABELLED.is_dir():
        print(f"skipped: no labelled sets at {LABELLED}")
        return 0
    verbose = "-v" in sys.argv[1:]
    personal(verbose)
    refusals(verbose)
    noise()
    return 0


if __name__ == "__main__":
    sys.exit(main())
