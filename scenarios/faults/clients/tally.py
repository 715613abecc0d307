"""What the badly behaved clients did and what they were given for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Tally:
    """Counts of requests, each of which ends in one of ok, shed, failed, refused or left.

    shed: 429 or 503. failed: another status, or no whole answer. refused: no connection. left: given up by the client,
    on purpose or because the fault was over. bytes: of answers, read. connections: open at the same time, at most.
    """

    clients: int = 0
    asked: int = 0
    ok: int = 0
    shed: int = 0
    failed: int = 0
    refused: int = 0
    left: int = 0
    bytes: int = 0
    sent_bytes: int = 0
    connections: int = 0
    late: int = 0

    def facts(self) -> dict[str, float | str]:
        """As Ended has them."""
        return {name: float(value) for name, value in asdict(self).items()}
