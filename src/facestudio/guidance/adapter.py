"""Public adapters as guidance: IP-Adapter for style, IP-Adapter-FaceID for the face.

They leave Stable Diffusion's text tokens where they are and add tokens with keys and values of
their own to every cross-attention (IP-Adapter, arXiv 2308.06721; FaceID is the same with a
recogniser's vector in place of CLIP's). Trained weights exist, so nothing has to be trained here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import ImageProjection, IPAdapterFaceIDImageProjection
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.errors import BadModel
from facestudio.guidance.attention import Layers

CROSS_ATTENTION = "attn2"


class Adapter(nn.Module):
    """One adapter: vectors (B, dim) -> tokens (B, K, width), and each layer's keys and values.

    `keys` and `values` hold one Linear per cross-attention, in the order of `cross_attentions`.
    """

    def __init__(self, project: nn.Module, width: int, layer_widths: Sequence[int]) -> None:
        super().__init__()
        self.project = project
        self.keys = nn.ModuleList([nn.Linear(width, out, bias=False) for out in layer_widths])
        self.values = nn.ModuleList([nn.Linear(width, out, bias=False) for out in layer_widths])

    def forward(self, vectors: Tensor) -> Tensor:
        tokens: Tensor = self.project(vectors)
        return tokens

    def layers(self, unet: UNet2DConditionModel) -> Layers:
        """For every cross-attention of `unet` what makes its keys and values."""
        makers = zip(self.keys, self.values, strict=True)
        return dict(zip(cross_attentions(unet).values(), makers, strict=True))


class AdapterGuidance(ModelMixin, ConfigMixin):
    """A style adapter, a face adapter, or both, over a U-Net that reads text tokens of `width`.

    style_dim, identity_dim: what goes into each, 0 where there is none. layer_widths: channels of
    every cross-attention. identity_mult: how much wider the face's hidden layer is than its input.
    """

    @register_to_config
    def __init__(
        self,
        width: int,
        layer_widths: Sequence[int],
        style_dim: int = 0,
        style_tokens: int = 4,
        identity_dim: int = 0,
        identity_tokens: int = 4,
        identity_mult: int = 2,
    ) -> None:
        super().__init__()
        if not style_dim and not identity_dim:
            raise BadModel("an adapter model needs a style adapter, a face adapter, or both")
        self.width, self.style_dim, self.identity_dim = width, style_dim, identity_dim
        self.style: Adapter | None = None
        self.face: Adapter | None = None
        if style_dim:
            project = ImageProjection(style_dim, width, style_tokens)
            self.style = Adapter(project, width, layer_widths)
        if identity_dim:
            face = IPAdapterFaceIDImageProjection(
                identity_dim, width, identity_mult, identity_tokens
            )
            self.face = Adapter(face, width, layer_widths)

    def check_layers(self, unet: UNet2DConditionModel) -> None:
        """Raise BadModel unless every cross-attention of `unet` has the width its adapter has."""
        found = layer_widths_of(unet)
        if found != list(self.config.layer_widths):
            raise BadModel(
                f"the adapters are for cross-attention of widths {list(self.config.layer_widths)}, "
                f"the U-Net has {found}; they belong to another kind of base model"
            )


def unit_length(vectors: Tensor) -> Tensor:
    """Identity vectors (..., dim) of length 1, as FaceID was trained on; zero stays zero."""
    return F.normalize(vectors.float(), dim=-1).to(vectors.dtype)


def cross_attentions(unet: UNet2DConditionModel) -> dict[str, nn.Module]:
    """The cross-attentions of `unet` by name, in the order that adapter files number them."""
    named = unet.named_modules()
    return {name: module for name, module in named if name.endswith(f".{CROSS_ATTENTION}")}


def layer_widths_of(unet: UNet2DConditionModel) -> list[int]:
    """The channels of every cross-attention of `unet`."""
    linears = [attn.get_submodule("to_k") for attn in cross_attentions(unet).values()]
    return [linear.out_features for linear in linears if isinstance(linear, nn.Linear)]


def add_lora(unet: UNet2DConditionModel, weights: dict[str, Tensor]) -> None:
    """Add up @ down to each weight of `unet`, in place.

    weights: `NAME.down` (rank, in) and `NAME.up` (out, rank) for the Linear called NAME.
    """
    for name in sorted({key.rpartition(".")[0] for key in weights}):
        linear = unet.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        change = weights[f"{name}.up"].float() @ weights[f"{name}.down"].float()
        with torch.no_grad():
            linear.weight.copy_(linear.weight.float() + change)  # a sum of 16 bits loses small ones
