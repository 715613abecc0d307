"""The head of a GGUF file: read right, quickly, and without trust."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config import DEMO_MODEL
from engine.decode.bindings import L
from engine.errors import ModelError
from engine.ggml_types import TENSOR_TYPES
from engine.gguf import LONGEST_TEXT_BYTES, read_head
from engine.model_header import ModelHeader, check_part, counted, read_model

NUMBERS = {int: (4, "<I"), float: (6, "<f"), bool: (7, "<?")}
DEMO = DEMO_MODEL.read_bytes()
DEMO_HEAD = len(DEMO) - 2_560_000
"""Some of the demo model's weights come before this, all of its head as well."""

Entry = tuple[str, int | float | bool | str | list[int] | list[str]]
Tensor = tuple[str, tuple[int, ...], int]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, value: int | float | bool | str | list[int] | list[str]) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, list):
        kind = 8 if value and isinstance(value[0], str) else 4
        items = b"".join(text(item) if isinstance(item, str) else struct.pack("<I", item) for item in value)
        return text(key) + struct.pack("<IIQ", 9, kind, len(value)) + items
    kind, form = NUMBERS[type(value)]
    return text(key) + struct.pack("<I", kind) + struct.pack(form, value)


def gguf(entries: Sequence[Entry] = (), tensors: Sequence[Tensor] = ()) -> bytes:
    """A whole file, its weights all zero."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    head += b"".join(entry(*one) for one in entries)
    offset = 0
    for name, shape, kind in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        count = 1
        for side in shape:
            count *= side
        offset += -(-count // TENSOR_TYPES[kind].block * TENSOR_TYPES[kind].bytes // 32) * 32
    return head + bytes(-len(head) % 32) + bytes(offset)


LLAMA: tuple[Entry, ...] = (
    ("general.architecture", "llama"),
    ("llama.block_count", 2),
    ("llama.embedding_length", 64),
    ("llama.attention.head_count", 4),
    ("llama.attention.head_count_kv", 2),
    ("llama.context_length", 512),
)
WEIGHTS: tuple[Tensor, ...] = (
    ("token_embd.weight", (64, 100), 0),
    ("blk.0.attn_k.weight", (64, 32), 8),
    ("blk.1.attn_k.weight", (64, 32), 8),
    ("output.weight", (64, 100), 8),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def model_of(file: Path, entries: Sequence[Entry], tensors: Sequence[Tensor] = WEIGHTS) -> ModelHeader:
    """LLAMA with `entries` put over it."""
    names = {name for name, _ in entries}
    file.write_bytes(gguf([one for one in LLAMA if one[0] not in names] + list(entries), tensors))
    return read_model(file)


def refusal(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_model(file)
    return str(caught.value)


def test_the_demo_model_is_described_as_llama_cpp_describes_it() -> None:
    model = read_model(DEMO_MODEL)
    params = L.llama_model_default_params()
    loaded = L.llama_model_load_from_file(os.fsencode(DEMO_MODEL), params)
    try:
        assert model.parameters == L.llama_model_n_params(loaded)
        assert model.weights_bytes == L.llama_model_size(loaded)
        assert model.ctx_train == L.llama_model_n_ctx_train(loaded)
        assert len(model.blocks) == L.llama_model_n_layer(loaded)
        assert model.heads == L.llama_model_n_head(loaded)
        assert model.width == L.llama_model_n_embd(loaded)
        assert model.vocabulary == L.llama_vocab_n_tokens(L.llama_model_get_vocab(loaded))
        assert model.quantisation == L.llama_ftype_name(L.llama_model_ftype(loaded)).decode()
        assert model.chat_template is bool(L.llama_model_chat_template(loaded, None))
    finally:
        L.llama_model_free(loaded)


@pytest.mark.parametrize("kind", TENSOR_TYPES)
def test_every_tensor_type_has_the_size_that_ggml_gives_it(kind: int) -> None:
    lib = L._lib
    lib.ggml_type_name.restype, lib.ggml_type_size.restype = ctypes.c_char_p, ctypes.c_size_t
    lib.ggml_blck_size.restype = ctypes.c_int64
    stored = TENSOR_TYPES[kind]
    assert lib.ggml_type_name(kind).decode().upper() == stored.name.upper()
    assert (lib.ggml_blck_size(kind), lib.ggml_type_size(kind)) == (stored.block, stored.bytes)


def test_texts_and_arrays_are_kept_as_far_as_they_are_short(file: Path) -> None:
    entries: list[Entry] = [("a", 1.5), ("b", True), ("c", "x" * 10_000), ("d", [1, 2]), ("e", list(range(5000)))]
    file.write_bytes(gguf([*entries, ("f", ["one", "two"]), ("g", 7)]))
    head = read_head(file)
    assert head.metadata == {"a": 1.5, "b": True, "c": "x" * LONGEST_TEXT_BYTES, "d": (1, 2), "g": 7}
    assert head.lengths == {"d": 2, "e": 5000, "f": 2}


def test_a_large_vocabulary_is_walked_over_in_milliseconds_and_not_built(file: Path) -> None:
    texts = [f"token {number}" + "x" * (number % 300) for number in range(150_000)]
    file.write_bytes(gguf([("tokenizer.ggml.tokens", texts), ("last", 5)]))
    best_s = 9.9
    for _ in range(5):
        begun = time.process_time()
        head = read_head(file)
        best_s = min(best_s, time.process_time() - begun)
    assert head.metadata == {"last": 5}
    assert head.lengths == {"tokenizer.ggml.tokens": 150_000}
    assert best_s < 0.2  # 20 ms where nothing else runs


def test_layers_may_differ_in_heads_and_some_keep_nothing(file: Path) -> None:
    model = model_of(file, [("llama.attention.head_count_kv", [2, 0])])
    assert [block.kv_per_token for block in model.blocks] == [2 * (16 + 16), 0]


def test_key_and_value_lengths_of_their_own_count_and_sliding_windows_are_whole(file: Path) -> None:
    own: list[Entry] = [("llama.attention.key_length", 24), ("llama.attention.value_length", 8)]
    model = model_of(file, own)
    assert model.blocks[0].kv_per_token == 2 * (24 + 8)
    assert model.width == 4 * 24
    model = model_of(file, [*own, ("llama.attention.key_length_swa", 48)])
    assert model.blocks[0].kv_per_token == 2 * (48 + 8)


def test_compressed_attention_keeps_one_row_for_keys_and_values(file: Path) -> None:
    latent: list[Entry] = [("llama.attention.key_length", 576), ("llama.attention.key_length_mla", 192)]
    model = model_of(file, [*latent, ("llama.attention.head_count_kv", 1)])
    assert model.blocks[0].kv_per_token == 576


def test_layers_that_share_keys_with_others_have_none_of_their_own(file: Path) -> None:
    model = model_of(file, [("llama.attention.shared_kv_layers", 1)])
    assert [block.kv_per_token > 0 for block in model.blocks] == [True, False]


def test_a_recurrent_layer_keeps_a_state_instead_of_keys(file: Path) -> None:
    ssm: list[Entry] = [("llama.ssm.conv_kernel", 4), ("llama.ssm.inner_size", 128), ("llama.ssm.state_size", 16)]
    tensors = [*WEIGHTS[:2], ("blk.1.ssm_in.weight", (64, 32), 8), WEIGHTS[3]]
    model = model_of(file, ssm, tensors)
    assert [block.kv_per_token for block in model.blocks] == [64, 0]
    assert [block.state for block in model.blocks] == [0, 3 * 128 + 16 * 128]


def test_a_model_without_an_output_matrix_uses_its_embeddings_again(file: Path) -> None:
    assert not model_of(file, []).tied
    tied = model_of(file, [], WEIGHTS[:3])
    assert tied.tied
    assert tied.output_bytes == 64 * 100 * 4


def test_a_file_type_that_is_not_known_gives_way_to_what_most_weights_are(file: Path) -> None:
    assert model_of(file, [("general.file_type", 15)]).quantisation == "Q4_K_M"
    assert model_of(file, [("general.file_type", 1024 + 7)]).quantisation == "Q8_0"
    assert model_of(file, [("general.file_type", 999)]).quantisation == "F32"


def test_a_model_in_several_files_is_read_as_one_and_a_missing_one_is_named(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2))
    first.write_bytes(gguf([*LLAMA, ("split.count", 2), ("split.no", 0)], WEIGHTS[:2]))
    with pytest.raises(ModelError, match=r"m-00002-of-00002\.gguf is missing"):
        read_model(first)
    second.write_bytes(gguf([("split.count", 2), ("split.no", 1)], WEIGHTS[2:]))
    model = read_model(first)
    assert model.files == 2
    assert model.parameters == 2 * 64 * 100 + 2 * 64 * 32
    with pytest.raises(ModelError, match=r"architecture|not the first"):
        read_model(second)
    with pytest.raises(ModelError, match="name it"):
        read_model(first.rename(tmp_path / "model.gguf"))


def test_parts_of_a_model_are_told_from_models(file: Path, tmp_path: Path) -> None:
    model = model_of(file, [])
    part = tmp_path / "part.gguf"
    part.write_bytes(gguf([("general.type", "adapter"), ("general.architecture", "llama"), ("adapter.type", "lora")],
                          [("blk.0.attn_k.weight.lora_a", (64, 8), 0)]))  # fmt: skip
    assert check_part(part, "adapter", model) == 64 * 8 * 4
    with pytest.raises(ModelError, match="the model's own file"):
        read_model(part)
    with pytest.raises(ModelError, match="'adapter', and 'mmproj' is needed"):
        check_part(part, "mmproj", model)
    with pytest.raises(ModelError, match="'model', and 'adapter' is needed"):
        check_part(file, "adapter", model)
    part.write_bytes(gguf([("general.type", "adapter"), ("general.architecture", "gemma"), ("adapter.type", "lora")]))
    with pytest.raises(ModelError, match="made for 'gemma'"):
        check_part(part, "adapter", model)
    part.write_bytes(gguf([("general.type", "adapter"), ("general.architecture", "llama")]))
    with pytest.raises(ModelError, match="give a LoRA adapter"):
        check_part(part, "adapter", model)
    part.write_bytes(gguf([("general.architecture", "clip")]))
    assert check_part(part, "mmproj", model) == 0


HEAD = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k")
HUGE = (1 << 63) - 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends at byte 0"),
        (b"GGML" + bytes(100), "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE), "entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", HUGE), "a key of"),
        (HEAD + struct.pack("<IQ", 8, HUGE), "bytes of text"),
        (HEAD + struct.pack("<IIQ", 9, 8, HUGE), "texts in an array"),
        (HEAD + struct.pack("<IIQ", 9, 4, HUGE), "numbers in an array"),
        (HEAD + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 9, 1) * 100_000, "type 9"),
        (HEAD + struct.pack("<IIQQ", 9, 8, 2, HUGE) + bytes(64), "in the middle of its head"),
        (HEAD + struct.pack("<I", 13), "type 13"),
        (gguf([("k", 1), ("k", 2)]), "twice"),
        (gguf([("general.alignment", 3)], [("t", (32,), 0)]), "alignment 3"),
        (gguf(LLAMA), "only a vocabulary"),
        (gguf([], WEIGHTS), "names no architecture"),
        (gguf([("general.architecture", 5)], WEIGHTS), "should be a text"),
        (gguf([("general.architecture", "llama")], WEIGHTS), "block_count"),
        (gguf([*LLAMA[:1], ("llama.block_count", 1 << 30)], WEIGHTS), "0 to 1024"),
        (gguf([*LLAMA[:1], ("llama.block_count", 2.5)], WEIGHTS), "2.5"),
        (gguf([*LLAMA[:1], ("llama.block_count", "two")], WEIGHTS), "two"),
        (gguf(LLAMA, WEIGHTS)[:-64], "download or copy is not complete"),
        (gguf(LLAMA, [*WEIGHTS, WEIGHTS[0]]), "twice"),
        (gguf(LLAMA, WEIGHTS).replace(b"\x40" + bytes(7), struct.pack("<Q", HUGE), 1), "shape"),
        (gguf(LLAMA, WEIGHTS).replace(b"\x40" + bytes(7), bytes(8), 1), "shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_with_its_name_and_what_to_do(file: Path, content: bytes, said: str) -> None:
    told = refusal(file, content)
    assert said in told
    assert str(file) in told
    assert "; " in told


def test_an_unknown_tensor_type_is_refused_by_number(file: Path) -> None:
    content = gguf(LLAMA, [("t", (32,), 0)])
    old = struct.pack("<IQIQ", 1, 32, 0, 0)
    assert "type 99" in refusal(file, content.replace(old, struct.pack("<IQIQ", 1, 32, 99, 0)))


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero"), tmp_path / "none", tmp_path / ("x" * 300)):
        with pytest.raises(ModelError, match=r"regular|cannot be read"):
            read_model(path)


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, DEMO_HEAD),
            st.binary(min_size=1, max_size=9) | st.integers(0, (1 << 64) - 1).map(lambda n: n.to_bytes(8, "little")),
        ),
        max_size=4,
    ),
    end=st.one_of(st.just(len(DEMO)), st.integers(0, DEMO_HEAD)),
)  # fmt: skip
def test_a_mutated_file_is_read_or_refused_with_a_reason(
    file: Path, changes: list[tuple[int, bytes]], end: int
) -> None:
    content = bytearray(DEMO)
    for at, data in changes:
        content[at : at + len(data)] = data
    file.write_bytes(content[:end])
    begun = time.process_time()
    try:
        model = read_model(file)
        assert model.weights_bytes > 0
        assert "parameters" in model.about
    except ModelError as error:
        assert str(file) in str(error)  # noqa: PT017  # reading it whole is as good
    assert time.process_time() - begun < 2.0


def test_numbers_of_parameters_are_short() -> None:
    assert [counted(n) for n in (7, 1_234, 2_411_712, 8_030_000_000)] == ["7", "1.23 K", "2.41 M", "8.03 B"]
