"""When a try is made again, and what several of them come to."""

from __future__ import annotations

import pytest

from scenarios.load.retries import LONGEST_ASKED_S, RETRIED, Retries, next_try_ns
from scenarios.observation import Observation, Outcome
from scenarios.request import Retry

S = 1_000_000_000


@pytest.mark.parametrize(
    ("retry", "tries", "retry_after_s", "due_s"),
    [
        (Retry(attempts=9), 1, None, 10.0),
        (Retry(attempts=9, wait_s=0.5), 1, None, 10.5),
        (Retry(attempts=9, wait_s=0.5, factor=2.0), 1, None, 10.5),
        (Retry(attempts=9, wait_s=0.5, factor=2.0), 4, None, 14.0),
        (Retry(attempts=9, wait_s=0.5), 1, 3.0, 13.0),
        (Retry(attempts=9, wait_s=5.0), 1, 3.0, 15.0),
        (Retry(attempts=9), 1, 3.0, 10.0),  # who does not wait does not listen
        (Retry(attempts=9, align_s=4.0), 1, None, 12.0),
        (Retry(attempts=9, align_s=5.0), 1, None, 10.0),
        (Retry(attempts=9, wait_s=0.1, align_s=5.0), 1, None, 15.0),
        (Retry(attempts=9999, wait_s=1.0, factor=10.0), 5000, None, 1e9 + 10),
    ],
)
def test_the_next_try_is_due_after_the_wait(
    retry: Retry, tries: int, retry_after_s: float | None, due_s: float
) -> None:
    assert next_try_ns(retry, tries, 10 * S, retry_after_s) == round(due_s * S)


def seen(outcome: Outcome, sent_ns: int | None, end_ns: int, **own: object) -> Observation:
    return Observation(index=3, due_ns=sent_ns or end_ns, outcome=outcome, sent_ns=sent_ns, end_ns=end_ns, **own)  # type: ignore[arg-type]


def test_several_tries_are_one_observation_begun_by_the_first_and_ended_by_the_last() -> None:
    retries, retry = Retries(), Retry(attempts=3, wait_s=1.0)
    assert retries.again_ns(retry, seen(Outcome.SHED, 10, 20, status=429)) == 20 + S
    assert 3 in retries
    assert retries.again_ns(retry, seen(Outcome.RESET, 30 + S, 40 + S)) == 40 + 2 * S
    assert retries.again_ns(retry, seen(Outcome.TIMEOUT, 50, 60, answer="A")) is None
    assert retries.settle(3) == seen(Outcome.TIMEOUT, 10, 60, answer="A", attempts=3)
    assert 3 not in retries


def test_tries_that_the_target_began_to_answer_are_counted() -> None:
    retries, retry = Retries(), Retry(attempts=4)
    for outcome, begun in ((Outcome.SHED, 1), (Outcome.REFUSED, 0), (Outcome.TRUNCATED, 1)):
        assert retries.again_ns(retry, seen(outcome, 10, 20, begun=begun)) is not None
    assert retries.again_ns(retry, seen(Outcome.OK, 30, 40, begun=1, fingerprint="m")) is None
    one = retries.settle(3)
    assert (one.attempts, one.begun, one.fingerprint) == (4, 3, "m")


def test_a_client_gives_up_where_it_is_asked_to_wait_too_long_if_it_listens_at_all() -> None:
    long = seen(Outcome.SHED, 10, 20, retry_after_s=LONGEST_ASKED_S + 1)
    retries = Retries()
    assert retries.again_ns(Retry(attempts=5, wait_s=1.0), long) is None
    assert retries.settle(3) == long
    assert retries.again_ns(Retry(attempts=5), long) == 20


def test_a_request_is_written_once_one_of_its_tries_was() -> None:
    retries, retry = Retries(), Retry(attempts=5)
    retries.again_ns(retry, seen(Outcome.REFUSED, None, 20))
    assert not retries.written(3)
    retries.again_ns(retry, seen(Outcome.RESET, 30, 40))
    assert retries.written(3)


def test_a_good_end_is_not_tried_again() -> None:
    for outcome in set(Outcome) - RETRIED:
        retries = Retries()
        assert retries.again_ns(Retry(attempts=5), seen(outcome, 10, 20)) is None
        assert retries.settle(3).attempts == 1


def test_a_try_that_was_never_written_is_no_try_of_several() -> None:
    retries = Retries()
    retries.again_ns(Retry(attempts=5), seen(Outcome.REFUSED, None, 20))
    retries.again_ns(Retry(attempts=5), seen(Outcome.HTTP_5XX, 30, 40))
    assert retries.again_ns(Retry(attempts=5), seen(Outcome.UNSENT, None, 50)) is None
    assert retries.settle(3) == Observation(
        index=3, due_ns=20, outcome=Outcome.HTTP_5XX, sent_ns=30, end_ns=40, attempts=2
    )
