"""Which weights of the generator are trained, and how its activations are kept.

`all` is the paper's: the guidance layer and the whole U-Net. `adapter` trains the guidance layer
and what reads it, the keys and values of the U-Net's cross-attention, and leaves the base as it is
(3 % of Stable Diffusion 1.5's weights).
"""

from __future__ import annotations

from typing import Literal

from diffusers import UNet2DConditionModel

from facestudio.training.float_attention import checkpoint_alike

Trainable = Literal["all", "adapter"]
READERS = (".attn2.to_k.", ".attn2.to_v.")
MAP_READERS = ("conv_in.", "first_guess.")


def choose_trainable(unet: UNet2DConditionModel, trainable: Trainable, checkpointing: bool) -> None:
    """Freeze what is not trained; with `checkpointing` compute activations twice, to save memory.

    What stands beside the U-Net (guidance layer, face map) is always trained, and so are the layers
    that read a face map, where the U-Net takes more channels than it gives.
    """
    if trainable == "adapter":
        mapped = unet.config.in_channels > unet.config.out_channels
        for name, weight in unet.named_parameters():
            reads = any(reader in name for reader in READERS)
            weight.requires_grad_(reads or (mapped and name.startswith(MAP_READERS)))
    if checkpointing:
        unet.enable_gradient_checkpointing(checkpoint_alike)
