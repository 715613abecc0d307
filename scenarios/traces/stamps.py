"""Stamps such as `2023-11-16 18:15:46.6805900` and `2024-05-12 00:00:10+00:00`, all of a piece at once."""

from __future__ import annotations

import numpy as np

from scenarios.lines import Ints, Lines
from scenarios.traces.digits import POWERS, Flags, whole
from scenarios.traces.trace import NANO

_WHOLE = len("2023-11-16 18:15:46")
_POINT, _MINUS = b".-"
_YEARS = (1970, 2261)  # ns of these fit in 64 bits
_PLACES = {"year": (0, 4), "month": (5, 7), "day": (8, 10), "hour": (11, 13), "minute": (14, 16), "second": (17, 19)}


def stamps_ns(lines: Lines, start: Ints, end: Ints) -> tuple[Ints, Flags]:
    """Ns since 1970 of the stamps in `[start, end)`, and which of them are stamps.

    A stamp has a date, a space or T, a time, then at will a point with up to nine digits and a zone (Z, +hh:mm); one
    without a zone counts as UTC. A leap second is the second after it.
    """
    good = end - start >= _WHOLE
    start = np.where(good, start, lines.start[0] if len(lines) else 0)
    end = np.where(good, end, start + _WHOLE)
    part: dict[str, Ints] = {}
    for name, (first, last) in _PLACES.items():
        part[name], fine = whole(lines.words, start + first, start + last)
        good &= fine
    for place, signs in ((4, b"-"), (7, b"-"), (10, b" T"), (13, b":"), (16, b":")):
        good &= np.isin(lines.text[start + place], np.frombuffer(signs, np.uint8))
    good &= (part["year"] >= _YEARS[0]) & (part["year"] <= _YEARS[1]) & (part["month"] >= 1) & (part["month"] <= 12)
    good &= (part["hour"] < 24) & (part["minute"] < 60) & (part["second"] <= 60)
    months = np.where(good, (part["year"] - 1970) * 12 + part["month"] - 1, 0)
    first_day, next_month = _days(months), _days(months + 1)
    good &= (part["day"] >= 1) & (part["day"] <= next_month - first_day)
    seconds = (first_day + part["day"] - 1) * 86_400 + part["hour"] * 3_600 + part["minute"] * 60 + part["second"]
    fraction, zone, fine = _fraction(lines, start + _WHOLE, end)
    offset, known = _zone(lines, zone, end)
    good &= fine & known
    return np.where(good, (seconds - offset) * NANO + fraction, 0), good


def _days(months: Ints) -> Ints:
    """Days from 1970-01-01 to the first day of a month, which is so many months later."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _fraction(lines: Lines, start: Ints, end: Ints) -> tuple[Ints, Ints, Flags]:
    """The ns of `.digits` at `start`, where it ends, and whether it is well written; none at all is 0."""
    given = (start < end) & (lines.text[start] == _POINT)
    after = np.where(given, start + 1, start)
    more = given
    for _ in range(9):
        byte = lines.text[after] - np.uint8(ord("0"))
        more = more & (after < end) & (byte < 10)
        if not more.any():
            break
        after = after + more
    digits = after - start - given
    value, _ = whole(lines.words, after - digits, after)
    good = ~given | (digits > 0)
    return np.where(given, value * POWERS[9 - np.clip(digits, 0, 9)], 0), after, good


def _zone(lines: Lines, start: Ints, end: Ints) -> tuple[Ints, Flags]:
    """Seconds east of UTC of the zone in `[start, end)`: nothing, Z or +hh:mm."""
    length = end - start
    sign = lines.text[start]
    none = (length == 0) | ((length == 1) & (sign == ord("Z")))
    if none.all():
        return np.zeros_like(start), none
    at = np.where(length == 6, start, lines.start[0])
    hours, fine = whole(lines.words, at + 1, at + 3)
    minutes, fine_too = whole(lines.words, at + 4, at + 6)
    written = (length == 6) & np.isin(sign, np.frombuffer(b"+-", np.uint8)) & fine & fine_too
    written &= (lines.text[at + 3] == ord(":")) & (hours < 24) & (minutes < 60)
    east = np.where(sign == _MINUS, -1, 1) * (hours * 3_600 + minutes * 60)
    return np.where(written, east, 0), none | written
