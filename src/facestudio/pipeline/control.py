"""ControlNets beside the U-Net: a pose, a depth map or edges say where things are.

Source: Zhang et al., arXiv 2302.05543. The networks are diffusers' own. A ControlNet reads the
same guidance as the U-Net does, by plain attention over the first person's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusers import ControlNetModel, MultiControlNetModel
from torch import Tensor, nn

from facestudio.errors import BadModel, BadOption
from facestudio.images import cover, read_picture
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import to_pixels


@dataclass(frozen=True)
class ControlledUNet:
    """The U-Net with ControlNets beside it; called as the U-Net is.

    pictures: (1, 3, H, W) in 0...1 and scales: one for each network.
    """

    unet: Any
    controlnet: MultiControlNetModel
    pictures: Sequence[Tensor]
    scales: Sequence[float]

    def __call__(
        self,
        inputs: Tensor,
        timestep: Tensor,
        *,
        encoder_hidden_states: Tensor,
        cross_attention_kwargs: dict[str, Any],
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """What the U-Net predicts, (B, C, h, w), as the one part of a tuple."""
        rows, channels = len(inputs), self.controlnet.nets[0].config.in_channels
        dtype = self.controlnet.dtype
        down, middle = self.controlnet(
            inputs[:, :channels].to(dtype),
            timestep,
            encoder_hidden_states=encoder_hidden_states.to(dtype),
            controlnet_cond=[p.to(dtype).expand(rows, -1, -1, -1) for p in self.pictures],
            conditioning_scale=list(self.scales),
            return_dict=False,
        )
        prediction: tuple[Tensor] = self.unet(
            inputs,
            timestep,
            encoder_hidden_states=encoder_hidden_states,
            cross_attention_kwargs=cross_attention_kwargs,
            down_block_additional_residuals=[made.to(inputs.dtype) for made in down],
            mid_block_additional_residual=middle.to(inputs.dtype),
            return_dict=return_dict,
        )
        return prediction


def add_control(unet: Any, controlnet: nn.Module | None, request: Request, like: Tensor) -> Any:
    """The U-Net as it is, or under the ControlNets that the request has pictures for.

    Raises BadOption where pictures, scales and networks are not as many, BadModel where a network
    does not read the model's guidance.
    """
    if not request.control_images:
        return unet
    networks = list_networks(controlnet)
    pictures, scales = request.control_images, request.control_scales
    if len(networks) != len(pictures):
        hint = "set pipe.controlnet to a ControlNetModel, or to a MultiControlNetModel of several"
        found = f"{len(pictures)} control pictures for {len(networks)} ControlNets"
        raise BadOption(f"control_image: {found}", hint=hint)
    for network in networks:
        reads, given = network.config.cross_attention_dim, unet.config.cross_attention_dim
        if reads != given:
            message = f"the ControlNet reads tokens of width {reads}, the model gives {given}"
            raise BadModel(message, hint="take a ControlNet for Stable Diffusion 1.5")
    height, width = request.frame
    ready = [to_pixels(cover(read_picture(p), width, height)) / 2 + 0.5 for p in pictures]
    return ControlledUNet(
        unet, MultiControlNetModel(networks), [picture.to(like) for picture in ready], scales
    )


def list_networks(controlnet: nn.Module | None) -> list[ControlNetModel]:
    """The networks of one ControlNet, of several together, or of none."""
    if controlnet is None:
        return []
    nets = getattr(controlnet, "nets", [controlnet])
    return list(nets)
