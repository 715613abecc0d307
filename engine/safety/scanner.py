"""All detectors over one text."""

from __future__ import annotations

from collections import Counter

from engine.safety.account import ACCOUNT
from engine.safety.contact import CONTACT
from engine.safety.degenerate import DEGENERATE
from engine.safety.escape import ESCAPE
from engine.safety.finding import Detector, Finding
from engine.safety.leak import LEAK
from engine.safety.phone import PHONE
from engine.safety.refusal import REFUSAL
from engine.safety.secret import SECRET

DETECTORS: tuple[Detector, ...] = (ACCOUNT, CONTACT, PHONE, SECRET, LEAK, ESCAPE, REFUSAL, DEGENERATE)
LIMIT = 100  # findings of one category in one text; a megabyte of addresses is one problem, not 50,000


def scan(text: str, *, planted: str = "", where: str = "answer") -> tuple[Finding, ...]:
    """What the rules find in a text, by place; at most `LIMIT` of one category. Pure; linear in the length of `text`.

    planted: a note that must not show in an answer. where: "answer" or "prompt"; a prompt is not searched for what
    only an answer can be (leak, refusal, degenerate). Where kinds of personal data overlap, the one with the stronger
    test stays.
    """
    if where not in {"answer", "prompt"}:
        raise ValueError(f"where must be 'answer' or 'prompt', not {where!r}")
    kept: list[Finding] = []
    taken: list[tuple[int, int]] = []
    counts: Counter[str] = Counter()
    for detector in DETECTORS:
        if detector.answers_only and where == "prompt":
            continue
        for finding in detector.find(text, planted):
            if counts[finding.category] >= LIMIT:
                if all(counts[category] >= LIMIT for category in detector.categories):
                    break
                continue
            if finding.category.startswith("pii."):
                if any(start < finding.end and finding.start < end for start, end in taken):
                    continue
                taken.append((finding.start, finding.end))
            counts[finding.category] += 1
            kept.append(finding)
    return tuple(sorted(kept, key=lambda finding: (finding.start, finding.end, finding.category)))
