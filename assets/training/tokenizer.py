"""A byte-level BPE with single digits, trained on the generated text of era A.

llama.cpp splits text the same way under the pre-tokenizer name `smollm`: each digit alone, then the GPT-2 pattern.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTROLS = (END_OF_TEXT, IM_START, IM_END)
PRE_TOKENIZER = "smollm"
CHAT_TEMPLATE = (Path(__file__).parents[1] / "models" / "chat_template.jinja").read_text("utf-8")


def train_tokenizer(texts: Iterable[str], vocab: int) -> Tokenizer:
    """Learn `vocab` tokens, the three controls and the 256 bytes included."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(CONTROLS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Control tokens are placed by hand; text that spells them out must stay text, as it does in the engine.
    tokenizer.encode_special_tokens = True
    return tokenizer
