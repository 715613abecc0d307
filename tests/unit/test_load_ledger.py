"""What a worker owes, and how much it may be given."""

from __future__ import annotations

import numpy as np

from scenarios.load.exchange import Job
from scenarios.load.ledger import HowItEnded, Ledger
from scenarios.observation import Outcome


def job(index: int, after: int | None = None) -> Job:
    return Job(index, index, b"x" * 100, 1.0, True, False, False, True, after=after)


def test_a_ledger_knows_what_is_open_and_gives_each_its_end() -> None:
    """Of six, 0 is over, 1 was sent, 2 is due, 3 waits for 1, 4 is not due and 5 was never handed over."""
    ledger = Ledger()
    for one in (job(0), job(1), job(2), job(3, after=1), job(4)):
        ledger.hand(one)
    ledger.sent(0, 10)
    ledger.sent(1, 11)
    assert ledger.over(0)
    assert not ledger.over(0)
    assert not ledger.over(77)
    owed = list(ledger.owed(8, iter([5]), np.arange(6), HowItEnded.DIED, 3))
    assert [(one.index, one.outcome, one.sent_ns) for one in owed] == [
        (1, Outcome.CANCELLED, 11),
        (2, Outcome.CANCELLED, None),
        (3, Outcome.UNSENT, None),
        (4, Outcome.UNSENT, None),
        (5, Outcome.UNSENT, None),
    ]
    assert {(one.worker, one.end_ns, one.error) for one in owed} == {(8, 3, "load worker died")}


def test_a_request_whose_first_try_was_not_written_holds_no_window() -> None:
    ledger = Ledger()
    for index in range(16_384):
        ledger.hand(job(index))
        ledger.begun(index)
    assert ledger.room == 16_384
    ledger.sent(5, 50)
    assert ledger.over(5)
    assert ledger.over(6)
    assert not ledger.over(6)
    ledger.sent(6, 60)  # too late: it is over
    owed = list(ledger.owed(0, iter([]), np.arange(16_384), HowItEnded.DIED, 9))
    assert len(owed) == 16_382
    assert owed[0].outcome is Outcome.CANCELLED


def test_after_a_stop_only_what_was_written_is_cancelled() -> None:
    ledger = Ledger()
    for one in (job(0), job(1)):
        ledger.hand(one)
    ledger.sent(0, 10)
    owed = list(ledger.owed(0, iter([2]), np.arange(3), HowItEnded.STOPPED, 9))
    assert [one.outcome for one in owed] == [Outcome.CANCELLED, Outcome.UNSENT, Outcome.UNSENT]


def test_the_window_is_bounded_in_count_and_bytes_and_never_shut_to_a_worker_without_work() -> None:
    ledger = Ledger()
    index = 0
    while ledger.room > 0:
        ledger.hand(job(index))
        index += 1
    assert index == 16_384
    ledger.over(0)
    assert ledger.room == 1
    large = Ledger()
    big = Job(0, 0, bytes(40 << 20), 1.0, True, False, False, True)
    assert large.room > 0
    large.hand(big)
    assert large.room <= 0
    large.over(0)
    assert large.room > 0
