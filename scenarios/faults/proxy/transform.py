"""What a fault does to the bytes of one answer on their way to the client. Pure: time is written down, not waited."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    """Bytes that are written in one go, `wait_s` after the piece before them; then the connection may be closed.

    `data` may be empty: then there is only the wait, or the close.
    """

    wait_s: float
    data: bytes
    close: str = ""  # "", "fin", "rst" or "left": the client's side alone, in order


class Transform(Protocol):
    """One fault on one answer."""

    def instead(self, request_head: bytes) -> list[Piece] | None:
        """The whole answer to this request, which then does not reach the target; None to let it through."""

    def feed(self, data: bytes) -> list[Piece]:
        """What goes to the client for these bytes of the target's answer."""

    def end(self) -> list[Piece]:
        """What is still to go: the answer is over, or the target has closed."""

    def relent(self) -> list[Piece]:
        """The fault is over: what it was still to do is not done any more, and what it held back goes now."""
