from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.load.sse import EventSplitter, EventTooLarge, event_fields

ENDS = st.sampled_from(["\n", "\r\n", "\r"])
TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)


def split(pieces: list[bytes], limit: int = 1 << 20) -> tuple[list[tuple[str, str]], bool]:
    splitter = EventSplitter(limit)
    for piece in pieces:
        splitter.feed(piece, 0)
    splitter.close()
    fields = [event_fields(raw) for raw in splitter.events]
    return [(name, data) for name, data in fields if data], splitter.done


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str]]]:
    """A byte stream with any mix of line ends, comments and unknown fields, and the events that are in it."""
    wanted: list[tuple[str, str]] = []
    text = draw(st.sampled_from(["", "\ufeff"]))
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.one_of(st.just(""), TEXT))
        data = draw(st.lists(TEXT, min_size=1, max_size=3))
        lines = [f"data: {one}" for one in data]
        if name:
            lines.append(f"event: {name}")
        if draw(st.booleans()):
            lines.insert(0, ": " + draw(TEXT))
        if draw(st.booleans()):
            lines.append("id:" + draw(TEXT))
        end = draw(ENDS)
        text += "".join(line + end for line in lines) + end
        if "\n".join(data):
            wanted.append((name, "\n".join(data)))
        if draw(st.booleans()):
            end = draw(ENDS) if end != "\r" else "\r"  # a bare CR before an LF would be one line end
            text += ":ping" + end + end
    return text.encode(), wanted


@given(streams(), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_chunking_of_a_stream_gives_its_events(
    made: tuple[bytes, list[tuple[str, str]]], places: list[int]
) -> None:
    data, wanted = made
    assert split(cut(data, places))[0] == wanted


@given(streams())
def test_a_stream_byte_by_byte_gives_its_events(made: tuple[bytes, list[tuple[str, str]]]) -> None:
    data, wanted = made
    assert split([data[at : at + 1] for at in range(len(data))])[0] == wanted


@given(
    st.binary(max_size=200).map(lambda raw: raw.translate(bytes(b"\r\n:d a"[one % 6] for one in range(256)))), st.data()
)
def test_any_bytes_split_alike_whole_and_in_pieces(data: bytes, draw: st.DataObject) -> None:
    places = draw.draw(st.lists(st.integers(0, 300), max_size=30))
    assert split([data]) == split(cut(data, places))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_done_ends_a_stream_and_what_follows_is_dropped(end: str) -> None:
    data = f"data: x{end}{end}data: [DONE]{end}{end}data: y{end}{end}".encode()
    assert split([data]) == ([("", "x"), ("", "[DONE]")], True)
    assert split([data[at : at + 1] for at in range(len(data))]) == ([("", "x"), ("", "[DONE]")], True)


def test_done_without_its_blank_line_counts_at_the_end_and_another_unfinished_event_does_not() -> None:
    assert split([b"data: x\n\ndata: [DONE]"]) == ([("", "x")], True)
    assert split([b"data: x\n\ndata: y\n"]) == ([("", "x")], False)


def test_text_that_speaks_of_done_does_not_end_a_stream() -> None:
    assert split([b'data: {"content":"data: [DONE]"}\n\n'])[1] is False


@pytest.mark.parametrize("pieces", [[b"data: " + b"x" * 200 + b"\n\n"], [b"data: ", *[b"x"] * 200]])
def test_an_event_past_the_limit_is_an_error(pieces: list[bytes]) -> None:
    with pytest.raises(EventTooLarge):
        split(pieces, limit=100)


def test_each_event_keeps_the_time_of_the_read_that_completed_it() -> None:
    splitter = EventSplitter()
    splitter.feed(b"data: a\n", 1)
    splitter.feed(b"\ndata: b\n\ndata: c", 2)
    splitter.feed(b"\n\n", 3)
    assert splitter.events == [b"data: a", b"data: b", b"data: c"]
    assert splitter.times_ns == [2, 2, 3]


def test_events_of_bytes_that_are_no_utf8_raise_only_when_read() -> None:
    splitter = EventSplitter()
    splitter.feed(b"data: \xff\n\n", 1)
    with pytest.raises(UnicodeDecodeError):
        event_fields(splitter.events[0])
