"""Telephone numbers: in a form that nothing else has, or plainer ones beside a word that says what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.safety.finding import Detector, Finding, mask

# A run of digits and what stands between them; possessive, and no run starts inside another.
_RUN = re.compile(r"(?<![\w.,:/\-#])(?:\+|\()?\(?\d[\d ().\-/\u00a0\u2011]*+")
_SPLIT = re.compile(r"[ \u00a0]{2,}| [/\-] |(?<=\d)\)? (?=\()(?=\(\d{3}\))")
_TAIL = " ().-/\u00a0\u2011"
_SHAPES = tuple(
    re.compile(shape)
    for shape in (
        r"\+[1-9]\d{0,2}[ .\-(/]{0,2}(?:\(0\)[ .\-]?)?\d[\d ().\-/]{4,20}\d",  # E.164 with or without separators
        r"00[1-9]\d{0,2}[ .\-/]{1,2}(?:\(0\)[ .\-]?)?\d{1,5}[ .\-/]\d[\d .\-/]{2,14}\d",  # 00 and country
        r"(?:00)?1?[ .\-]?\([2-9]\d\d\)[ .\-]?[2-9]\d\d[ .\-]?\d{4}",  # (579) 888-3058
        r"(?:(?:00)?1[ .\-])?[2-9]\d\d([.\-])\d{3}\1\d{4}",  # 201-948-1927, 001-518-640-0854
        r"\(0\d{1,5}\)[ .\-/]?\d{2,5}(?:[ .\-/]?\d{2,5}){1,3}",  # (08) 8747 6301
        r"\(\d{2}\) ?\d{4,5}-\d{4}",  # (71) 4233-6306
        r"0\d{1,5}[ /\-]\d{2,5}(?:[ \-]\d{2,5}){1,4}",  # 0494 92 82 32
        r"(?=(?:\D?\d){10})0\d{1,5}[ /\-]\d{5,9}",  # 030/12345678
        r"0\d(?:\.\d\d){4}",  # 06.12.34.56.78
        r"\d\d(?:-\d\d){3}",  # 60-56-85-91
    )
)
_PLAIN = re.compile(r"\(?\d{1,5}\)?(?:[ .\-/]?\(?\d{1,9}\)?){0,6}")
_WORDS = re.compile(
    r"\b(?:phone|telephone|tel|mobile|mob|cell|cellphone|handset|landline|fax|whatsapp|call(?:ed|ing)?|dial|ring|sms|"
    r"text(?:ed)? (?:me|us|him|her|them)|contact number|my number|reach (?:me|us|him|her|them)|hotline|"
    r"t[ée]l[ée]fono?|telefon|handy|rufnummer|portable|m[óo]vil|celular|cellulare)\b",
    re.IGNORECASE,
)
_OTHER_WORDS = re.compile(
    r"(?:\b(?:order|invoice|ticket|tracking|parcel|reference|ref|case|account|acct|card|customer|serial|model|part|isbn|item|"
    r"sku|version|id|ssn|zip|postcode|iban|vat|booking|transaction|policy|bill|receipt|"
    r"licen[cs]e|passport|social|security|insurance)\b[^\d\n]{0,16}|[#$€£¥])$",
    re.IGNORECASE,
)
_AFTER = re.compile(r"\W{0,2}\b(?:office|direct|home|work|ext)\b", re.IGNORECASE)
_DATES = (
    re.compile(r"(?:19|20)\d\d([-./ ])(?:0?\d|1[0-2])\1(?:[0-2]?\d|3[01])(?: \d{1,2})?"),
    re.compile(r"(?:[0-2]?\d|3[01])([-./ ])(?:[0-2]?\d|3[01])\1(?:19|20)\d\d(?: \d{1,2})?"),
    re.compile(r"(?:19|20)\d\d(?:[-/ ]{1,3}(?:19|20)\d\d)+"),
)
_SSN = re.compile(r"\d{3}-\d\d-\d{4}")
_CONTEXT_BEFORE, _CONTEXT_AFTER = 60, 30


def phones(text: str) -> Iterator[Finding]:
    """E.164 and common national forms. Dates, addresses of hosts, amounts and numbered orders are left out."""
    for run in _RUN.finditer(text):
        pieces = _SPLIT.split(run.group()) if len(run.group()) > 10 else [run.group()]
        at = run.start()
        for piece in pieces:
            start = text.index(piece, at) if piece else at
            at = start + len(piece)
            yield from _piece(text, start, piece.rstrip(_TAIL))


def _piece(text: str, start: int, piece: str) -> Iterator[Finding]:
    end = start + len(piece)
    if (
        not 7 <= len(piece) <= 26
        or not 7 <= sum(map(str.isdigit, piece)) <= 15
        or text[end : end + 1].isalnum()
        or text[end : end + 1] in {"%", "€", "_"}
    ):
        return
    if any(date.fullmatch(piece) for date in _DATES) or _SSN.fullmatch(piece):
        return
    before = text[max(0, start - _CONTEXT_BEFORE) : start]
    about = _last(_WORDS, before)
    other = _OTHER_WORDS.search(before)
    if other is not None and about < other.start():
        return
    strong = any(shape.fullmatch(piece) for shape in _SHAPES)
    if not strong:
        if about < 0 and not _WORDS.search(text, end, end + _CONTEXT_AFTER) and not _AFTER.match(text, end):
            return
        if _PLAIN.fullmatch(piece) is None or _looks_like_amount(piece):
            return
    yield Finding("pii.phone", "medium", start, end, "phone.form" if strong else "phone.context", mask(piece))


def _last(pattern: re.Pattern[str], text: str) -> int:
    return max((found.start() for found in pattern.finditer(text)), default=-1)


def _looks_like_amount(piece: str) -> bool:
    """1 000 000 and 3.14159: groups of three after a short first one, all zeros, or one point in a number."""
    groups = re.split(r"[ .\u00a0]", piece)
    return set("".join(groups[1:])) == {"0"} or (piece.count(".") == 1 and "-" not in piece and " " not in piece)


def _find(text: str, planted: str) -> Iterator[Finding]:
    return phones(text)


PHONE = Detector("phone", ("pii.phone",), _find)
