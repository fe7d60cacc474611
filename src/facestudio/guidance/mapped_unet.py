"""A U-Net that takes a face map beside the latents, and starts from what the map alone says.

With noise all over, a prediction is nothing but a guess of the clean latents. A linear layer makes
that guess from the face map, and the U-Net learns what is missing: so the face is there from the
first step, and does not have to find its way through every block.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import (
    UNet2DConditionModel,
    UNet2DConditionOutput,
)
from torch import Tensor, nn

TIMES = 1000  # steps of noise that the weights are known for


class MappedUNet(UNet2DConditionModel):
    """diffusers' U-Net whose input channels beyond its output channels are a face map.

    forward takes (B, C + F, h, w) and gives the prediction (B, C, h, w), to which a convolution of
    the map has been added, weighted by time as the prediction type wants a clean picture
    (`take_schedule`). A map of zeros adds nothing.
    """

    # diffusers reads the names of the config from the signature.
    @functools.wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        features = self.config.in_channels - self.config.out_channels
        self.first_guess = nn.Conv2d(features, self.config.out_channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.first_guess.weight)
        self.register_buffer("guess_weights", torch.zeros(TIMES))

    def take_schedule(self, alphas_cumprod: Tensor, prediction_type: str) -> None:
        """Set how much a guess of the clean latents counts at each time (TIMES,)."""
        signal, noise = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
        weights = {
            "v_prediction": -noise,
            "epsilon": -signal / noise,
            "sample": torch.ones_like(signal),
        }
        self.guess_weights.copy_(weights[prediction_type])

    def forward(
        self, sample: Tensor, timestep: Any, *args: Any, return_dict: bool = True, **options: Any
    ) -> Any:
        """As UNet2DConditionModel.forward."""
        prediction = super().forward(sample, timestep, *args, return_dict=False, **options)[0]
        face_map = sample[:, self.config.out_channels :]
        prediction = prediction + self.weights_at(timestep) * self.first_guess(face_map)
        return UNet2DConditionOutput(prediction) if return_dict else (prediction,)

    def weights_at(self, timestep: Any) -> Tensor:
        """The weights (B, 1, 1, 1) or (1, 1, 1, 1) at a time or at a batch of times."""
        times = torch.as_tensor(timestep, device=self.guess_weights.device).reshape(-1)
        return self.guess_weights[times.long().clamp(0, TIMES - 1)].view(-1, 1, 1, 1)


def add_face_map(unet: UNet2DConditionModel, features: int) -> MappedUNet:
    """The same U-Net with `features` further input channels, which change nothing yet."""
    config = dict(unet.config)
    channels = config["in_channels"]
    mapped = MappedUNet.from_config({**config, "in_channels": channels + features})
    state = unet.state_dict()
    weight = torch.zeros_like(mapped.conv_in.weight)
    weight[:, :channels] = state["conv_in.weight"]
    mapped.load_state_dict({**mapped.state_dict(), **state, "conv_in.weight": weight})
    return mapped


Part = tuple[Tensor, Tensor, Tensor]


def fit_first_guess(parts: Iterable[Part]) -> Tensor:
    """The convolution (C, F, 3, 3) that, weighted, comes nearest to what is missing.

    Each part: face_map (N, F, h, w); weights (N, 1, 1, 1); missing (N, C, h, w), what the U-Net's
    prediction lacks. By least squares over all positions.
    """
    gram, moment = torch.zeros(()).double(), torch.zeros(()).double()
    shape: tuple[int, ...] = ()
    for face_map, weights, missing in parts:
        columns = nn.functional.unfold(face_map, 3, padding=1)  # (N, F * 9, h * w)
        columns = (columns * weights[..., 0]).transpose(1, 2).flatten(0, 1).double()
        wanted = missing.flatten(2).transpose(1, 2).flatten(0, 1).double()
        gram, moment = gram + columns.T @ columns, moment + columns.T @ wanted
        shape = (missing.shape[1], face_map.shape[1], 3, 3)
    ridge = 1e-4 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solution = torch.linalg.solve(gram + ridge, moment)  # (F * 9, C)
    return solution.T.reshape(shape).float()
