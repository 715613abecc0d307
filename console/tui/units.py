"""How numbers look on the console: one rule for each unit, the same width wherever it can be, "-" for what is unknown.

Rates have one decimal, shares are whole percents, memory is GiB with one decimal, and seconds take five cells
(0.213, 2.130, 21.30, 213.0), so that columns of them line up.
"""

from __future__ import annotations

import math

NONE = "-"
GIB = 1024**3
_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)


def known(value: float | None) -> bool:
    """Whether there is a finite number to show."""
    return value is not None and math.isfinite(value)


def seconds(value: float | None) -> str:
    """A latency in seconds: at most five cells, three decimals at most."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{abs(value):.3f}"
    return ("-" if value < 0 else "") + (text[:5] if abs(value) < 1000 else f"{abs(value):.0f}")


def rate(value: float | None) -> str:
    """Per second, one decimal."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.1f}"


def percent(value: float | None) -> str:
    """A share in 0..1 as whole percents."""
    return NONE if value is None or not math.isfinite(value) else f"{value * 100:.0f}"


def gib(value: float | None) -> str:
    """Bytes as GiB, one decimal."""
    return NONE if value is None or not math.isfinite(value) else f"{value / GIB:.1f}"


def whole(value: float | None) -> str:
    """A count or a whole number, with thousands apart."""
    return NONE if value is None or not math.isfinite(value) else f"{value:,.0f}"


def number(value: float | None) -> str:
    """A measured value of any unit: three decimals below ten, one above, none from a thousand on."""
    if value is None or not math.isfinite(value):
        return NONE
    size = abs(value)
    if value == int(value) and size < 1e15:
        return f"{value:,.0f}"
    return f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:,.0f}"


def clock(t_s: float | None) -> str:
    """mm:ss, with hours when there are any; -m:ss while the run prepares."""
    if t_s is None or not math.isfinite(t_s):
        return "--:--"
    left = int(abs(t_s))
    hours, minutes, secs = left // 3600, left // 60 % 60, left % 60
    if t_s <= -1:
        return f"-{left // 60}:{secs:02}"
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes:02}:{secs:02}"


def ceiling(value: float) -> float:
    """The next round number: the top of a scale that only ever grows in steps."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in _STEPS if value <= step * power * (1 + 1e-9)), 10.0 * power)
