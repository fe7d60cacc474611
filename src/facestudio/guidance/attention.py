"""Region attention: each person's part of the picture attends to that person's guidance alone.

Instead of Attn(Q, K, V) over the whole picture, F_i = Attn(Q_i, K_i, V_i): Q_i are the positions of
region i, K_i and V_i come from the guidance of person i, and the results go back to their places
(FaceStudio, arXiv 2312.02663, section 3.2). It costs what plain attention costs.

What conditions the U-Net is handed to it at every call and never stored on a module:

    call_unet(unet, x, t, GuidanceContext(tokens, masks))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.errors import BadModel, BadRegion

GUIDANCE = -1  # where keys and values of the guidance itself are kept
Layers = Mapping[nn.Module, tuple[nn.Module, nn.Module]]


@dataclass(frozen=True, eq=False)
class AddedTokens:
    """Tokens that are attended to beside the guidance, with keys and values of their own.

    tokens (B, P, K, W); weights: what each set's attention counts, 0 where it is not given;
    layers: for every cross-attention of the U-Net what makes keys and what makes values.
    Source: decoupled cross-attention of IP-Adapter (arXiv 2308.06721), section 3.2.2.
    """

    tokens: Tensor
    weights: Sequence[float]
    layers: Layers


@dataclass(eq=False)
class GuidanceContext:
    """The guidance of one run of the sampler, with the keys and values made from it.

    tokens (B, P, K, W): P sets, one per person and last the background's, for positions of nobody.
    masks: (people, h, w) at the latent's size, not 0 inside; they may not overlap. None means that
    set 0 serves the whole picture. face_map (B, F, h, w): features of the faces that stand beside
    the latents at the U-Net's input, for models that have one (`face_map.py`). added: further
    tokens in as many sets, for models with adapters (`adapter.py`). style (B, S): the look that is
    meant, for decoders that are told it; the U-Net does not read it. Use one context per picture or
    batch: it keeps keys and values.
    Raises BadRegion where masks overlap, or leave positions to a background that has no tokens.
    """

    tokens: Tensor
    masks: Tensor | None = None
    face_map: Tensor | None = None
    added: Sequence[AddedTokens] = ()
    style: Tensor | None = None
    _kept: dict[tuple[nn.Module, int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)
    _places: dict[int, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._owners = None if self.masks is None else owners_of(self.masks)
        if self._owners is None:
            return
        wanted = int(self._owners.max()) + 1
        if self.tokens.shape[1] < wanted:
            raise BadRegion(
                f"{self.tokens.shape[1]} sets of tokens for {wanted} regions "
                "(background included); give one set per person and one for the background"
            )

    def to(self, dtype: torch.dtype) -> GuidanceContext:
        """The same context in the number type of the U-Net that it is for."""
        added = [replace(one, tokens=one.tokens.to(dtype)) for one in self.added]
        face_map = None if self.face_map is None else self.face_map.to(dtype)
        return GuidanceContext(self.tokens.to(dtype), self.masks, face_map, added, self.style)

    def positions(self, count: int) -> list[Tensor]:
        """Indices into a layer's `count` positions, one vector per set; computed once per size."""
        if count not in self._places:
            self._places[count] = self._find_positions(count)
        return self._places[count]

    def keys_and_values(self, attn: Attention, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, K, head_dim) of set `index`; computed once per module.

        Tokens that are trained keep none: gradient checkpointing computes them a second time.
        """
        if self.tokens.requires_grad and torch.is_grad_enabled():
            return make_keys_and_values(attn, self.tokens[:, index])
        if (attn, index, GUIDANCE) not in self._kept:
            made = make_keys_and_values(attn, self.tokens[:, index])
            self._kept[attn, index, GUIDANCE] = made
        return self._kept[attn, index, GUIDANCE]

    def added_keys_and_values(
        self, attn: Attention, index: int
    ) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Weight, keys and values of each of the added tokens that count in set `index`."""
        for number, added in enumerate(self.added):
            if not added.weights[index]:
                continue
            if (attn, index, number) not in self._kept:
                tokens = added.tokens[:, index].contiguous()
                key, value = (split_heads(make(tokens), attn.heads) for make in added.layers[attn])
                self._kept[attn, index, number] = key, value
            yield added.weights[index], *self._kept[attn, index, number]

    def _find_positions(self, count: int) -> list[Tensor]:
        if self._owners is None:
            return [torch.arange(count, device=self.tokens.device)]
        size = layer_size(count, *self._owners.shape)
        owners = F.interpolate(self._owners[None, None].float(), size, mode="nearest-exact")
        flat = owners.flatten().to(self.tokens.device)
        return [(flat == index).nonzero()[:, 0] for index in range(self.tokens.shape[1])]


def call_unet(unet: Any, latents: Tensor, timestep: Tensor, context: GuidanceContext) -> Tensor:
    """The U-Net's prediction (B, C, h, w) of latents of that shape, under a context."""
    if context.face_map is not None:
        latents = torch.cat([latents, context.face_map], dim=1)
    prediction: Tensor = unet(
        latents,
        timestep,
        encoder_hidden_states=context.tokens[:, 0],
        cross_attention_kwargs={"guidance": context},
        return_dict=False,
    )[0]
    return prediction


def owners_of(masks: Tensor) -> Tensor:
    """For every position the index of the mask it lies in, or their number where in none: (h, w).

    Raises BadRegion if a position lies in two masks (masks: (people, h, w)).
    """
    inside = masks != 0
    if bool((inside.sum(0) > 1).any()):
        raise BadRegion("masks overlap; give every position to one person at most")
    nobody = torch.full_like(inside[0], len(masks), dtype=torch.long)
    index = torch.arange(len(masks), device=masks.device)[:, None, None]
    return torch.where(inside.any(0), (inside * index).sum(0), nobody)


def layer_size(count: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of the layer that has `count` positions in a U-Net over (height, width).

    A U-Net halves by convolutions of stride 2, which round up. Raises BadModel if no halving fits.
    """
    size = (height, width)
    while size[0] * size[1] > count:
        size = (-(-size[0] // 2), -(-size[1] // 2))
    if size[0] * size[1] != count:
        raise BadModel(
            f"a layer with {count} positions is no halving of a latent of {height}×{width}"
        )
    return size


def make_keys_and_values(attn: Attention, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values (B, heads, K, head_dim) of tokens (B, K, W), as diffusers makes them."""
    tokens = tokens.contiguous()
    if attn.norm_cross:
        tokens = attn.norm_encoder_hidden_states(tokens)
    key = split_heads(attn.to_k(tokens), attn.heads)
    value = split_heads(attn.to_v(tokens), attn.heads)
    return (key if attn.norm_k is None else attn.norm_k(key)), value


class RegionAttention:
    """Attention processor that attends by region where it is handed a GuidanceContext.

    Without one, and in self-attention, it calls the processor it stands in for, so that the U-Net
    does bit for bit what it did. It keeps no state: several requests may run at once.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        guidance: GuidanceContext | None = None,
    ) -> Tensor:
        """The attention's output, of the shape of `hidden_states` (B, positions, channels)."""
        if guidance is None or encoder_hidden_states is None:
            return self.inner(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        query = split_heads(attn.to_q(hidden_states), attn.heads)  # (B, heads, positions, d)
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        mixed = attend_by_region(attn, query, guidance).transpose(1, 2).flatten(2)
        mixed = attn.to_out[1](attn.to_out[0](mixed))
        if attn.residual_connection:
            mixed = mixed + hidden_states
        return mixed / attn.rescale_output_factor


def attend_by_region(attn: Attention, query: Tensor, guidance: GuidanceContext) -> Tensor:
    """Each region's queries over its own keys and values, put back in place: shape of `query`.

    query: (B, heads, positions, head_dim). A set without positions costs nothing.
    """
    result = torch.empty_like(query)
    for index, places in enumerate(guidance.positions(query.shape[2])):
        if len(places) == query.shape[2]:
            return attend(attn, query, guidance, index)
        if len(places):
            result[:, :, places] = attend(attn, query[:, :, places], guidance, index)
    return result


def attend(attn: Attention, query: Tensor, guidance: GuidanceContext, index: int) -> Tensor:
    """Attention over set `index` and, weighted, over what is added: of the shape of `query`."""
    result = F.scaled_dot_product_attention(query, *guidance.keys_and_values(attn, index))
    for weight, key, value in guidance.added_keys_and_values(attn, index):
        result = result + weight * F.scaled_dot_product_attention(query, key, value)
    return result


def install_region_attention(unet: UNet2DConditionModel) -> None:
    """Let every attention of `unet` take a GuidanceContext; doing it twice changes nothing.

    Raises BadModel for U-Nets whose cross-attention adds keys of its own (added_kv).
    """
    for name, attn in _attentions(unet):
        if attn.added_kv_proj_dim is not None:
            raise BadModel(f"{name} adds keys of its own; region attention needs plain attention")
        if not isinstance(attn.processor, RegionAttention):
            attn.set_processor(RegionAttention(attn.processor))


def remove_region_attention(unet: UNet2DConditionModel) -> None:
    """Give every attention of `unet` back the processor it had."""
    for _, attn in _attentions(unet):
        if isinstance(attn.processor, RegionAttention):
            attn.set_processor(attn.processor.inner)


def _attentions(unet: UNet2DConditionModel) -> Sequence[tuple[str, Attention]]:
    named = unet.named_modules()
    return [(name, module) for name, module in named if isinstance(module, Attention)]


def split_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
