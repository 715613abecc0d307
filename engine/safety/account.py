"""Payment cards and bank accounts: a shape, an issuer or country, and the check digits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.safety.finding import Detector, Finding, mask

_CARD = re.compile(r"(?<![\w.])(?<!\d[ -])\d(?:[ \-\u00a0]?\d){11,18}(?![ -]?\d)(?!\.\d|[^\W\d])")
_CARD_WORDS = re.compile(r"\b(?:credit|debit|card|cc|visa|mastercard|maestro|amex|jcb)\b", re.IGNORECASE)
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9])")

# ISO 13616 registry: length of an IBAN by country.
IBAN_LENGTHS: dict[str, int] = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip

# Issuer identification ranges: first and last prefix, lengths.
ISSUERS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 4, (13, 16, 18, 19)),  # Visa
    (51, 55, (16,)), (2221, 2720, (16,)),  # Mastercard
    (34, 34, (15,)), (37, 37, (15,)),  # American Express
    (300, 305, (14, 16)), (3095, 3095, (14,)), (36, 36, (14,)), (38, 39, (14, 16)),  # Diners Club
    (6011, 6011, (16, 17, 18, 19)), (644, 649, (16, 17, 18, 19)), (65, 65, (16, 17, 18, 19)),  # Discover
    (3528, 3589, (16, 17, 18, 19)), (1800, 1800, (15,)), (2131, 2131, (15,)),  # JCB, also the old ranges
    (62, 62, (16, 17, 18, 19)), (81, 81, (16,)),  # UnionPay
    (60, 60, (16,)), (508, 508, (16,)), (353, 353, (16,)), (356, 356, (16,)),  # RuPay
    (2200, 2204, (16,)),  # Mir
    (5018, 5018, (12, 13, 14, 15, 16, 17, 18, 19)), (5020, 5020, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (5038, 5038, (12, 13, 14, 15, 16, 17, 18, 19)), (5610, 5612, (16,)), (5868, 5868, (12, 16)),
    (5893, 5893, (12, 13, 14, 15, 16, 17, 18, 19)), (6304, 6304, (12, 13, 14, 15, 16, 17, 18, 19)),
    (6390, 6390, (12, 13, 14, 15, 16, 17, 18, 19)), (6759, 6759, (12, 13, 14, 15, 16, 17, 18, 19)),
    (6761, 6763, (12, 13, 14, 15, 16, 17, 18, 19)),
)  # fmt: skip


def luhn(digits: str) -> bool:
    """The check digit of ISO/IEC 7812-1 annex B."""
    total = sum(int(digit) for digit in digits[-1::-2])
    return (total + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])) % 10 == 0


def issued(digits: str) -> bool:
    """Whether an issuer hands out numbers with this prefix and length."""
    return any(
        len(digits) in lengths and first <= int(digits[: len(str(first))]) <= last for first, last, lengths in ISSUERS
    )


def cards(text: str) -> Iterator[Finding]:
    """Card numbers of 12 to 19 digits, in one piece or grouped with one kind of separator.

    The check digit must be right, and the prefix an issuer's unless a word just before says that it is a card.
    """
    for found in _CARD.finditer(text):
        value = found.group()
        separators = {char for char in value if not char.isdigit()}
        digits = "".join(char for char in value if char.isascii() and char.isdigit())
        if len(separators) > 1 or len(digits) < 12 or len(set(digits)) < 2 or (separators and not _grouped(value)):
            continue
        said = _CARD_WORDS.search(text, max(0, found.start() - 40), found.start()) is not None
        if (issued(digits) or said) and luhn(digits):
            yield Finding("pii.card", "high", found.start(), found.end(), "account.card", mask(digits))


def _grouped(value: str) -> bool:
    """Groups as printed on cards: 4 4 4 4 (3), 4 6 5, 4 6 4; loose single digits are something else."""
    sizes = [len(part) for part in re.split(r"[^\d]", value)]
    return min(sizes[:-1]) >= 4 and max(sizes) <= 6


def ibans(text: str) -> Iterator[Finding]:
    """IBANs in one piece or in groups of four, any case."""
    for found in _IBAN_START.finditer(text):
        length = IBAN_LENGTHS.get(found.group()[:2].upper())
        if length is None:
            continue
        taken = _take(text, found.start(), length)
        if taken is None:
            continue
        value, end = taken
        number = "".join(str(int(char, 36)) for char in value[4:] + value[:4])
        if sum(char.isdigit() for char in value) >= 8 and int(number) % 97 == 1:
            yield Finding("pii.iban", "high", found.start(), end, "account.iban", mask(value))


def _take(text: str, start: int, length: int) -> tuple[str, int] | None:
    """`length` characters from `start` on, one separator allowed after each four, and the place where they end."""
    taken: list[str] = []
    at = start
    separator = text[start + 4 : start + 5]
    grouped = separator in {" ", "-", "\u00a0"}
    while len(taken) < length:
        if grouped and taken and len(taken) % 4 == 0:
            if text[at : at + 1] != separator:
                return None
            at += 1
        char = text[at : at + 1]
        if not (char.isascii() and char.isalnum()):
            return None
        taken.append(char)
        at += 1
    if text[at : at + 1].isalnum():
        return None
    return "".join(taken).upper(), at


def _find(text: str, planted: str) -> Iterator[Finding]:
    yield from ibans(text)  # first: the digits of one can make a card number
    yield from cards(text)


ACCOUNT = Detector("account", ("pii.card", "pii.iban"), _find)
