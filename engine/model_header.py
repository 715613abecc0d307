"""What a model's file says of the model, before it is loaded: its shape, its size, and what each sequence will hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ModelError
from engine.ggml_types import FILE_TYPES, TENSOR_TYPES
from engine.gguf import Head, TensorInfo, read_head

_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
_BLOCK = re.compile(r"blk\.(\d{1,4})\.(.+)")
_ATTENTION = ("attn_k.", "attn_kv_a", "attn_k_b")
_RECURRENT = ("ssm_", "time_mix_", "shortconv.", "attn_beta")
_GUESSED = 1024
"""Set in a file type that was guessed."""


@dataclass(frozen=True, slots=True)
class Block:
    """One layer: bytes of its weights, and numbers that it keeps for each sequence."""

    weights_bytes: int
    kv_per_token: int
    """Numbers (f16) for each token of the context."""
    state: int
    """Numbers (f32), whatever the context."""


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """A decoder model as its file describes it."""

    path: Path
    files: int
    name: str
    architecture: str
    parameters: int
    weights_bytes: int
    quantisation: str
    ctx_train: int
    vocabulary: int
    tokens: int
    """Entries of the tokenizer's lists, merges included; they take memory of their own."""
    width: int
    """Numbers of a token's embedding or of its query, whichever has more."""
    heads: int
    """Of the layer that has most."""
    key_width: int
    """Numbers of the keys of one token in the layer that has most; the values' are at most as many."""
    feed_forward: int
    """Numbers of the widest feed-forward layer for one token, experts that work at once together."""
    blocks: tuple[Block, ...]
    output_bytes: int
    """Weights after the last layer; the first to go to a GPU."""
    tied: bool
    """The output matrix is the one of the embeddings; a GPU gets a copy of it."""
    chat_template: bool

    @property
    def about(self) -> str:
        """One line for people. `name` and `architecture` are text from outside."""
        return (
            f"{self.name}: {self.architecture}, {counted(self.parameters)} parameters, {self.quantisation}, "
            f"{len(self.blocks)} layers, trained on {self.ctx_train} tokens"
        )


def read_model(path: Path) -> ModelHeader:
    """The header of the model at `path`; of a model in several files, the first one's path.

    Raises:
        ModelError: a file cannot be read or is damaged, is no language model, or lacks what a decoder needs.
    """
    head = read_head(path)
    facts = _Facts(path, head)
    kind = facts.text("general.type", "model")
    if kind != "model" or facts.text("general.architecture") == "clip":
        raise ModelError(f"{path} holds no model but a part of one (general.type {kind!r}); give the model's own file")
    files = _files(path, facts)
    tensors = (*head.tensors, *(tensor for other in files[1:] for tensor in read_head(other).tensors))
    if not tensors:
        raise ModelError(f"{path} holds no weights, only a vocabulary; give the whole model")
    return _model(path, len(files), facts, tensors)


def check_part(path: Path, kind: str, model: ModelHeader) -> int:
    """The bytes of the weights of an adapter or a projector (`kind`: adapter, mmproj) that shall go with `model`.

    Raises:
        ModelError: it cannot be read, is of another kind, or made for another architecture.
    """
    head = read_head(path)
    facts = _Facts(path, head)
    architecture = facts.text("general.architecture")
    found = facts.text("general.type", "mmproj" if architecture == "clip" else "model")
    if found != kind:
        raise ModelError(f"{path} is of the type {found!r}, and {kind!r} is needed; give another file")
    if kind == "adapter":
        if (what := facts.text("adapter.type")) != "lora":
            raise ModelError(f"{path} is an adapter of the type {what!r}, not 'lora'; give a LoRA adapter")
        if architecture != model.architecture:
            what = f"was made for {architecture!r} and the model is {model.architecture!r}"
            raise ModelError(f"{path} {what}; give one made for this model")
    return sum(tensor.bytes for tensor in head.tensors)


def counted(number: int) -> str:
    """`7.24 B`, `162 M`, `310 K`."""
    for size, unit in ((10**9, " B"), (10**6, " M"), (10**3, " K")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


class _Facts:
    """Metadata by name, checked when asked for."""

    def __init__(self, path: Path, head: Head) -> None:
        self._path, self._head = path, head

    def text(self, key: str, default: str = "") -> str:
        value = self._head.metadata.get(key, default)
        if not isinstance(value, str):
            raise ModelError(
                f"{self._path} has {value!r} for {key}, which should be a text; it is damaged: fetch it again"
            )
        return value[:256]

    def numbers(self, key: str, most: int, default: Iterable[int] = ()) -> tuple[int, ...]:
        """A number, or one for each layer, from 0 to `most`."""
        value = self._head.metadata.get(key)
        if value is None:
            return tuple(default)
        values = value if isinstance(value, tuple) else (value,)
        for one in values:
            if isinstance(one, float | str) or not 0 <= one <= most:
                raise ModelError(
                    f"{self._path} has {one!r} for {key}, which should be 0 to {most}; it is damaged: fetch it again"
                )
        return tuple(int(one) for one in values)

    def number(self, key: str, most: int, default: int = 0) -> int:
        """The largest where there is one for each layer."""
        return max(self.numbers(key, most), default=default)

    def has(self, key: str) -> bool:
        return bool(self._head.metadata.get(key) or self._head.lengths.get(key))

    def length(self, key: str) -> int:
        return self._head.lengths.get(key, 0)


def _files(path: Path, facts: _Facts) -> tuple[Path, ...]:
    """All files of a model that was split."""
    count = facts.number("split.count", 65_535, 1)
    if count < 2:
        return (path,)
    match = _SPLIT.fullmatch(path.name)
    if match is None or int(match[3]) != count:
        raise ModelError(f"{path} is one of {count} files; name it ...-00001-of-{count:05d}.gguf")
    files = tuple(path.with_name(f"{match[1]}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1))
    if facts.number("split.no", 65_535) != 0 or int(match[2]) != 1:
        raise ModelError(f"{path} is not the first of its {count} files; give {files[0].name}")
    for file in files:
        if not file.is_file():
            raise ModelError(f"{path} is one of {count} files and {file.name} is missing; put it beside the first")
    return files


def _model(path: Path, files: int, facts: _Facts, tensors: tuple[TensorInfo, ...]) -> ModelHeader:
    architecture = facts.text("general.architecture")
    if not architecture:
        raise ModelError(f"{path} names no architecture; it is damaged: fetch it again")

    def number(key: str, most: int, default: int = 0) -> int:
        return facts.number(f"{architecture}.{key}", most, default)

    layers, embedding = number("block_count", 1024), number("embedding_length", 1 << 20)
    if not layers or not embedding:
        raise ModelError(f"{path} lacks {architecture}.block_count or .embedding_length; it is damaged: fetch it again")
    kv = _kv_widths(facts, architecture, layers, embedding)
    state = _state(facts, architecture, embedding)
    pure_recurrent = not any(kv)
    inside = [0] * layers
    names: list[set[str]] = [set() for _ in range(layers)]
    outside, output = 0, 0
    for tensor in tensors:
        match = _BLOCK.fullmatch(tensor.name)
        if match and int(match[1]) < layers:
            inside[int(match[1])] += tensor.bytes
            names[int(match[1])].add(match[2])
        else:
            outside += tensor.bytes
            output += tensor.bytes if tensor.name.startswith("output") else 0
    blocks = []
    for index in range(layers):
        recurs = pure_recurrent or any(name.startswith(_RECURRENT) for name in names[index])
        attends = not recurs or any(name.startswith(_ATTENTION) for name in names[index])
        blocks.append(Block(inside[index], kv[index] if attends else 0, state if recurs else 0))
    tokens = facts.length("tokenizer.ggml.tokens")
    embedded = next((tensor.shape[-1] for tensor in tensors if tensor.name == "token_embd.weight"), 0)
    heads = number("attention.head_count", 1 << 16)
    tied = all(tensor.name != "output.weight" for tensor in tensors)
    return ModelHeader(
        path=path,
        files=files,
        name=facts.text("general.name") or path.stem,
        architecture=architecture,
        parameters=sum(tensor.elements for tensor in tensors),
        weights_bytes=sum(inside) + outside,
        quantisation=_quantisation(facts, tensors),
        ctx_train=number("context_length", 1 << 31),
        vocabulary=tokens or number("vocab_size", 1 << 24) or embedded,
        tokens=tokens + facts.length("tokenizer.ggml.merges"),
        width=max(embedding, heads * number("attention.key_length", 1 << 16)),
        heads=heads,
        key_width=max(kv) // (1 if _latent(facts, architecture) else 2),
        feed_forward=max(
            number("feed_forward_length", 1 << 24),
            number("expert_used_count", 1 << 12) * number("expert_feed_forward_length", 1 << 24),
        ),
        blocks=tuple(blocks),
        output_bytes=outside if tied else output,
        tied=tied,
        chat_template=facts.has("tokenizer.chat_template"),
    )


def _latent(facts: _Facts, architecture: str) -> bool:
    """Multi-head latent attention: one compressed row a token stands for keys and values."""
    return facts.has(f"{architecture}.attention.key_length_mla")


def _kv_widths(facts: _Facts, architecture: str, layers: int, embedding: int) -> tuple[int, ...]:
    """Numbers of keys and values for one token, for each layer, as llama.cpp allots them (sliding windows whole)."""

    def of(key: str, most: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        found = facts.numbers(f"{architecture}.attention.{key}", most, default)
        return found * layers if len(found) == 1 else found + (0,) * (layers - len(found))

    heads = of("head_count", 1 << 16)
    kv_heads = of("head_count_kv", 1 << 16, heads)
    usual = (embedding // heads[0] if heads[0] else 0,)
    keys = tuple(map(max, of("key_length", 1 << 16, usual), of("key_length_swa", 1 << 16, (0,))))
    values = tuple(map(max, of("value_length", 1 << 16, usual), of("value_length_swa", 1 << 16, (0,))))
    latent = _latent(facts, architecture)
    own = layers - facts.number(f"{architecture}.attention.shared_kv_layers", layers)
    return tuple(
        kv_heads[index] * (keys[index] + (0 if latent else values[index])) if index < own else 0
        for index in range(layers)
    )


def _state(facts: _Facts, architecture: str, embedding: int) -> int:
    """Numbers of a recurrent layer's state for one sequence (Mamba, RWKV, LFM2, Kimi's delta attention)."""

    def number(key: str, default: int = 0) -> int:
        return facts.number(f"{architecture}.{key}", 1 << 20, default)

    if wkv := number("wkv.head_size"):
        return embedding * (number("token_shift_count", 2) + wkv)
    if cache := number("shortconv.l_cache"):
        return embedding * (cache - 1)
    before = max(0, number("ssm.conv_kernel") - 1)
    if head := number("kda.head_dim"):
        heads = number("attention.head_count")
        return heads * head * (3 * (before or 3) + head)
    inner, state = number("ssm.inner_size"), number("ssm.state_size")
    return before * (inner + 2 * number("ssm.group_count") * state) + state * inner


def _quantisation(facts: _Facts, tensors: tuple[TensorInfo, ...]) -> str:
    file_type = facts.number("general.file_type", 1 << 20, -1)
    if file_type >= 0 and (known := FILE_TYPES.get(file_type & ~_GUESSED)):
        return known
    stored: Counter[str] = Counter()
    for tensor in tensors:
        stored[TENSOR_TYPES[tensor.kind].name] += tensor.bytes
    return stored.most_common(1)[0][0]
