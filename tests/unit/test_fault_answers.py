"""What the http.* and stream.* kinds make of the bytes of one answer."""

from __future__ import annotations

import itertools
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.faults.kinds import KINDS, Via
from scenarios.faults.proxy.answers import TRANSFORMS
from scenarios.faults.proxy.answers.events import EVENT_LIMIT_BYTES, EventSplitter
from scenarios.faults.proxy.answers.message import BodyReader, Head, HeadReader
from scenarios.faults.proxy.transform import Piece, Transform

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nDate: now\r\n"
STREAM_KINDS = [name for name in TRANSFORMS if name.startswith("stream.")]
SAME_BYTES = ["stream.coalesce", "stream.bytewise", "stream.split_character", "stream.stall"]


def transform(kind: str, **own: Any) -> Transform:
    """The kind with its defaults, but with a pause where there is one: then pieces stay apart."""
    given = {param.name: 0.5 if param.name == "delay" else param.default for param in KINDS[kind].params}
    return TRANSFORMS[kind](given | own)


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end


def answer(body: bytes, framing: str = "chunked", head: bytes = SSE) -> bytes:
    if framing == "chunked":
        middle = [body[at : at + 37] for at in range(0, len(body), 37)]
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*middle)
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return head + b"\r\n" + body


def run(one: Transform, *reads: bytes) -> list[Piece]:
    return [piece for data in reads for piece in one.feed(data)] + one.end()


def line(pieces: list[Piece]) -> list[Piece]:
    """The pieces with those joined between which there is nothing."""
    out: list[Piece] = []
    for piece in pieces:
        if piece == Piece(0.0, b""):
            continue
        if out and not piece.wait_s and not out[-1].close:
            out[-1] = Piece(out[-1].wait_s, out[-1].data + piece.data, piece.close)
        else:
            out.append(piece)
    return out


def data_of(pieces: list[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces)


class _Body:
    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def content(raw: bytes) -> tuple[bytes, bool]:
    """The body of an answer as another parser reads it, and whether it saw its end."""
    seen = _Body()
    httptools.HttpResponseParser(seen).feed_data(raw)
    return seen.body, seen.complete


def cut(data: bytes, places: list[float]) -> list[bytes]:
    marks = sorted({0, len(data), *(round(place * len(data)) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


events = st.lists(
    st.builds(
        lambda lines, end: end.join(lines) + end * 2,
        st.lists(
            st.one_of(
                st.text("aé€𝄞 {}:", max_size=20).map(lambda text: b"data: " + text.encode()),
                st.sampled_from([b": ping", b"event: x", b"data", b"data:[DONE]", b"data: [DONE]", b"2a"]),
            ),
            min_size=1,
            max_size=3,
        ),
        st.sampled_from([b"\n", b"\r\n", b"\r"]),
    ),
    max_size=8,
)
bodies = st.builds(
    lambda bom, some, rest: bom + b"".join(some) + rest,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    events,
    st.sampled_from([b"", b"data: half", b"\r", b"\n\r", b"\r\n\r", b"data: [DONE]"]),
)
framings = st.sampled_from(["chunked", "length", "close"])
places = st.lists(st.floats(0, 1), max_size=12)
heads = st.sampled_from(
    [SSE, SSE.replace(b"text/event-stream", b"application/json"), b"HTTP/1.1 100 Continue\r\n\r\n" + SSE]
)


def test_every_kind_that_changes_answers_has_a_transform() -> None:
    kinds = {name for name, kind in KINDS.items() if kind.via is Via.PROXY and kind.family in ("http", "stream")}
    assert set(TRANSFORMS) == kinds
    for name in kinds:
        for word in next((param.words for param in KINDS[name].params if param.words), ("",)):
            own = {param.name: word for param in KINDS[name].params if param.words}
            transform(name, **own)


@given(kind=st.sampled_from(sorted(TRANSFORMS)), body=bodies, framing=framings, head=heads, places=places)
def test_the_outcome_does_not_depend_on_how_the_answer_arrives(
    kind: str, body: bytes, framing: str, head: bytes, places: list[float]
) -> None:
    raw = answer(body, framing, head)
    assert line(run(transform(kind), *cut(raw, places))) == line(run(transform(kind), raw))


@given(kind=st.sampled_from(sorted(TRANSFORMS)), raw=st.binary(max_size=200), places=places)
def test_no_bytes_at_all_break_a_transform(kind: str, raw: bytes, places: list[float]) -> None:
    for start in (b"", SSE + b"\r\n", SSE + b"Transfer-Encoding: chunked\r\n\r\n", SSE + b"Content-Length: x\r\n\r\n"):
        whole = start + raw
        assert line(run(transform(kind), *cut(whole, places))) == line(run(transform(kind), whole))


@given(kind=st.sampled_from(SAME_BYTES), body=bodies, framing=framings, places=places)
def test_kinds_that_only_change_when_things_come_keep_the_content(
    kind: str, body: bytes, framing: str, places: list[float]
) -> None:
    raw = answer(body, framing)
    out = data_of(run(transform(kind), *cut(raw, places)))
    assert content(out) == content(raw)
    if framing != "chunked":
        assert out == raw


@given(kind=st.sampled_from(STREAM_KINDS), body=bodies, framing=framings, places=places)
def test_answers_that_are_no_stream_pass_unchanged(kind: str, body: bytes, framing: str, places: list[float]) -> None:
    for head in (
        SSE.replace(b"text/event-stream", b"application/json"),
        SSE.replace(b"200", b"500"),
        SSE + b"Content-Encoding: gzip\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + SSE.replace(b"text/event-stream", b"text/plain"),
    ):
        raw = answer(body, framing, head)
        assert line(run(transform(kind), *cut(raw, places))) == [Piece(0.0, raw)]


ONE, TWO, THREE, LAST, DONE = (
    b'data: {"a":"1"}\n\n',
    b'data: {"a":"\xc3\xa92"}\r\n\r\n',
    b"event: x\rdata: 3\rdata: 3\r\r",
    b'data: {"finish_reason":"stop"}\n\n',
    b"data: [DONE]\n\n",
)
PING = b": ping\n\n"
BODY = ONE + PING + TWO + THREE + LAST + DONE


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize(
    ("kind", "own", "expected"),
    [
        ("stream.truncate", {"after": 2}, ONE + PING + TWO),
        ("stream.truncate", {"after": 0}, b""),
        ("stream.truncate", {"after": 99}, BODY.removesuffix(DONE)),
        ("stream.duplicate", {"event": 2}, ONE + PING + TWO + TWO + THREE + LAST + DONE),
        ("stream.duplicate", {"event": 99}, BODY),
        ("stream.reorder", {"event": 1}, PING + TWO + ONE + THREE + LAST + DONE),
        ("stream.reorder", {"event": 4}, ONE + PING + TWO + THREE + DONE + LAST),
        ("stream.reorder", {"event": 5}, BODY),
    ],
)
def test_events_are_cut_off_doubled_or_swapped_and_nothing_else(
    framing: str, kind: str, own: dict[str, Any], expected: bytes
) -> None:
    pieces = run(transform(kind, **own), answer(BODY, framing))
    raw = data_of(pieces)
    cut = kind == "stream.truncate"
    resized = framing == "length" and kind != "stream.reorder"
    assert content(raw) == (expected, framing != "close" and not resized)
    assert [piece.close for piece in pieces if piece.close] == (["left"] if cut else ["fin"] if resized else [])
    assert (b"Content-Length" in raw) == (framing == "length" and not resized)
    assert (b"Connection: close" in raw) == (resized or cut)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize(("after", "last"), [(0, b""), (2, TWO)])
def test_a_truncated_stream_is_over_as_soon_as_its_last_event_has_come(framing: str, after: int, last: bytes) -> None:
    one, whole, fed, out = transform("stream.truncate", after=after), answer(BODY, framing), 0, list[Piece]()
    while not (out and out[-1].close):
        out += one.feed(whole[fed : fed + 1])
        fed += 1
    said, _ = content(whole[:fed])
    assert said.endswith(last)
    assert one.feed(whole[fed:]) == one.end() == one.relent() == []
    if framing == "chunked":
        assert content(data_of(out))[1]


def test_trailers_and_what_follows_the_end_stay() -> None:
    raw = answer(BODY)[: -len(b"0\r\n\r\n")] + b"0;x=y\r\nX-Sum: 1\r\n\r\n"
    for kind in set(STREAM_KINDS) - {"stream.truncate"}:
        assert data_of(run(transform(kind), raw)).endswith(b"\r\n0;x=y\r\nX-Sum: 1\r\n\r\n")
        assert data_of(run(transform(kind), raw + b"HTTP/1.1 200 OK\r\n\r\n")).endswith(b"HTTP/1.1 200 OK\r\n\r\n")


def test_a_target_that_closes_in_the_middle_is_not_given_an_end() -> None:
    for kind in (*STREAM_KINDS, "http.header_lost"):
        for framing in ("chunked", "length"):
            raw = answer(BODY, framing)[:-8]
            pieces = run(transform(kind, **({"after": 99} if kind == "stream.truncate" else {})), raw)
            assert not any(piece.close for piece in pieces)
            assert not content(data_of(pieces))[1]


def test_several_events_come_as_one_piece() -> None:
    pieces = transform("stream.coalesce", events=2)
    seen = [pieces.feed(part) for part in (SSE + b"\r\n", ONE, PING, TWO, THREE, LAST, DONE)]
    assert [data_of(piece) for piece in seen[1:]] == [b"", b"", ONE + PING + TWO, b"", THREE + LAST, b""]
    assert data_of(pieces.end()) == DONE


def test_one_byte_at_a_time_is_a_piece_for_each() -> None:
    head, *rest = run(transform("stream.bytewise", delay=0.25), answer(BODY, "length"))
    assert head.data.endswith(b"\r\n\r\n")
    assert rest == [Piece(0.25, BODY[at : at + 1]) for at in range(len(BODY))]


def test_the_cut_is_in_a_character_else_in_a_line_end() -> None:
    for framing in ("chunked", "close"):
        _, *pieces = run(transform("stream.split_character", delay=0.5), answer(ONE + TWO + THREE, framing))
        seams = [(one.data[-1:], two.data[:1]) for one, two in zip(pieces[::2], pieces[1::2], strict=False)]
        assert seams[:3] == [(b"\n", b"\n"), (b"\xc3", b"\xa9"), (b"\r", b"\r")]
        assert [piece.wait_s for piece in pieces[:6]] == [0.0, 0.5] * 3


@pytest.mark.parametrize(("after", "begins"), [(0, ONE), (1, TWO), (4, DONE)])
def test_a_stall_stands_before_the_next_event(after: int, begins: bytes) -> None:
    pieces = run(transform("stream.stall", after=after, delay=3.0), answer(BODY, "close"))
    (late,) = (piece for piece in pieces if piece.wait_s)
    assert (late.wait_s, late.data[: len(begins)]) == (3.0, begins)


def test_a_short_stream_does_not_stall() -> None:
    assert not any(piece.wait_s for piece in run(transform("stream.stall", after=5), answer(BODY)))


@pytest.mark.parametrize("kind", STREAM_KINDS)
def test_an_event_without_end_is_not_kept_for_ever(kind: str) -> None:
    one = transform(kind, **({"event": 2} if kind in ("stream.reorder", "stream.duplicate") else {}))
    held = len(data_of(one.feed(SSE + b"\r\n" + ONE)))
    sent = len(SSE + b"\r\n" + ONE) + (len(b"Connection: close\r\n") if kind == "stream.truncate" else 0)
    for _ in range(300):
        out = one.feed(b"x" * 10_000)
        sent, held = sent + 10_000, held + len(data_of(out))
        assert sent - held <= EVENT_LIMIT_BYTES + 10_000 + len(ONE)
    assert held + len(data_of(one.end())) == sent


@given(size=st.integers(EVENT_LIMIT_BYTES - 40, EVENT_LIMIT_BYTES + 40), place=st.integers(-45, 45))
def test_whether_an_event_is_too_large_does_not_depend_on_the_cut(size: int, place: int) -> None:
    text = b"data: " + b"x" * size + b"\r\n\r\n" + ONE
    seen = []
    for reads in ([text], [text[: EVENT_LIMIT_BYTES + place], text[EVENT_LIMIT_BYTES + place :]]):
        splitter = EventSplitter()
        cuts = [event for data in reads for event in splitter.feed(data)]
        seen.append((len(cuts), splitter.overgrown))
    assert seen[0] == seen[1] == ((0, True) if size + 10 > EVENT_LIMIT_BYTES else (2, False))


def test_a_head_without_end_passes_through() -> None:
    for kind in (*STREAM_KINDS, "http.header_lost"):
        raw = SSE + b"X-Big: " + b"x" * (300 << 10)
        assert data_of(run(transform(kind), raw, b"y" * 10)) == raw + b"y" * 10


@pytest.mark.parametrize(
    ("header", "framing", "closes"),
    [
        ("content-type", "chunked", False),
        ("content-type", "length", False),
        ("date", "chunked", False),
        ("transfer-encoding", "chunked", True),
        ("transfer-encoding", "length", False),
        ("content-length", "length", True),
        ("content-length", "close", False),
    ],
)
def test_a_lost_header_takes_its_framing_with_it_and_leaves_the_body(header: str, framing: str, closes: bool) -> None:
    raw = answer(BODY, framing)
    pieces = run(transform("http.header_lost", header=header), raw)
    out = data_of(pieces)
    head, _, body = out.partition(b"\r\n\r\n")
    assert body == raw.partition(b"\r\n\r\n")[2]
    assert Head(head + b"\r\n\r\n").value(header.encode()) is None
    lost = set(raw.partition(b"\r\n\r\n")[0].split(b"\r\n")) - set(head.split(b"\r\n"))
    assert all(one.lower().startswith(header.encode() + b":") for one in lost)
    assert [piece.close for piece in pieces if piece.close] == (["fin"] if closes else [])


def test_a_lost_header_is_lost_in_every_writing_of_it() -> None:
    raw = b"HTTP/1.1 200 OK\r\nDATE: a\r\n b\r\nX-Date: c\r\ndate:d\r\nContent-Length: 0\r\n\r\n"
    out = data_of(run(transform("http.header_lost", header="date"), raw))
    assert out == b"HTTP/1.1 200 OK\r\nX-Date: c\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "own", "status", "header"),
    [
        ("http.error", {"status": "502"}, 502, b""),
        ("http.too_many", {"retry_after": 1.2}, 429, b"\r\nRetry-After: 2\r\n"),
        ("http.error_in_200", {}, 200, b""),
    ],
)
def test_an_answer_instead_of_the_targets_is_whole(kind: str, own: dict[str, Any], status: int, header: bytes) -> None:
    pieces = transform(kind, **own).instead(b"POST /v1/chat/completions HTTP/1.1\r\n\r\n")
    assert pieces is not None
    raw = data_of(pieces)
    body, complete = content(raw)
    assert complete
    assert b'"error"' in body
    assert header in raw
    assert Head(raw).status == status
    (head,) = transform(kind, **own).instead(b"HEAD / HTTP/1.1\r\n\r\n") or ()
    assert head.data + body == raw


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.sampled_from(["chunked", "length", "close"]), places
)
def test_the_body_is_read_as_another_parser_reads_it(parts: list[bytes], framing: str, places: list[float]) -> None:
    body = b"".join(parts)
    raw = answer(body, framing)
    reader, got = HeadReader(), b""
    body_reader: BodyReader | None = None
    for data in cut(raw, places):
        rest = data
        if body_reader is None:
            found, rest = reader.feed(data)
            if found:
                body_reader = BodyReader(found[0])
        if body_reader is not None:
            got += body_reader.feed(rest)[0]
    assert body_reader is not None
    assert (got, body_reader.over) == (body, framing != "close")
    assert content(raw) == (body, framing != "close")


@pytest.mark.parametrize("kind", sorted(TRANSFORMS))
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_fault_that_is_over_before_it_struck_does_not_strike_any_more(kind: str, framing: str) -> None:
    raw = answer(BODY, framing)
    for told in (0, 20, raw.index(b"\r\n\r\n") + 4 if kind.startswith("stream.") else 0):
        if kind == "stream.truncate":
            one = transform(kind, after=1)
        else:
            one = transform(kind, **{param.name: 1 for param in KINDS[kind].params if param.name in ("event", "after")})
        before = one.feed(raw[:told])
        out = data_of([*before, *one.relent(), *one.feed(raw[told:]), *one.end()])
        assert content(out)[0] == BODY


def test_what_is_held_back_goes_when_the_fault_is_over() -> None:
    for kind, own in (("stream.reorder", {"event": 1}), ("stream.coalesce", {"events": 9})):
        one = transform(kind, **own)
        begun = answer(ONE, "close")
        assert ONE not in data_of(one.feed(begun))
        assert data_of(one.relent()) == ONE
        assert data_of(one.feed(TWO)) == TWO


@pytest.mark.parametrize(
    ("request_head", "closes"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nConnection: TE, Close\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", True),
        (b"POST / HTTP/1.0\r\n\r\n", True),
    ],
)
def test_who_asks_for_the_connection_to_be_closed_gets_it_closed(request_head: bytes, closes: bool) -> None:
    (piece,) = transform("http.error").instead(request_head) or ()
    assert (piece.close, b"\r\nConnection: close\r\n" in piece.data) == (("fin", True) if closes else ("", False))
    assert content(piece.data)[1]
