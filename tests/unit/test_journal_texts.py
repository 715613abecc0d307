"""Which texts a journal keeps: packed together, bounded, and none at all where that is asked for."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.definition import REDACTED, Keep
from scenarios.journal import JournalReader, JournalWriter
from scenarios.journal.packing import packed_times, times_in
from scenarios.journal.rows import PLAIN
from scenarios.journal.writer import LONGEST_ANSWER_BYTES
from scenarios.observation import Finding, Observation, Outcome
from scenarios.request import Expectation, PlannedRequest

SECRET = "the combination is 4711 and nobody may read it"


def request(index: int, body: bytes = b'{"prompt": "hello"}') -> PlannedRequest:
    return PlannedRequest(
        index=index,
        due_ns=index,
        path="/v1/chat/completions",
        body=body,
        headers=(("X-Note", SECRET),),
        prompt_text=SECRET,
        numbers=(("amount", 3.0),),
        expect=Expectation(answer=SECRET, planted=SECRET),
        after=index - 1 if index else None,
        think_s=0.5,
        hang_up_after_events=3,
    )


def observation(index: int, answer: str = SECRET, **rest: object) -> Observation:
    fields = {"due_ns": index, "end_ns": index + 5, "outcome": Outcome.OK} | rest
    return Observation(index=index, answer=answer, **fields)  # type: ignore[arg-type]


def written(
    path: Path, requests: list[PlannedRequest], observations: list[Observation], keep: Keep | None = None
) -> Path:
    writer = JournalWriter(path / "journal.sqlite", keep)
    writer.add_plan(requests)
    writer.add_observations(observations)
    writer.add_findings(
        Finding(index=one.index, category="leak", severity="high", start=0, end=3, detector="d", excerpt=SECRET[:30])
        for one in observations
    )
    writer.close()
    return writer.path


def test_every_field_of_an_observation_has_its_place() -> None:
    assert {*PLAIN, "event_ns", "answer"} == set(Observation.__struct_fields__)


def test_requests_and_answers_of_many_blocks_are_read_back_in_any_order(tmp_path: Path) -> None:
    requests = [request(i, b"x" * (i % 7) * 1000) for i in range(1200)]
    observations = [observation(i, f"answer {i} " * (i % 90)) for i in range(1200)]
    with JournalReader(written(tmp_path, requests, observations)) as reader:
        assert list(reader.plan()) == requests
        assert list(reader.observations()) == observations
        for index in (1199, 0, 600, 257, 256, 255):
            assert reader.request(index) == requests[index]
            assert reader.observation(index) == observations[index]


def test_plan_rows_may_come_while_the_run_goes_on(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.sqlite")
    writer.add_plan([request(0)])
    writer.commit()
    with JournalReader(writer.path) as reader:
        writer.add_observations([observation(0)])
        writer.commit()
        writer.add_plan([request(1), request(2)])
        writer.commit()
        assert [one.index for one in reader.plan()] == [0, 1, 2]
    writer.close()


times = st.lists(st.integers(0, 1 << 40), max_size=20).map(tuple)


@given(times | times.map(sorted).map(tuple))
def test_times_are_unpacked_as_they_were(event_ns: tuple[int, ...]) -> None:
    assert not event_ns or times_in(packed_times(event_ns), len(event_ns)) == event_ns


def test_answers_beyond_the_bound_are_dropped_and_counted_and_nothing_else_of_them_is(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.sqlite", Keep(answers_bytes=1000))
    for index in range(40):
        text = "".join(chr(0x4E00 + (index * 7919 + i * i) % 20000) for i in range(200))
        writer.add_observations([observation(index, text)])
        writer.commit()
    writer.close()
    with JournalReader(writer.path) as reader:
        answers = reader.answers()
        assert answers.kept + answers.dropped == 40
        assert 0 < answers.kept < 10
        assert answers.bytes < 3000
        assert len([one for one in reader.observations() if one.answer]) == answers.kept
        assert reader.count("observation", "answer_chars = 200") == 40


def test_a_long_answer_is_cut_between_two_characters(tmp_path: Path) -> None:
    with JournalReader(written(tmp_path, [], [observation(0, "aü" * LONGEST_ANSWER_BYTES)])) as reader:
        one = reader.observation(0)
        assert one is not None
        assert len(one.answer.encode()) in (LONGEST_ANSWER_BYTES, LONGEST_ANSWER_BYTES - 1)
        assert set(one.answer) == {"a", "ü"}
        assert reader.answers().cut == 1


def test_an_answer_that_no_encoding_has_is_kept(tmp_path: Path) -> None:
    with JournalReader(written(tmp_path, [], [observation(0, "half a \ud83d pair")])) as reader:
        assert reader.observation(0) == observation(0, "half a \ud83d pair")


@pytest.mark.parametrize("text", [SECRET, SECRET[:30], "4711"])
def test_a_redacted_journal_holds_no_word_of_what_was_said(text: str, tmp_path: Path) -> None:
    seen = observation(1, outcome=Outcome.HTTP_4XX, error=f"status 400: {SECRET}")
    path = written(tmp_path, [request(0), request(1)], [observation(0), seen], REDACTED)
    with JournalReader(path) as reader:
        stored = reader.request(1)
        assert stored is not None
        assert (stored.after, stored.think_s, stored.hang_up_after_events) == (0, 0.5, 3)
        assert (stored.body, stored.prompt_text, stored.expect) == (b"", "", Expectation())
        assert reader.count("observation", f"answer_chars = {len(SECRET)}") == 2
        assert reader.count("observation", "length(answer_sha256) = 32") == 2
        assert [one.answer for one in reader.observations()] == ["", ""]
        everything = "\n".join(reader._db.iterdump())
        for block in reader.blocks_of("SELECT body FROM block"):
            everything += "".join(zlib.decompress(body).decode("latin-1") for (body,) in block)
    assert text not in everything
    assert text.encode() not in path.read_bytes()


def test_the_harness_own_words_stay_in_a_redacted_journal(tmp_path: Path) -> None:
    seen = observation(0, "", outcome=Outcome.TIMEOUT, error="no byte for 30 s")
    with JournalReader(written(tmp_path, [], [seen], REDACTED)) as reader:
        assert reader.observation(0) == seen


def test_a_journal_that_is_opened_again_goes_on_counting(tmp_path: Path) -> None:
    path = written(tmp_path, [request(0), request(1)], [observation(0)])
    writer = JournalWriter.reopen(path, Keep())
    writer.add_observations([observation(1, "another answer")])
    writer.close()
    with JournalReader(path) as reader:
        assert [one.answer for one in reader.observations()] == [SECRET, "another answer"]
        assert reader.answers().kept == 2


def test_ticks_can_be_asked_for_by_the_newest(tmp_path: Path) -> None:
    from test_report_samples import make_tick

    writer = JournalWriter(tmp_path / "journal.sqlite")
    for second in range(9):
        writer.add_tick(make_tick(float(second)))
    writer.close()
    with JournalReader(writer.path) as reader:
        assert [tick.t_s for _, tick in reader.ticks(limit=3)] == [6.0, 7.0, 8.0]
        assert [seq for seq, _ in reader.ticks(after=7)] == [8, 9]
