"""A file that is no trace, or a broken one, is refused with file, line and a way out; never with a traceback."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trace_files import Row, azure_2023, burstgpt, mooncake, mooncake_row

from scenarios.errors import DefinitionErrors, TraceError
from scenarios.traces import ClientWindow, read_trace, read_windows
from scenarios.traces.servegen import WINDOW_S

AZURE = b"TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST = b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"


def refusal(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert all(mistake.file == str(path) for mistake in caught.value.mistakes)
    assert caught.value.mistakes[0].fix
    return str(caught.value).replace(f"{path}:", "").split("\n")


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (AZURE + b"2024-05-12 00:00:10,1,2\n2024-05-12 00:00,1,2\n", 3, "timestamp '2024-05-12 00:00' is no stamp"),
        (AZURE + b"2023-02-29 00:00:10,1,2\n", 2, "is no stamp"),
        (AZURE + b"2024-13-01 00:00:10,1,2\n", 2, "is no stamp"),
        (AZURE + b"2024-05-12 24:00:00,1,2\n", 2, "is no stamp"),
        (AZURE + b"2024-05-12 00:00:10.,1,2\n", 2, "is no stamp"),
        (AZURE + b"2024-05-12 00:00:10.1234567890,1,2\n", 2, "is no stamp"),
        (AZURE + b"2024-05-12 00:00:10+0000,1,2\n", 2, "is no stamp"),
        (AZURE + b"1969-05-12 00:00:10,1,2\n", 2, "is no stamp"),
        (AZURE + b"2024-05-12 00:00:10,,2\n", 2, "contexttokens '' is no count of tokens"),
        (AZURE + b"2024-05-12 00:00:10,-1,2\n", 2, "is no count of tokens"),
        (AZURE + b"2024-05-12 00:00:10,1.5,2\n", 2, "is no count of tokens"),
        (AZURE + b"2024-05-12 00:00:10,1,2147483648\n", 2, "generatedtokens '2147483648' is no count of tokens"),
        (AZURE + b"2024-05-12 00:00:10,1,99999999999999999999\n", 2, "is no count of tokens"),
        (AZURE + b"\n2024-05-12 00:00:10,1\n", 3, "not 3 fields"),
        (AZURE + b'"2024-05-12 00:00:10","1","2"\n', 2, "is no stamp"),
        (BURST + b"x,m,1,2,3,log\n", 2, "timestamp 'x' is no number of seconds"),
        (BURST + b"nan,m,1,2,3,log\n", 2, "is no number of seconds"),
        (BURST + b"1e99,m,1,2,3,log\n", 2, "is no number of seconds"),
        (BURST + b"5,GPT,4,1,2,3,log\n", 2, "not 6 fields"),
        (
            b'{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1, 2]}\n',
            1,
            "2 hash_ids for 5 tokens",
        ),
        (b'{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": []}\n', 1, "0 hash_ids for 5 tokens"),
        (b'{"timestamp": 0, "input_length": 5, "output_length": 1}\n', 1, "0 hash_ids for 5 tokens"),
        (b'{"timestamp": 0, "input_length": -5, "output_length": 1, "hash_ids": [1]}\n', 1, "$.input_length"),
        (b'{"timestamp": 0, "output_length": 1, "hash_ids": [1]}\n', 1, "input_length"),
        (b'{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [-1]}\n', 1, "$.hash_ids[0]"),
        (b'{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [4294967296]}\n', 1, "$.hash_ids[0]"),
        (b'{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1]\n', 1, "truncated"),
        (b'{"timestamp": 0, "more": ' + b"[" * 20_000 + b"\n", 1, "recursion"),
    ],
)
def test_a_broken_row_is_named_with_its_line(content: bytes, line: int, words: str, tmp_path: Path) -> None:
    first = refusal(tmp_path / "trace", content)[0]
    assert first.startswith(f"{line}: ")
    assert words in first


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n\n", "is empty"),
        (AZURE, "holds no request"),
        (BURST + b"1,m,5,0,5,log\n", "1 left out: the request failed"),
        (b"hello\n", "is not how a trace begins: 'hello'"),
        (b"TIMESTAMP,ContextTokens\n", "is not how a trace begins"),
        (b"\x00\xff\xfe binary", "is not how a trace begins"),
        (b"\x1f\x8b\x08 not gzip", "cannot be read"),
        (gzip.compress(AZURE + b"2024-05-12 00:00:10,1,2\n" * 99)[:-9], "cannot be read"),
        (b"SQLite format 3\0 but not really", "not a readable journal"),
    ],
)
def test_what_is_no_trace_is_refused_in_words(content: bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal(tmp_path / "trace", content)[0]


def test_a_missing_file_a_directory_and_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TraceError, match="cannot be read"):
            read_trace(path)
    with pytest.raises(TraceError, match="no traces of kind 'tarot'; write one of auto, azure"):
        read_trace(tmp_path, "tarot")
    with pytest.raises(TraceError, match="no journal there"):
        read_trace(tmp_path / "none", "journal")


def test_a_kind_that_is_named_is_held_to(tmp_path: Path) -> None:
    path = burstgpt(tmp_path / "trace", [Row(0, 1, 1)])
    with pytest.raises(TraceError, match="the header has no column contexttokens and no generatedtokens"):
        read_trace(path, "azure")
    assert len(read_trace(path, "burstgpt")) == 1


def test_only_the_first_broken_rows_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    told = refusal(tmp_path / "trace", AZURE + b"yesterday,1,2\n" * 40)
    assert [line.split(":")[0] for line in told[:5]] == ["2", "3", "4", "5", "6"]
    assert "and 35 more broken rows close by" in told[5]
    assert len(told) == 6


def test_a_broken_row_far_down_is_found_by_its_line(tmp_path: Path) -> None:
    path = azure_2023(tmp_path / "trace", [Row(0, 1, 1)] * 30_000)
    assert refusal(path, path.read_bytes() + b"\n\n2023,1,2\n")[0].startswith("30004: ")
    path = mooncake(tmp_path / "moon", [Row(0, 1, 1, blocks=(1,))] * 30_000)
    assert refusal(path, path.read_bytes() + b"\n{}\n")[0].startswith("30002: ")


def test_a_trace_error_is_bad_input_to_whoever_prints_errors() -> None:
    assert issubclass(TraceError, DefinitionErrors)


SAMPLE = json.dumps(mooncake_row(Row(0, 600, 5, blocks=(1, 2)))).encode() + b"\n"


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from([b"", AZURE, BURST, SAMPLE, b"\x1f\x8b", AZURE + b"2024-05-12 00:00:10,1,2\n"]),
    noise=st.binary(max_size=80) | st.text(alphabet='0123456789,.-:+ eTZ\n\r"{}[]', max_size=80).map(str.encode),
)
@example(start=b"", noise=SAMPLE.replace(b"1, 2", b"1 2"))
@example(start=b"", noise=SAMPLE.replace(b"hash_ids", b"hash5ids").replace(b"600", b""))
@example(start=AZURE, noise=b"2024-05-12 00:00:10\n")
@example(start=BURST, noise=b"1,,1,1,,")
def test_garbage_never_ends_in_a_traceback(
    start: bytes, noise: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("noise") / "trace"
    path.write_bytes(start + noise)
    for read in (read_trace, read_windows):
        with contextlib.suppress(TraceError):
            assert len(read(path)) > 0


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_one_changed_byte_of_a_published_row_means_the_same_to_both_readers_of_it(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    at = data.draw(st.integers(0, len(SAMPLE) - 2))
    line = bytearray(SAMPLE)
    line[at] = data.draw(st.sampled_from(b'159 ,:.-[]{}"ae'))
    results = []
    for name, front in (("fast", b""), ("json", b" ")):  # a space in front is JSON, but not as published
        path = tmp_path_factory.mktemp("row") / name
        path.write_bytes(front + bytes(line))
        try:
            trace = read_trace(path)
            results.append((trace.prompt_tokens.tolist(), trace.output_tokens.tolist(), trace.blocks.tolist()))
        except TraceError:
            results.append(None)
    assert results[0] == results[1]


def test_windows_of_all_clients_are_read_by_number_and_time(tmp_path: Path) -> None:
    (tmp_path / "chunk-10-trace.csv").write_text("0,0.5,1.2,Weibull,0.8,1.9\n")
    (tmp_path / "chunk-2-trace.csv").write_text(
        "start,rate,cv,name,a,b\n0,2,1.5,Gamma,0.4,1.1\n300,0,,,,\n600,3,1,Gamma,1,0.3\n"
    )
    (tmp_path / "chunk-2-dataset.json").write_text("{}")
    windows = read_windows(tmp_path)
    assert list(windows) == [
        ClientWindow(0, 0.0, 300.0, 2.0, 1.5, False),
        ClientWindow(0, 600.0, 300.0, 3.0, 1.0, False),
        ClientWindow(1, 0.0, 300.0, 0.5, 1.2, True),
    ]
    assert windows[-2:] == tuple(windows)[1:]
    assert read_windows(tmp_path / "chunk-10-trace.csv")[0].for_s == WINDOW_S


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("0,1\n", "2 fields are too few"),
        ("0,1,1,Pareto,2\n", "'Pareto' is no distribution"),
        ("0,x,1\n", "'x'"),
        ("0,-1,1\n", "not all numbers from 0 up"),
        ("0,1,nan\n", "not all numbers from 0 up"),
        ("0,1,\n", "could not convert"),
        ("600,1,1\n0,1,1\n", "starts at 0 s, and the window before it at 600 s"),
        ("", "holds no window"),
        ("0,0,0\n", "holds no window"),
    ],
)
def test_a_broken_window_is_refused_in_words(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "client.csv"
    path.write_text(content)
    with pytest.raises(TraceError, match=words):
        read_windows(path)
