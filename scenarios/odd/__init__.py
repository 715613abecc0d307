"""The odd-input catalogue: what strangers, bad clients and scanners send, and what a correct server does with it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scenarios.observation import Outcome
from scenarios.odd import behaviour, http_shapes, json_bodies, limits, schema, texts
from scenarios.odd.probe import PATIENCE_S, OddClass, OddGroup, Probe

__all__ = ["ODD_CLASSES", "PATIENCE_S", "OddClass", "OddGroup", "Probe", "is_correct"]

ODD_CLASSES: Mapping[str, OddClass] = MappingProxyType(
    {odd.name: odd for module in (json_bodies, http_shapes, schema, limits, texts, behaviour) for odd in module.CLASSES}
)

# Outcomes in which the server said nothing that could be right, whatever status came before.
_SILENT = frozenset({Outcome.TIMEOUT, Outcome.REFUSED, Outcome.CANCELLED, Outcome.UNSENT})


def is_correct(allowed: tuple[str, ...], outcome: Outcome, status: int | None) -> bool:
    """Whether a server that ended a probe like this did what a correct one does.

    An entry of `allowed` is one of
    - a status ("400") or a class of them ("4xx"): the server answered so. Below 300 the answer must also have ended
      well (outcome ok); above, a connection that is closed right after the answer is fine. A shed (429 or 503) matches
      only its own status, since the server has not looked at the probe;
    - "closed": the server closed the connection without an answer (outcome reset or truncated, no status);
    - "cancelled": we hung up as planned, and the server had not failed before.
    """
    return any(_matches(entry, outcome, status) for entry in allowed)


def _matches(entry: str, outcome: Outcome, status: int | None) -> bool:
    if entry == "cancelled":
        return outcome is Outcome.CANCELLED and (status is None or status < 500)
    if entry == "closed":
        return outcome in (Outcome.RESET, Outcome.TRUNCATED) and status is None
    if status is None or outcome in _SILENT:
        return False
    if entry == str(status):
        return outcome is Outcome.OK or status >= 300
    if entry.endswith("xx") and entry[0] == str(status)[0] and outcome is not Outcome.SHED:
        return outcome is Outcome.OK or status >= 300
    return False
