"""Datasets: every shape of row that people have, read when asked for, and refused with file, line and field."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scenarios.dataset import DatasetRow, Message, read_dataset
from scenarios.errors import DatasetError

USER = {"role": "user", "content": "hi"}
SHAPES: list[tuple[dict[str, object], DatasetRow]] = [
    ({"prompt": "hi"}, DatasetRow(prompt="hi")),
    ({"question": "1+1?", "answer": 2}, DatasetRow(prompt="1+1?", expected="2")),
    ({"text": "hi", "max_tokens": 7, "more": [1]}, DatasetRow(prompt="hi", max_tokens=7)),
    (
        {"instruction": "Add.", "input": "1 1", "output": "2", "category": "sums"},
        DatasetRow(prompt="Add.\n\n1 1", expected="2", tags=("sums",)),
    ),
    ({"instruction": "Sing.", "input": "", "tags": ["a", "b"]}, DatasetRow(prompt="Sing.", tags=("a", "b"))),
    ({"prompt": "hi", "completion": "", "tags": "x"}, DatasetRow(prompt="hi", expected="", tags=("x",))),
    ({"messages": [USER]}, DatasetRow(messages=(Message("user", "hi"),))),
    (
        {"messages": [{"role": "system", "content": "Be brief."}, USER, {"role": "assistant", "content": "Hello."}]},
        DatasetRow(messages=(Message("system", "Be brief."), Message("user", "hi"))),
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}]},
        DatasetRow(messages=(Message("user", "hi"),)),
    ),
    (
        {
            "conversations": [
                {"from": "human", "value": "a"},
                {"from": "gpt", "value": "b"},
                {"from": "human", "value": "c"},
                {"from": "gpt", "value": "d"},
            ]
        },
        DatasetRow(messages=(Message("user", "a"), Message("assistant", "b"), Message("user", "c"))),
    ),
    (
        {
            "custom_id": "1",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "m", "messages": [USER], "max_completion_tokens": 9, "temperature": 0.2},
        },
        DatasetRow(messages=(Message("user", "hi"),), max_tokens=9, parameters={"temperature": 0.2}),
    ),
    ({"body": {"prompt": "hi", "seed": 3}}, DatasetRow(prompt="hi", parameters={"seed": 3})),
]


def jsonl(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_every_shape_of_row_is_understood_and_shapes_may_be_mixed(tmp_path: Path) -> None:
    dataset = read_dataset(jsonl(tmp_path / "d.jsonl", [row for row, _ in SHAPES]))
    assert list(dataset) == [row for _, row in SHAPES]
    assert len(dataset) == len(SHAPES)
    assert dataset.answers
    assert dataset.dropped == 0


def test_rows_are_read_by_number_in_any_order(tmp_path: Path) -> None:
    dataset = read_dataset(jsonl(tmp_path / "d.jsonl", [{"prompt": f"number {n}"} for n in range(5000)]))
    assert dataset[4321].prompt == "number 4321"
    assert dataset[-1].prompt == "number 4999"
    assert [row.prompt for row in dataset[7:3:-2]] == ["number 7", "number 5"]
    assert not dataset.answers
    with pytest.raises(IndexError):
        dataset[5000]


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "d.ndjson"
    path.write_text('\ufeff{"prompt": "a"}\r\n\r\n\n{"prompt": "b"}', newline="")
    assert [row.prompt for row in read_dataset(path)] == ["a", "b"]


def test_conversations_in_which_nobody_asks_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        {"conversations": []},
        {"conversations": [{"from": "gpt", "value": "x"}]},
        {"prompt": "a"},
        {"messages": []},
    ]
    dataset = read_dataset(jsonl(tmp_path / "d.jsonl", rows))
    assert [row.prompt for row in dataset] == ["a"]
    assert dataset.dropped == 3


FIELD = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(prompts=st.lists(FIELD, min_size=1, max_size=6), ending=st.sampled_from(["\n", "\r\n"]), quote=st.booleans())
def test_csv_fields_may_hold_anything(
    prompts: list[str], ending: str, quote: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assume(quote or not any("\r" in prompt for prompt in prompts))  # which Python's csv forgets to quote
    path = tmp_path_factory.mktemp("csv") / "d.CSV"
    with path.open("w", newline="", encoding="utf-8") as file:
        style = csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL
        writer = csv.writer(file, lineterminator=ending, quoting=style)
        writer.writerow(["Prompt ", "Answer", "max_tokens", "other"])
        writer.writerows([prompt, f"<{prompt}>", 5, ""] for prompt in prompts)
    rows = list(read_dataset(path))
    assert [row.prompt for row in rows] == prompts
    assert [row.expected for row in rows] == [f"<{prompt}>" for prompt in prompts]
    assert {row.max_tokens for row in rows} == {5}


def test_a_csv_column_of_messages_holds_json_and_an_empty_field_is_none(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["messages", "max_tokens", "answer"], [json.dumps([USER]), "", ""]])
    assert list(read_dataset(path)) == [DatasetRow(messages=(Message("user", "hi"),))]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b'{"prompt": "a"}\n\n{"prompt": 3}\n', 3, "Expected `str | null`, got `int` - at `$.prompt`"),
        (b'{"prompt": "a", "max_tokens": 0}\n', 1, "$.max_tokens"),
        (b'{"messages": [{"role": "user"}]}\n', 1, "messages[0].content is not text"),
        (b'{"messages": [{"role": "user", "content": 1}]}\n', 1, "$.messages[0].content"),
        (b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', 1, "messages[0].content is not text"),
        (b'{"conversations": [{"from": "tool", "value": ""}]}\n', 1, "conversations[0].from is 'tool'; write one of"),
        (b'{"prompt": " "}\n', 1, "prompt is empty"),
        (b'{"prompts": "a"}\n', 1, "none of messages, conversations, body, prompt, question"),
        (b'{"body": {"model": "m"}}\n', 1, "body has neither messages nor a prompt"),
        (b'{"body": {"messages": 3}}\n', 1, "body: Expected `array | null`, got `int` - at `$.messages`"),
        (b'{"url": "/v1/embeddings", "body": {"prompt": "a"}}\n', 1, "url is '/v1/embeddings'"),
        (b'[{"prompt": "a"}]\n', 1, "Expected `object`, got `array`"),
        (b'{"prompt": "\xff"}\n', 1, "utf-8"),
        (b'{"prompt": "a"\n', 1, "truncated"),
    ],
)
def test_a_broken_row_is_named_with_its_line_and_field(content: bytes, line: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read_dataset(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("prompt,answer\na,b\n\nc\n", 4, "1 fields, and the header names 2"),
        ('prompt,answer\n"a\nb",c\n"d,e\nf\n', 4, "never closed"),
        ('prompt\n"a"b\n', 2, "expected after"),
        ("prompt,max_tokens\na,many\n", 2, "$.max_tokens"),
        ("messages\n[{\n", 2, "messages is not JSON"),
        ("question;answer\na;b\n", 2, "none of messages"),
    ],
)
def test_a_broken_csv_row_is_named_with_its_line(content: str, line: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text(content)
    with pytest.raises(DatasetError) as caught:
        read_dataset(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("d.jsonl", b"", "holds no row that asks anything"),
        ("d.csv", b"", "holds no row that asks anything"),
        ("d.csv", b"prompt\n", "holds no row that asks anything"),
        ("d.jsonl.gz", b"", "is no dataset by its name"),
        ("d.txt", b"a", "is no dataset by its name"),
        ("d", b"a", "no ending"),
        ("d.parquet", b"not", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_dataset_is_refused_in_words(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        read_dataset(path)


@pytest.mark.parametrize("name", ["none.jsonl", "none.csv", "none.parquet"])
def test_a_missing_file_is_refused_in_words(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_dataset(tmp_path / name)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(["d.jsonl", "d.csv"]),
    content=st.binary(max_size=60) | st.text(alphabet='prompt,"\n\r {}[]:1\\', max_size=60).map(str.encode),
)
def test_garbage_never_ends_in_a_traceback(name: str, content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("noise") / name
    path.write_bytes(b"prompt,answer\n" * (name == "d.csv") + content)
    try:
        dataset = read_dataset(path)
    except DatasetError:
        return
    assert all(row.prompt or row.messages for row in dataset)


def test_parquet_rows_are_read_like_json(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "d.parquet"
    rows = [
        {"messages": [USER], "max_tokens": 5, "other": 1},
        {"messages": [], "max_tokens": None, "other": 2},
        {"messages": [USER, USER], "max_tokens": None, "other": 3},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=1)
    dataset = read_dataset(path)
    assert list(dataset) == [
        DatasetRow(messages=(Message("user", "hi"),), max_tokens=5),
        DatasetRow(messages=(Message("user", "hi"),) * 2),
    ]
    assert dataset.dropped == 1
    parquet.write_table(pyarrow.Table.from_pylist([{"prompt": "a"}, {"prompt": None}]), path)
    with pytest.raises(DatasetError, match=r"d\.parquet:2: none of messages"):
        read_dataset(path)


def test_without_pyarrow_a_parquet_file_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\n"
        "from scenarios.dataset import read_dataset\n"
        "from scenarios.errors import DatasetError\n"
        "try: read_dataset(Path('d.parquet'))\n"
        "except DatasetError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("pip install 'seatrial[parquet]'")


def test_a_dataset_in_use_keeps_reading_the_file_that_was_opened(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "d.jsonl", [{"prompt": "old"}])
    dataset = read_dataset(path)
    jsonl(tmp_path / "new", [{"prompt": "new, and longer"}]).replace(path)
    assert dataset[0].prompt == "old"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("d.jsonl", b'{"prompt": "old"}\n', b'{"prompt": "new"}\n'), ("d.csv", b"prompt\nold\n", b"prompt\nnew\n")],
)
def test_a_dataset_that_was_changed_in_place_is_not_sent(
    name: str, before: bytes, after: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(before)
    dataset = read_dataset(path)
    path.write_bytes(after)
    os.utime(path, ns=(0, 1))  # another time for certain, however coarse the clock of the file system
    with pytest.raises(DatasetError, match="was changed while it was in use"):
        dataset[0]


@pytest.mark.parametrize("name", ["d.jsonl", "d.csv"])
def test_json_nested_without_end_is_a_broken_row(name: str, tmp_path: Path) -> None:
    deep = "[" * 20_000
    path = tmp_path / name
    path.write_text(f'{{"prompt": "hi", "more": {deep}\n' if name == "d.jsonl" else f'messages\n"{deep}"\n')
    with pytest.raises(DatasetError, match="recursion"):
        read_dataset(path)
