"""Commands that arrive while a prompt is being computed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from engine import wire
from engine.decode.inbox import Inbox


class Both:
    """An inbox, and the API process's end of its socket."""

    def __init__(self) -> None:
        self.sock, self._theirs = socket.socketpair()
        self.news = threading.Event()
        self.cancelled = threading.Event()
        self.inbox = Inbox(self._theirs, self.news.set)

    def send(self, *commands: wire.Command) -> None:
        self.news.clear()
        self.sock.sendall(b"".join(wire.pack(command) for command in commands))
        assert self.news.wait(5)

    def close(self) -> None:
        self.inbox.close()
        self.sock.close()
        self._theirs.close()


@pytest.fixture
def both() -> Iterator[Both]:
    made = Both()
    yield made
    made.close()


def test_commands_are_taken_once_and_in_order(both: Both) -> None:
    commands: list[wire.Command] = [wire.Detokenize(1, [5]), wire.Cancel(2), wire.Cancel(3)]
    both.send(*commands)
    assert both.inbox.take() == commands
    assert both.inbox.take() == []


def test_only_the_cancel_of_the_watched_request_is_called_out(both: Both) -> None:
    both.inbox.watch(7, both.cancelled.set)
    both.send(wire.Cancel(6))
    assert not both.cancelled.is_set()
    both.send(wire.Cancel(7))
    assert both.cancelled.is_set()
    assert both.inbox.take() == [wire.Cancel(6), wire.Cancel(7)]


def test_a_cancel_that_was_there_before_is_called_out_at_once_and_none_after_the_watch(both: Both) -> None:
    both.send(wire.Cancel(7))
    both.inbox.watch(7, both.cancelled.set)
    assert both.cancelled.is_set()
    both.inbox.unwatch()
    both.cancelled.clear()
    both.send(wire.Cancel(7))
    assert not both.cancelled.is_set()


def test_the_end_of_the_other_side_is_news(both: Both) -> None:
    both.sock.close()
    assert both.news.wait(5)
    assert both.inbox.closed
