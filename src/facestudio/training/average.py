"""The moving average of trained weights, which is what a training exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Means of a model's trained weights and its running statistics; frozen weights are not kept.

    `decay` 0 keeps nothing: the trained weights are then the average. Sharded weights (DTensor)
    are averaged where they lie.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.means = {name: value.clone() for name, value in self._kept(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the means towards the weights after `step` steps; early steps weigh more."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in self._kept(model).items():
            mean = self.means[name]
            if mean.dtype.is_floating_point:
                mean.lerp_(value.to(mean.dtype), 1 - decay)
            else:
                mean.copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[nn.Module]:
        """The model with the means as its weights, in eval mode; after, all is as it was."""
        was_training = model.training
        self._exchange(model)
        try:
            yield model.eval()
        finally:
            self._exchange(model)
            model.train(was_training)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the means by the names of the weights."""
        return self.means

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the means from a state that names them, and perhaps more. Raises KeyError."""
        with torch.no_grad():
            for name, mean in self.means.items():
                mean.copy_(state[name])

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        """Swap weights and means, one at a time, so that no third copy is held."""
        for name, value in self._kept(model).items():
            held = value.clone()
            value.copy_(self.means[name])
            self.means[name].copy_(held)

    def _kept(self, model: nn.Module) -> dict[str, Tensor]:
        if not self.decay:
            return {}
        frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
        state = model.state_dict()
        return {name: value.detach() for name, value in state.items() if name not in frozen}
