"""The trained whole, fresh or from an earlier export: guidance layer, face map and U-Net."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from facestudio.codec.patch import PatchCodec
from facestudio.data.shards import PreparedSet
from facestudio.errors import BadOption
from facestudio.faces.face_map import FaceMapper
from facestudio.guidance.attention import (
    GuidanceContext,
    call_unet,
    install_region_attention,
)
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.guidance.mapped_unet import MappedUNet, add_face_map
from facestudio.training.critic import LatentCritic
from facestudio.training.unet_settings import Settings


class Generator(nn.Module):
    """The trained whole: guidance layer, face map and U-Net, called with what a batch holds."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        guidance: HybridGuidance,
        mapper: FaceMapper | None = None,
        critic: LatentCritic | None = None,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.guidance = guidance
        self.mapper = mapper
        self.critic = critic  # what it must please while it is trained; no part of the export
        install_region_attention(unet)

    def forward(
        self,
        noisy: Tensor,
        t: Tensor,
        style: Tensor,
        identity: Tensor,
        masks: Tensor | None,
        faces: Tensor | None,
    ) -> Tensor:
        """Return the prediction (B, C, h, w); style (B, P, S), identity (B, P, D) of P people.

        faces (B, C, h, w): latents of their photos, each where the person stands.
        """
        tokens = self.guidance(style.flatten(0, 1), identity.flatten(0, 1))
        tokens = tokens.unflatten(0, style.shape[:2])  # (B, P, K, W)
        face_map = None if self.mapper is None or faces is None else self.map_faces(faces)
        return call_unet(self.unet, noisy, t, GuidanceContext(tokens, masks, face_map))

    def map_faces(self, faces: Tensor) -> Tensor:
        """Return the face map (B, F, h, w) of canvases on which portraits stand side by side."""
        assert self.mapper is not None
        people = cut_portraits(faces, self.mapper.cells)
        maps = self.mapper(people.flatten(0, 1).contiguous()).unflatten(0, people.shape[:2])
        return torch.cat(maps.unbind(1), dim=-1)


def cut_portraits(canvases: Tensor, cells: int) -> Tensor:
    """Return the portraits (B, people, C, h, cells) that stand side by side on canvases."""
    return canvases.unfold(3, cells, cells).permute(0, 3, 1, 2, 4)


def build_generator(settings: Settings, data: PreparedSet) -> Generator:
    """Return a fresh generator of the right sizes, or the one at `settings.init`.

    A face map is added to a U-Net that had none; its first weights are zero, so that the
    U-Net goes on where it was.
    """
    torch.manual_seed(settings.loop.seed)
    mapper = build_mapper(settings, data) if settings.face_map.features else None
    critic = build_critic(settings, data) if settings.critic.weight else None
    if settings.init is None:
        return Generator(*build_unet(settings, data, mapper), mapper, critic)
    guidance = HybridGuidance.from_pretrained(settings.init / "guidance")
    if (settings.init / "face_map").is_dir():
        unet = MappedUNet.from_pretrained(settings.init / "unet")
        mapper = FaceMapper.from_pretrained(settings.init / "face_map")
        return Generator(unet, guidance, mapper, critic)
    unet = UNet2DConditionModel.from_pretrained(settings.init / "unet")
    if mapper is not None:
        unet = add_face_map(unet, mapper.features)
    return Generator(unet, guidance, mapper, critic)


def build_unet(
    settings: Settings, data: PreparedSet, mapper: FaceMapper | None
) -> tuple[UNet2DConditionModel, HybridGuidance]:
    """Return a fresh U-Net and guidance layer for the set's latents and embeddings."""
    channels = data.arrays["latents"].shape[1]
    chosen = settings.unet
    levels = len(chosen.block_out_channels)
    unet = (UNet2DConditionModel if mapper is None else MappedUNet)(
        sample_size=data.arrays["latents"].shape[-1],
        in_channels=channels + (mapper.features if mapper else 0),
        out_channels=channels,
        block_out_channels=chosen.block_out_channels,
        layers_per_block=chosen.layers_per_block,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        cross_attention_dim=settings.guidance.width,
        attention_head_dim=chosen.heads,  # diffusers' name for the number of heads
        norm_num_groups=chosen.norm_num_groups,
    )
    guidance = HybridGuidance(
        style_dim=data.arrays["style"].shape[1],
        identity_dim=data.arrays["identity"].shape[1],
        n_tokens=settings.guidance.n_tokens,
        width=settings.guidance.width,
    )
    return unet, guidance


def build_critic(settings: Settings, data: PreparedSet) -> LatentCritic:
    """Return a fresh critic of the set's latents and styles."""
    channels, style_dim = (data.arrays[name].shape[1] for name in ("latents", "style"))
    critic = LatentCritic(channels, style_dim, settings.critic.width)
    critic.pace = settings.critic.pace
    return critic


def build_mapper(settings: Settings, data: PreparedSet) -> FaceMapper:
    """Return a fresh face map that sees what the codec's encoder sees. Raises BadOption."""
    if settings.codec is None:
        raise BadOption("face_map needs the codec of the set", hint="set codec = FOLDER")
    codec = PatchCodec.from_pretrained(settings.codec)
    cells = data.arrays["latents"].shape[-1]
    mapper = FaceMapper(
        codec.channels, codec.factor, cells, settings.face_map.width, settings.face_map.features
    )
    mapper.take_projection(codec.mean, codec.basis, codec.scale)
    return mapper
