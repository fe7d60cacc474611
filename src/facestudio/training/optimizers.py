"""The optimizers a training can choose, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from facestudio.errors import BadOption

if TYPE_CHECKING:
    from facestudio.training.loop import LoopSettings

OptimizerName = Literal["adamw", "adamw8bit", "adafactor"]
"""adamw: 8 bytes of state a weight. adamw8bit: 2, by bitsandbytes. adafactor: rows
and columns alone (arXiv 1804.04235); its steps are relative to the size of a weight."""

Groups = Sequence[dict[str, Any]]
PACE = "pace"  # of a group: its learning rate over the loop's


def make_optimizer(model: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    """Return the chosen optimizer over the weights that are trained. Raises BadOption.

    A part of the model that has a number `pace` learns so many times as fast as the rest.
    """
    trained = group_by_pace(model)
    if not trained:
        raise BadOption("nothing to train: every weight is frozen")
    makers: dict[str, Callable[[Groups, LoopSettings], torch.optim.Optimizer]] = {
        "adamw": _adamw,
        "adamw8bit": _adamw_8bit,
        "adafactor": _adafactor,
    }
    if settings.optimizer not in makers:
        known = ", ".join(get_args(OptimizerName))
        raise BadOption(f"loop.optimizer is {settings.optimizer!r}; it must be one of {known}")
    return makers[settings.optimizer](trained, settings)


def group_by_pace(model: nn.Module) -> list[dict[str, Any]]:
    """Return the optimizer's groups: the weights that are trained, by the pace of their part."""
    paces: dict[nn.Parameter, float] = {}
    for part in model.modules():  # outer ones first
        if (pace := getattr(part, PACE, None)) is not None:
            paces |= dict.fromkeys(part.parameters(), float(pace))
    groups: dict[float, list[nn.Parameter]] = {}
    for weight in model.parameters():
        if weight.requires_grad:
            groups.setdefault(paces.get(weight, 1.0), []).append(weight)
    return [
        {"params": weights} | ({} if pace == 1.0 else {PACE: pace})
        for pace, weights in groups.items()
    ]


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Return the learning rate of `step`: linear warm-up, a plateau, a cosine to zero."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    left = (settings.steps - step) / max(1.0, settings.decay * settings.steps)
    return settings.lr * warm * (0.5 * (1 - math.cos(math.pi * min(1.0, left))))


def _adamw(trained: Groups, settings: LoopSettings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        trained,
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,  # one pass over the weights
    )


class MatrixAdafactor(torch.optim.Adafactor):
    """torch's Adafactor over matrices: a convolution's weight is (out, in * height * width).

    torch factors a weight's last two dimensions: for a 3 × 3 convolution that keeps two thirds of a
    copy, and on a CPU it took more than half of a full-size step.
    """

    def step(self, closure: Any = None) -> Any:
        """As torch's, on matrices; shards of weights (DTensor) are left as they are."""
        weights = [weight for group in self.param_groups for weight in group["params"]]
        deep = [w for w in weights if w.ndim > 2 and w.grad is not None and type(w.data) is Tensor]
        shapes = [weight.shape for weight in deep]
        for weight in deep:
            _reshape(weight, (len(weight), -1))
        try:
            return super().step(closure)
        finally:
            for weight, shape in zip(deep, shapes, strict=True):
                _reshape(weight, shape)


def _reshape(weight: nn.Parameter, shape: Sequence[int]) -> None:
    """Give a weight and its gradient another shape, in place."""
    gradient, weight.grad = weight.grad, None
    weight.data = weight.data.reshape(shape)
    weight.grad = None if gradient is None else gradient.reshape(shape)


def _adafactor(trained: Groups, settings: LoopSettings) -> torch.optim.Optimizer:
    return MatrixAdafactor(trained, lr=settings.lr, weight_decay=settings.weight_decay)


def _adamw_8bit(trained: Groups, settings: LoopSettings) -> torch.optim.Optimizer:
    try:
        bitsandbytes = import_module("bitsandbytes")
    except ImportError as problem:
        raise BadOption(
            "loop.optimizer is adamw8bit, which needs bitsandbytes",
            hint="pip install bitsandbytes, or choose adafactor",
        ) from problem
    made: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(
        trained, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
    )
    return made
