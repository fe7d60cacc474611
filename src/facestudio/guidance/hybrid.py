"""Hybrid guidance: one Linear joins style and identity into cross-attention tokens.

The paper's e_i = Linear(e_h || e_f), e_p = Linear(e_T || e_f), e_g = alpha e_i + (1 - alpha) e_p
(FaceStudio, arXiv 2312.02663, section 3.1). The Linear is shared by both branches and affine, so
that blending its results equals blending what goes in. Nothing normalises after it: that would
break this equality.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class HybridGuidance(ModelMixin, ConfigMixin):
    """Join what a picture looks like and who is in it into cross-attention tokens.

    Shapes: style (B, style_dim), identity (B, identity_dim) -> tokens (B, n_tokens, width).
    A zero vector means "not given"; training drops each on its own.
    Source: FaceStudio (arXiv 2312.02663), section 3.1.
    """

    @register_to_config
    def __init__(self, style_dim: int, identity_dim: int, n_tokens: int, width: int) -> None:
        super().__init__()
        self.style_dim = style_dim
        self.identity_dim = identity_dim
        self.n_tokens = n_tokens
        self.width = width
        self.join = nn.Linear(style_dim + identity_dim, n_tokens * width)

    def forward(
        self,
        style: Tensor,
        identity: Tensor,
        style_scale: float = 1.0,
        identity_scale: float = 1.0,
    ) -> Tensor:
        """Tokens (B, n_tokens, width) of style (B, style_dim) and identity (B, identity_dim).

        Each scale multiplies its own embedding before the Linear, so that each acts alone;
        0 is the trained state "not given".
        """
        parts = [style_scale * style, identity_scale * identity]
        joined = self.join(torch.cat(parts, dim=-1))  # (B, n_tokens * width)
        return joined.unflatten(-1, (self.n_tokens, -1))  # (B, n_tokens, width)


def blend(image: Tensor, text: Tensor, alpha: float) -> Tensor:
    """The guidance e_g = alpha e_i + (1 - alpha) e_p, of the shape of both.

    Takes tokens, or the style vectors that go into the Linear: the result is the same guidance.
    alpha = 1 and alpha = 0 give one branch back bit for bit.
    """
    if alpha in (0, 1):
        return image if alpha == 1 else text
    return alpha * image + (1 - alpha) * text
