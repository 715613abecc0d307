"""Muon for the matrices, AdamW for the embedding and the norms.

Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/) steps along the momentum with its singular values set to
about one, by five Newton-Schulz iterations; matrices of one shape are done together.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from assets.training.model import Decoder


def orthogonalise(matrices: Tensor) -> Tensor:
    """(n, rows, columns) -> the same with singular values near one."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Muon:
    """Nesterov momentum, orthogonalised; decoupled weight decay."""

    def __init__(self, parameters: list[Tensor], momentum: float = 0.95, decay: float = 0.02) -> None:
        self.momentum, self.decay = momentum, decay
        shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            shapes[parameter.shape].append(parameter)
        self.groups = list(shapes.values())
        self.buffers = [torch.zeros(len(group), *group[0].shape) for group in self.groups]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for group, buffer in zip(self.groups, self.buffers, strict=True):
            gradient = torch.stack([parameter.grad for parameter in group if parameter.grad is not None])
            buffer.lerp_(gradient, 1 - self.momentum)
            update = orthogonalise(gradient.lerp(buffer, self.momentum))
            rows, columns = group[0].shape
            scale = lr * max(1.0, rows / columns) ** 0.5
            for parameter, direction in zip(group, update, strict=True):
                parameter.mul_(1 - lr * self.decay).add_(direction, alpha=-scale)


class Optimizer:
    """Both halves behind one step; learning rates are relative to `factor`, the schedule's place in [0, 1]."""

    def __init__(self, model: Decoder, matrix_lr: float, embed_lr: float) -> None:
        matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
        rest = [p for p in model.parameters() if not any(p is q for q in matrices)]
        self.matrix_lr, self.embed_lr = matrix_lr, embed_lr
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(rest, lr=embed_lr, betas=(0.9, 0.95), weight_decay=0.0, eps=1e-10)

    def step(self, factor: float) -> None:
        self.muon.step(self.matrix_lr * factor)
        for group in self.adam.param_groups:
            group["lr"] = self.embed_lr * factor
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        for group in self.muon.groups:
            for parameter in group:
                parameter.grad = None

    def state(self) -> dict[str, object]:
        return {"muon": self.muon.buffers, "adam": self.adam.state_dict()}

    def restore(self, state: dict[str, object]) -> None:
        for buffer, saved in zip(self.muon.buffers, state["muon"], strict=True):  # type: ignore[call-overload]
            buffer.copy_(saved)
        self.adam.load_state_dict(state["adam"])  # type: ignore[arg-type]
