"""The optimizers a training can choose, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn

from facestudio.errors import BadOption

if TYPE_CHECKING:
    from facestudio.training.loop import LoopSettings

OptimizerName = Literal["adamw", "adamw8bit", "adafactor"]
"""adamw: 8 bytes of state a weight. adamw8bit: 2, by bitsandbytes. adafactor: rows
and columns alone (arXiv 1804.04235); its steps are relative to the size of a weight."""

Weights = Sequence[nn.Parameter]


def make_optimizer(model: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    """Return the chosen optimizer over the weights that are trained. Raises BadOption."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if not trained:
        raise BadOption("nothing to train: every weight is frozen")
    makers: dict[str, Callable[[Weights, LoopSettings], torch.optim.Optimizer]] = {
        "adamw": _adamw,
        "adamw8bit": _adamw_8bit,
        "adafactor": _adafactor,
    }
    if settings.optimizer not in makers:
        known = ", ".join(get_args(OptimizerName))
        raise BadOption(f"loop.optimizer is {settings.optimizer!r}; it must be one of {known}")
    return makers[settings.optimizer](trained, settings)


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Return the learning rate of `step`: linear warm-up, a plateau, a cosine to zero."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    left = (settings.steps - step) / max(1.0, settings.decay * settings.steps)
    return settings.lr * warm * (0.5 * (1 - math.cos(math.pi * min(1.0, left))))


def _adamw(trained: Weights, settings: LoopSettings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        trained,
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,  # one pass over the weights: a tenth of a step on a CPU
    )


def _adafactor(trained: Weights, settings: LoopSettings) -> torch.optim.Optimizer:
    return torch.optim.Adafactor(trained, lr=settings.lr, weight_decay=settings.weight_decay)


def _adamw_8bit(trained: Weights, settings: LoopSettings) -> torch.optim.Optimizer:
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
