"""Write the model as GGUF: quantised matrices, float32 norms, the tokenizer and the chat template."""

from __future__ import annotations

import json
import os
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer

from assets.training.model import Decoder
from assets.training.tokenizer import CHAT_TEMPLATE, CONTROLS, END_OF_TEXT, IM_END, PRE_TOKENIZER

# name on the command line -> the type of every matrix, and of the file
KINDS = {
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
}
NAMES = {
    "attn_norm": "attn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "ffn_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def tensor_name(ours: str) -> str:
    """blocks.3.gate.weight -> blk.3.ffn_gate.weight"""
    match ours.split("."):
        case ["embed", _]:
            return "token_embd.weight"
        case ["norm", _]:
            return "output_norm.weight"
        case ["blocks", index, part, _]:
            return f"blk.{index}.{NAMES[part]}.weight"
    raise ValueError(f"{ours}: no such tensor in the Llama architecture; add it to NAMES")


def write_gguf(model: Decoder, tokenizer: Tokenizer, path: Path, kind: str = "q8_0") -> None:
    """Write to a temporary name beside `path` and move it there in one step; `kind` is a key of KINDS."""
    shape = model.shape
    matrix_type, file_type = KINDS[kind]
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(str(part), "llama")
    writer.add_name("Seatrial demo")
    writer.add_description("A small model trained on generated data, to try a sea trial with")
    writer.add_author("The Seatrial authors")
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_size_label(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}M")
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.vocab)
    _add_tokenizer(writer, tokenizer)
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy().astype(np.float32)
        if values.ndim == 2:
            writer.add_tensor(tensor_name(name), gguf.quants.quantize(values, matrix_type), raw_dtype=matrix_type)
        else:
            writer.add_tensor(tensor_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(part, path)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    tokens = [tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size())]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in CONTROLS else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    end = tokenizer.token_to_id(IM_END)
    writer.add_bos_token_id(tokenizer.token_to_id(END_OF_TEXT))
    writer.add_eos_token_id(end)
    writer.add_eot_token_id(end)
    writer.add_pad_token_id(tokenizer.token_to_id(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
