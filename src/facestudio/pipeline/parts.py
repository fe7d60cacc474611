"""The parts of a model: what each must offer, and that they fit together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from torch import Generator, Tensor, nn

from facestudio.encoders.late import LateEncoder
from facestudio.encoders.looks import LookReader
from facestudio.errors import BadModel
from facestudio.faces.detect import Detector
from facestudio.faces.embed import IdentityEncoder
from facestudio.guidance.adapter import AdapterGuidance
from facestudio.guidance.attention import install_region_attention
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.pipeline.embed_cache import EmbedCache, hash_picture
from facestudio.pipeline.late_codec import LateCodec
from facestudio.pipeline.packed import can_pack, pack, share_first, unpack
from facestudio.pipeline.packed_layers import Packed
from facestudio.pipeline.precision import at_least_fp32
from facestudio.pipeline.request import Limits
from facestudio.pipeline.scene import to_pixels
from facestudio.pipeline.speed import EXACT, SpeedSettings


class Codec(Protocol):
    """Picture <-> latents: `factor` pixels a side are one position of `channels` numbers."""

    factor: int
    channels: int

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents (B, channels, h, w) of pixels (B, 3, H, W) in -1...1."""
        ...

    def decode(self, latents: Tensor, style: Tensor | None = None) -> Tensor:
        """Pixels (B, 3, H, W) in -1...1 of latents; style (B, S): the look that is meant."""
        ...


class ImageEncoder(Protocol):
    """Pixels (B, 3, H, W) in -1...1 become style vectors (B, embed_dim)."""

    embed_dim: int

    def __call__(self, pixels: Tensor) -> Tensor: ...


class TextEncoder(Protocol):
    """Texts become vectors (B, text_dim), or for models with adapters tokens (B, L, text_dim)."""

    text_dim: int

    def __call__(self, texts: Sequence[str]) -> Tensor: ...


class Prior(Protocol):
    """Text vectors are brought into the space of style vectors."""

    def sample(
        self, text: Tensor, *, steps: int, generator: list[Generator], guidance: float
    ) -> Tensor:
        """Style vectors (B, style_dim) of text vectors (B, text_dim), a generator for each."""
        ...


@dataclass(frozen=True)
class PipelineConfig:
    """What a model folder says of the model as a whole.

    name: shown and recorded. hide_margin: of the ellipse over a style picture's face, as in
    training; 0 hides nothing. portrait: style and start pictures of one person are framed around
    the face, as in training, and several people get room for a portrait each. guidance_scale,
    num_inference_steps: used where a call gives none. time_shift: over 1 for more of a run's steps
    at much noise (`denoise.shift_times`). prior_steps, prior_guidance: of the prior
    that turns words into a style; guidance over 1 follows the words more closely. speed: what its
    runs may leave out.
    """

    name: str = "unnamed"
    hide_margin: float = 1.0
    portrait: bool = False
    guidance_scale: float = 3.0
    num_inference_steps: int = 25
    time_shift: float = 1.0
    prior_steps: int = 8
    prior_guidance: float = 1.0
    speed: SpeedSettings = EXACT


class Parts:
    """A model's parts, each an attribute that may be replaced.

    unet, scheduler: diffusers'. codec: PatchCodec, KLCodec or LateCodec. text_towers and prior are
    None in a model that takes no words, image_towers in one that takes no style picture.
    look_reader: pulls the style of a picture towards the mean of its look, where there is one; set
    it to None to have styles as the towers give them.
    controlnet: set it to diffusers' ControlNetModel, or MultiControlNetModel, to give control
    pictures in calls; it is not saved with the model. embed_cache: what the encoders made of the
    last pictures; put EmbedCache(0) there to keep nothing.
    Raises BadModel if the parts do not fit together.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        codec: Codec,
        scheduler: Any,
        guidance: HybridGuidance | AdapterGuidance,
        image_towers: ImageEncoder | None,
        identity_encoder: IdentityEncoder,
        detector: Detector,
        text_towers: TextEncoder | None = None,
        prior: Prior | None = None,
        config: PipelineConfig | None = None,
        look_reader: LookReader | None = None,
    ) -> None:
        self.unet = unet
        self.codec = codec
        self.scheduler = scheduler
        self.guidance = guidance
        self.image_towers = image_towers
        self.identity_encoder = identity_encoder
        self.detector = detector
        self.text_towers = text_towers
        self.prior = prior
        self.look_reader = look_reader
        self.controlnet: nn.Module | None = None
        self.config = config or PipelineConfig()
        self.embed_cache = EmbedCache()
        check_fit(self)
        for network in self.networks().values():
            network.eval()
        install_region_attention(unet)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.like.device

    @property
    def like(self) -> Tensor:
        """What embeddings and latents are like: the model's device, float32 at least."""
        weight = next(self.guidance.parameters())
        return torch.empty(0, dtype=at_least_fp32(self.unet.dtype), device=weight.device)

    @property
    def limits(self) -> Limits:
        """What this model allows a call to ask for, and its defaults."""
        levels = len(self.unet.config.down_block_types)
        side = self.unet.config.sample_size
        rows, columns = (side, side) if isinstance(side, int) else side
        return Limits(
            multiple=self.codec.factor * 2 ** (levels - 1),
            height=rows * self.codec.factor,
            width=columns * self.codec.factor,
            guidance_scale=self.config.guidance_scale,
            num_inference_steps=self.config.num_inference_steps,
            max_steps=self.scheduler.config.num_train_timesteps,
            speed=self.config.speed,
            portrait=self.config.portrait,
            grid=self.codec.factor,
        )

    @property
    def map_features(self) -> int:
        """How many numbers of a face map each position of the U-Net's input takes; 0: no map."""
        return int(self.unet.config.in_channels) - self.codec.channels

    def style_vector(self, style: Image.Image, shown: Image.Image | None = None) -> Tensor:
        """The image towers' vector (1, embed_dim) of a picture, kept for the next call.

        shown: the picture by which its look is told, if that is another: the one with its faces.
        """
        towers, reader, like = self.image_towers, self.look_reader, self.like
        assert towers is not None
        shown = style if shown is None else shown
        seen: tuple[Image.Image, ...] = (style,)
        makers: tuple[Any, ...] = (towers,)
        if reader is not None:
            seen, makers = (style, shown), (towers, reader)
        key = ("style", *map(hash_picture, seen), like.dtype, like.device)
        make = partial(_embed_picture, towers, reader, style, shown, like)
        return self.embed_cache.get(key, makers, make)

    def word_tokens(self, texts: Sequence[str]) -> Tensor:
        """The text encoder's output for texts, kept for the next call."""
        towers, like = self.text_towers, self.like
        assert towers is not None
        key = ("words", tuple(texts), like.dtype, like.device)
        return self.embed_cache.get(key, (towers,), lambda: towers(texts).to(like))

    def networks(self) -> dict[str, nn.Module]:
        """The parts that are torch modules, by their names."""
        return {name: part for name, part in vars(self).items() if isinstance(part, nn.Module)}

    def to(self, *where: Any) -> Self:
        """The same pipeline with its networks moved to a device, a dtype, or both."""
        packed = self.packed
        self.unpack()
        for network in self.networks().values():
            network.to(*where)
        towers: Sequence[Any] = (self.image_towers, self.text_towers)
        for late in towers:
            if isinstance(late, LateEncoder):
                late.to(*where)
        return self.pack() if packed else self

    @property
    def packed(self) -> bool:
        """Whether the large networks are laid out for this processor (`packed.py`)."""
        return any(isinstance(layer, Packed) for layer in self.unet.modules())

    def pack(self) -> Self:
        """Lay the large networks out for this processor, where that pays; they draw the same."""
        for network in (self.unet, self.codec):
            if isinstance(network, nn.Module) and can_pack(network):
                pack(network)
        share_first(self.unet)
        return self

    def unpack(self) -> Self:
        """Have the layers as diffusers makes them, to change or to train their weights."""
        if isinstance(self.codec, LateCodec):
            self.codec = self.codec.read()
        for network in (self.unet, self.codec):
            if isinstance(network, nn.Module):
                unpack(network)
        return self


def _embed_picture(
    towers: ImageEncoder,
    reader: LookReader | None,
    style: Image.Image,
    shown: Image.Image,
    like: Tensor,
) -> Tensor:
    vector = towers(to_pixels(style).to(like)).to(like)
    return vector if reader is None else reader.settle(vector, to_pixels(shown))


def check_fit(parts: Parts) -> None:
    """Raise BadModel, naming both numbers, if a part gives what another does not take."""
    guidance, unet, encoder = parts.guidance, parts.unet.config, parts.identity_encoder
    features = parts.map_features
    mapped = encoder.dimension - guidance.identity_dim if features else 0
    style_dim = parts.image_towers.embed_dim if parts.image_towers else 0
    pairs = [
        ("image towers' embed_dim", style_dim, "style_dim", guidance.style_dim),
        ("U-Net's cross_attention_dim", unet.cross_attention_dim, "width", guidance.width),
    ]
    if guidance.identity_dim:
        left = encoder.dimension - mapped
        pairs.append(("encoder's dimension", left, "identity_dim", guidance.identity_dim))
    if isinstance(guidance, AdapterGuidance):
        words = parts.text_towers.text_dim if parts.text_towers else 0
        pairs.append(("text encoder's text_dim", words, "width", guidance.width))
        guidance.check_layers(parts.unet)
    if parts.look_reader is not None:
        told = parts.look_reader.means.shape[1]
        pairs.append(("look reader's style_dim", told, "style_dim", guidance.style_dim))
    for name, given, wanted, value in pairs:
        if given != value:
            raise BadModel(
                f"the {name} is {given} and the guidance's {wanted} {value}; they must agree"
            )
    if not (unet.out_channels == parts.codec.channels and features >= 0):
        raise BadModel(
            f"the U-Net takes {unet.in_channels} channels and gives {unet.out_channels}, "
            f"the codec has {parts.codec.channels}; they must agree"
        )
    if features and (mapped <= 0 or math.isqrt(mapped // features) ** 2 * features != mapped):
        raise BadModel(
            f"the U-Net takes a face map of {features} numbers a position, but the encoder's "
            f"{encoder.dimension} numbers leave {mapped} for it beside the guidance's "
            f"{guidance.identity_dim}; give the encoder that this model was trained with"
        )
