"""Traces: what stands in a file is what is read, in the order of time; replay changes times alone."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_files import (
    FORMATS,
    MS,
    SECOND,
    Row,
    azure_2023,
    azure_2024,
    burstgpt,
    burstgpt_3,
    journal,
    mooncake,
    mooncake_compact,
)

from scenarios.errors import TraceError
from scenarios.journal import JournalWriter
from scenarios.lines import pieces
from scenarios.observation import Observation, Outcome
from scenarios.traces import Trace, TraceKind, read_trace, replayed, shrunk

Writer = Callable[[Path, Sequence[Row]], Path]
SHARED = Path(__file__).parents[3] / "shared" / "traces"


@st.composite
def rows(draw: st.DrawFn, step: int) -> list[Row]:
    """Rows in the order of time, with ties, whose times are whole steps and whose blocks cover their prompts."""
    found = []
    at = 0
    for gap in draw(
        st.lists(st.sampled_from([0, 1, 7, 10**9 // step, 86_400 * 10**9 // step]), min_size=1, max_size=8)
    ):
        at += gap
        prompt = draw(st.integers(1, 4 * 512))
        ids = st.lists(
            st.integers(0, 2**31 - 1) | st.integers(0, 9), min_size=-(-prompt // 512), max_size=-(-prompt // 512)
        )
        found.append(
            Row(
                at_ns=at * step,
                prompt=prompt,
                output=draw(st.integers(1, 2**31 - 1) | st.integers(1, 9)),
                session=draw(st.sampled_from(["", "7", "a1-ö", "f" * 40])),
                blocks=tuple(draw(ids)),
            )
        )
    return found


def read_back(trace: Trace) -> list[tuple[int, int, int]]:
    return list(zip(trace.at_ns.tolist(), trace.prompt_tokens.tolist(), trace.output_tokens.tolist(), strict=True))


def expected(rows: Sequence[Row]) -> list[tuple[int, int, int]]:
    return [(row.at_ns - rows[0].at_ns, row.prompt, row.output) for row in rows]


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_format_is_read_back_as_it_was_written(
    write: Writer, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = data.draw(rows(FORMATS[write]))
    trace = read_trace(write(tmp_path_factory.mktemp("trace") / "trace", written))
    assert read_back(trace) == expected(written)
    assert trace.at_ns.dtype == np.int64
    assert {array.dtype for array in (trace.prompt_tokens, trace.output_tokens, trace.session)} == {np.dtype(np.int32)}
    assert trace.dropped == ()
    assert trace.moved == 0
    if write in (mooncake, mooncake_compact):
        assert [tuple(trace.blocks_of(row).tolist()) for row in range(len(trace))] == [row.blocks for row in written]
        assert trace.block_tokens == 512
    else:
        assert len(trace.blocks) == len(trace.block_offsets) == len(trace.blocks_of(0)) == 0
    if write is burstgpt_3:
        names = [row.session for row in written]
        found = dict(zip(trace.session.tolist(), names, strict=True))
        assert [found[number] for number in trace.session.tolist()] == names
        numbered = [name for name in dict.fromkeys(names) if name]
        assert [found[number] for number in range(len(numbered))] == numbered
        assert found.get(-1, "") == ""
    else:
        assert set(trace.session.tolist()) == {-1}


def test_a_file_is_named_by_its_kind_its_name_and_the_hash_of_its_bytes(tmp_path: Path) -> None:
    path = azure_2023(tmp_path / "a day.csv", [Row(0, 5, 6)])
    trace = read_trace(path)
    assert (trace.kind, trace.name) == (TraceKind.AZURE, "a day.csv")
    assert trace.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("write", [azure_2024, burstgpt_3, mooncake], ids=lambda write: write.__name__)
def test_a_packed_file_is_read_like_the_file(write: Writer, tmp_path: Path) -> None:
    path = write(tmp_path / "trace", [Row(0, 5, 6, "s", (1,)), Row(SECOND, 600, 6, "t", (1, 2))])
    packed = tmp_path / "trace.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_back(read_trace(packed)) == read_back(read_trace(path))
    assert read_trace(packed).digest == hashlib.sha256(packed.read_bytes()).hexdigest()


@pytest.mark.parametrize("write", [azure_2024, burstgpt_3, mooncake], ids=lambda write: write.__name__)
def test_rows_out_of_order_are_sorted_and_counted_and_ties_keep_their_order(write: Writer, tmp_path: Path) -> None:
    written = [
        Row(2 * SECOND, 1, 10, "b", (5,)),
        Row(3 * SECOND, 600, 11, "a", (6, 7)),
        Row(2 * SECOND, 1200, 12, "b", (8, 9, 10)),
        Row(0, 2, 13, "", (11,)),
    ]
    trace = read_trace(write(tmp_path / "trace", written))
    assert trace.output_tokens.tolist() == [13, 10, 12, 11]
    assert trace.at_ns.tolist() == [0, 2 * SECOND, 2 * SECOND, 3 * SECOND]
    assert trace.moved == 2
    assert "2 rows were not in order of time and have been sorted" in trace.notes()
    if write is mooncake:
        assert [trace.blocks_of(row).tolist() for row in range(4)] == [[11], [5], [8, 9, 10], [6, 7]]
    if write is burstgpt_3:
        assert trace.session.tolist() == [-1, 0, 0, 1]


def test_lines_are_found_wherever_a_piece_of_the_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    text = b"one\r\n\r\n\ntwo\nthree,3\r\n" + b"x" * 50 + b"\nlast"
    path.write_bytes(text)
    whole = [(1, b"one"), (4, b"two"), (5, b"three,3"), (6, b"x" * 50), (7, b"last")]
    for size in (*range(1, 30), 1 << 20):
        found = [
            (int(lines.number[row]), lines.raw(row))
            for lines in pieces(path, TraceError, size)
            for row in range(len(lines))
        ]
        assert found == whole


def test_a_large_file_is_the_same_in_many_pieces(tmp_path: Path) -> None:
    written = [
        Row(at * 3 * MS, 1 + at % 900, 1 + at % 7, blocks=(at, at + 1)[: 1 + (at % 900 >= 512)]) for at in range(20_000)
    ]
    assert read_back(read_trace(azure_2023(tmp_path / "azure", written))) == expected(written)
    trace = read_trace(mooncake(tmp_path / "mooncake", written))
    assert read_back(trace) == expected(written)
    assert trace.blocks.tolist() == [block for row in written for block in row.blocks]


def test_failed_requests_are_left_out_and_counted_or_kept_if_wanted(tmp_path: Path) -> None:
    path = burstgpt(tmp_path / "trace", [Row(0, 5, 0), Row(SECOND, 6, 7), Row(2 * SECOND, 8, 0)])
    trace = read_trace(path)
    assert read_back(trace) == [(0, 6, 7)]
    assert trace.dropped == (("the request failed (0 response tokens)", 2),)
    assert trace.notes() == ("2 rows left out: the request failed (0 response tokens)",)
    assert read_back(read_trace(path, keep_failed=True)) == [(0, 5, 0), (SECOND, 6, 7), (2 * SECOND, 8, 0)]


def test_requests_of_a_run_that_the_server_did_not_count_are_left_out_or_kept_with_zeros(tmp_path: Path) -> None:
    path = tmp_path / "run" / "journal.sqlite"
    writer = JournalWriter(path)
    writer.add_observations(
        [
            Observation(index=0, due_ns=5, outcome=Outcome.REFUSED, end_ns=6),
            Observation(index=1, due_ns=7, outcome=Outcome.OK, end_ns=9, prompt_tokens=3, completion_tokens=4),
        ]
    )
    writer.close()
    assert read_trace(path).dropped == (("the server gave no token counts", 1),)
    assert read_back(read_trace(path, keep_failed=True)) == [(0, 0, 0), (2, 3, 4)]


@pytest.mark.parametrize(
    ("stamp", "at_ns"),
    [
        ("2024-05-12 00:00:10+00:00", 0),
        ("2024-05-12T00:00:10Z", 0),
        ("2024-05-12 02:00:10.5+02:00", SECOND // 2),
        ("2024-05-11 18:30:11.123456789-05:30", SECOND + 123_456_789),
        ("2024-05-12 00:00:60", 50 * SECOND),
        ("2024-05-13 00:00:10.0000001", 86_400 * SECOND + 100),
    ],
)
def test_stamps_with_and_without_fraction_and_zone_stand_beside_each_other(
    stamp: str, at_ns: int, tmp_path: Path
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-12 00:00:10+00:00,1,2\n{stamp},3,4")
    assert read_trace(path).at_ns.tolist() == [0, at_ns]


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("12", 12 * SECOND),
        ("12.", 12 * SECOND),
        ("12.0000000005", 12 * SECOND + 1),
        ("12.0000000004999999999999999999", 12 * SECOND),
        ("0.30000000000000004", 300_000_000),
        ("1e-05", 10_000),
        ("1.5E+3", 1500 * SECOND),
        ("+7", 7 * SECOND),
    ],
)
def test_seconds_are_read_however_a_program_writes_them(text: str, at_ns: int, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(
        f"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n0,m,1,1,2,x\n{text},m,1,1,2,x\n"
    )
    assert read_trace(path).at_ns.tolist() == [0, at_ns]


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("\ufeffGeneratedTokens,Region, timestamp ,ContextTokens\n7,eu,2024-05-12 00:00:10,9\n")
    assert read_back(read_trace(path)) == [(0, 9, 7)]


@pytest.mark.parametrize("speed", [0.1, 1.0, 3.0, 100.0])
def test_a_replay_keeps_the_shape_at_every_speed(speed: float, tmp_path: Path) -> None:
    trace = read_trace(azure_2023(tmp_path / "trace", [Row(at * 12_345_600, at + 1, 1) for at in range(100)]))
    played = replayed(trace, speed)
    assert np.abs(played.at_ns - trace.at_ns / speed).max() <= 0.5
    assert (np.diff(played.at_ns) >= 0).all()
    assert played.prompt_tokens.tolist() == trace.prompt_tokens.tolist()


def test_a_window_of_a_replay_counts_from_its_start_and_holds_what_came_in_it(tmp_path: Path) -> None:
    written = [Row(at * SECOND, 512 * (1 + at % 3), 1, blocks=tuple(range(at, at + 1 + at % 3))) for at in range(10)]
    trace = read_trace(mooncake(tmp_path / "trace", written))
    played = replayed(trace, 2.0, from_s=2.5, duration_s=3.5)
    assert played.at_ns.tolist() == [250_000_000, 750_000_000, 1_250_000_000]
    assert played.prompt_tokens.tolist() == [512, 1024, 1536]
    assert [played.blocks_of(row).tolist() for row in range(3)] == [[3], [4, 5], [5, 6, 7]]
    assert played.span_s == 1.0
    assert len(replayed(trace, 1.0, from_s=99.0)) == 0
    assert len(replayed(trace, 1.0, from_s=0.0, duration_s=0.0)) == 0
    assert len(replayed(trace, 1.0, duration_s=1e300)) == 10


def test_a_replay_refuses_what_is_no_window_and_no_speed(tmp_path: Path) -> None:
    trace = read_trace(azure_2023(tmp_path / "trace", [Row(0, 1, 1)]))
    for speed in (0.0, 0.05, 101.0, float("nan"), -1.0):
        with pytest.raises(ValueError, match=r"0\.1 to 100"):
            replayed(trace, speed)
    for window in ((-1.0, None), (0.0, -1.0), (float("nan"), None)):
        with pytest.raises(ValueError, match="window"):
            replayed(trace, 1.0, *window)


@settings(max_examples=50, deadline=None)
@given(prompts=st.lists(st.integers(1, 5000), min_size=1, max_size=20), by=st.sampled_from([1, 2, 16, 512]))
def test_a_shrunk_trace_has_as_many_blocks_as_its_shorter_prompts_need(
    prompts: list[int], by: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = [Row(0, prompt, 100, blocks=tuple(range(-(-prompt // 512)))) for prompt in prompts]
    short = shrunk(read_trace(mooncake(tmp_path_factory.mktemp("trace") / "trace", written)), by)
    assert short.block_tokens == 512 // by
    assert np.diff(short.block_offsets).tolist() == (-(-short.prompt_tokens // short.block_tokens)).tolist()
    assert set(short.output_tokens.tolist()) == {-(-100 // by)}


def test_a_trace_is_not_shrunk_to_parts_of_a_token(tmp_path: Path) -> None:
    trace = read_trace(mooncake(tmp_path / "trace", [Row(0, 1, 1, blocks=(1,))]))
    for by in (0, 3, 1024):
        with pytest.raises(ValueError, match="times shorter"):
            shrunk(trace, by)
    assert shrunk(read_trace(journal(tmp_path / "t", [Row(0, 10, 10)])), 3).prompt_tokens.tolist() == [4]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public traces are not beside this repository")
def test_the_public_files_are_read_whole() -> None:
    azure = read_trace(SHARED / "azure_2023_conv.csv")
    assert len(azure) == 19_366
    assert round(len(azure) / azure.span_s, 2) == 5.53
    gaps = np.diff(azure.at_ns)
    assert round(float(gaps.std() / gaps.mean()), 2) == 1.09
    moon = read_trace(SHARED / "mooncake_conversation_trace.jsonl")
    assert len(moon) == 12_031
    assert len(np.unique(moon.blocks)) == 182_790
    assert (np.diff(moon.block_offsets) == -(-moon.prompt_tokens // 512)).all()
    assert azure.moved == moon.moved == 0
