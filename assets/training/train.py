"""The training run: warm-up, a slow decay, a linear cool-down; checkpoints that a killed run goes on from."""

from __future__ import annotations

import contextlib
import os
import random
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from assets.training.corpus import BASE_WEIGHTS, FOCUS_WEIGHTS, Batches, Encoder, Example, draw, text_of
from assets.training.crew import Crew
from assets.training.export import write_gguf
from assets.training.model import Decoder, Shape
from assets.training.optimizer import Optimizer
from assets.training.tokenizer import train_tokenizer


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result; `work` holds the checkpoint and is not part of it.

    `steps` on the whole mix are followed by `focus_steps` on what is learned last.
    """

    seed: int
    steps: int
    focus_steps: int
    shape: Shape
    work: Path
    tokens_per_step: int = 4096
    decay_from: int = 300
    cooldown_share: float = 0.25
    prompt_loss_steps: int = 2000
    prompt_loss_weight: float = 0.5
    matrix_lr: float = 0.01
    embed_lr: float = 2e-3
    focus_factor: float = 0.25
    check_every: int = 200

    def factor(self, step: int) -> float:
        """Learning rate at `step` relative to its peak: up, down with the root of the step, then in a line to 0."""
        if step >= self.steps:
            again = step - self.steps
            return self.focus_factor * min((again + 1) / 60, 1.0) * (1 - again / self.focus_steps)
        slow = min((step + 1) / 60, 1.0, (self.decay_from / (step + 1)) ** 0.5)
        return slow * min(1.0, (self.steps - step) / max(1.0, self.steps * self.cooldown_share))


def make_tokenizer(recipe: Recipe) -> Tokenizer:
    """The tokenizer of this seed, kept beside the checkpoint."""
    path = recipe.work / "tokenizer.json"
    if not path.exists():
        rng = random.Random(f"tokenizer:{recipe.seed}")
        kinds = [kind for kind in BASE_WEIGHTS if kind != "odd"]
        texts = [text for _ in range(12_000) for text in text_of(draw(rng, rng.choice(kinds)))]
        train_tokenizer(texts, recipe.shape.vocab).save(str(path))
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def pad(examples: list[Example], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens (n, size + 1), answer mask (n, size)): mask[i, t] says that token t + 1 is the model's to say."""
    tokens = torch.zeros(len(examples), size + 1, dtype=torch.long)
    mask = torch.zeros(len(examples), size, dtype=torch.bool)
    for row, example in enumerate(examples):
        tokens[row, : len(example.ids)] = torch.tensor(example.ids)
        mask[row, : len(example.ids) - 1] = torch.tensor(example.answer[1:])
    return tokens, mask


def half() -> contextlib.AbstractContextManager[object]:
    """bfloat16 where the processor multiplies it in hardware, else float32."""
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast("cpu", dtype=torch.bfloat16) if fast else contextlib.nullcontext()


@torch.no_grad()
def accuracy(model: Decoder, encoder: Encoder, kind: str, seed: str, count: int) -> float:
    """Share of exact last answers. A greedy answer is exact when every token is the best one after the true ones."""
    rng = random.Random(f"check:{seed}:{kind}")
    examples = sorted((encoder.encode(draw(rng, kind)) for _ in range(count)), key=lambda example: len(example.ids))
    right = 0
    for at in range(0, count, 32):
        part = [example for example in examples[at : at + 32] if len(example.ids) <= model.shape.context]
        if not part:
            continue
        tokens, mask = pad(part, len(part[-1].ids) - 1)
        for row, example in enumerate(part):
            mask[row, : example.last_answer_at - 1] = False
        with half():
            stream = model(tokens[:, :-1])
            best = model.logits(stream[mask]).argmax(-1)
        wrong = torch.zeros(len(part), dtype=torch.bool)
        wrong[mask.nonzero()[:, 0][best != tokens[:, 1:][mask]]] = True
        right += int((~wrong).sum())
    return right / count


def check(model: Decoder, encoder: Encoder, seed: str, crew: Crew) -> dict[str, float]:
    """Accuracy of every kind; each worker measures its share of the kinds."""
    mine = list(FOCUS_WEIGHTS)[crew.rank :: crew.size]
    parts = crew.gather({kind: accuracy(model, encoder, kind, seed, 64) for kind in mine})
    found = {kind: share for part in parts if isinstance(part, dict) for kind, share in part.items()}
    return {kind: found[kind] for kind in FOCUS_WEIGHTS}


def train(recipe: Recipe, crew: Crew) -> tuple[Decoder, Tokenizer]:
    """This worker's part of `recipe`, or of the rest of it when `recipe.work` holds a checkpoint."""
    say = partial(print, flush=True) if crew.rank == 0 else lambda *_: None
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer(recipe)
    encoder = Encoder(tokenizer)
    model = Decoder(recipe.shape)
    optimizer = Optimizer(model, recipe.matrix_lr, recipe.embed_lr)
    batches = Batches(encoder, recipe.tokens_per_step // crew.size, f"{recipe.seed}:{crew.rank}")
    step = spent_tokens = 0
    spent_s = 0.0
    saved = recipe.work / "checkpoint.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=False)
        model.load_state_dict(state["model"])
        optimizer.restore(state["optimizer"])
        batches.restore(state["batches"][crew.rank])
        step, spent_tokens, spent_s = state["step"], state["tokens"], state["seconds"]
        say(f"resumed at step {step}")
    for block in model.blocks:
        block.compile(dynamic=True)
    say(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    loss_mean, begun = 0.0, time.monotonic()
    while step < recipe.steps + recipe.focus_steps:
        if step and step % recipe.check_every == 0:
            exact = check(model, encoder, f"{recipe.seed}:{step}", crew)
            say("  exact " + " ".join(f"{kind} {share:.2f}" for kind, share in exact.items()))
            for kind, base in (BASE_WEIGHTS if step < recipe.steps else FOCUS_WEIGHTS).items():
                batches.weights[kind] = base * (0.25 + min(1.0, 4 * (1 - exact[kind])))
        size, examples = batches.next()
        tokens, mask = pad(examples, size)
        targets = tokens[:, 1:]
        picked, weight = mask, None
        if step < recipe.prompt_loss_steps:
            # Early on the prompt counts too: predicting it is where the model first learns to look back and copy.
            picked = mask | (targets != 0)
            weight = torch.where(mask[picked], 1.0, recipe.prompt_loss_weight)
        with half():
            scores = model.logits(model(tokens[:, :-1])[picked])
        losses = F.cross_entropy(scores.float(), targets[picked], reduction="none")
        loss = losses.mean() if weight is None else (losses * weight).sum() / weight.sum()
        loss.backward()
        crew.average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(recipe.factor(step))
        step += 1
        spent_tokens += crew.size * sum(len(example.ids) for example in examples)
        loss_mean += (loss.item() - loss_mean) * 0.02 if step > 1 else loss.item()
        if step % 50 == 0:
            wall_s = spent_s + time.monotonic() - begun
            say(
                f"step {step} loss {loss_mean:.4f} tokens {spent_tokens:,} "
                f"{spent_tokens / wall_s:,.0f} tokens/s {wall_s:.0f} s"
            )
        if step % recipe.check_every == 0:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state(),
                "batches": crew.gather(batches.state()),
            }
            state |= {"step": step, "tokens": spent_tokens, "seconds": spent_s + time.monotonic() - begun}
            if crew.rank == 0:
                torch.save(state, saved.with_suffix(".new"))
                os.replace(saved.with_suffix(".new"), saved)
    return model, tokenizer


def train_and_write(recipe: Recipe, out: Path, kind: str, crew: Crew) -> None:
    """One worker's whole life; the first one writes the file."""
    model, tokenizer = train(recipe, crew)
    if crew.rank == 0:
        write_gguf(model, tokenizer, out, kind)
