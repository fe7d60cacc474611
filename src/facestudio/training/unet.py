"""Train the U-Net and the guidance layer: rebuild the picture of a person from style and identity.

The recipe is the paper's (arXiv 2312.02663, section 3.3): the style embedding comes from the
picture with its face hidden, the identity embedding from a face; each is dropped on its own for
classifier-free guidance. Beyond it, each a setting:

- the identity may come from *another* photo of the same person (`same_photo`), and a drawing is
  rebuilt from the identity of the photo it was drawn from, so that identity is learned and
  not the picture;
- some batches hold two or three people side by side on a wide canvas (`compose`), each with
  its own region, so that region attention works.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.codec.patch import PatchCodec
from facestudio.data.shards import PreparedSet
from facestudio.guidance.attention import GuidanceContext, install_region_attention
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.pipeline.denoise import denoise, draw_noise, start_run
from facestudio.settings import to_dict
from facestudio.training.loop import LoopSettings, Report, train_task
from facestudio.training.sampling import WeightedPicker

ARRAYS = ("latents", "latents_flipped", "identity", "style")
SAMPLE_STEPS, SAMPLE_GUIDANCE, SHOWN = 25, 2.0, 8


@dataclass(frozen=True)
class UNetSettings:
    """diffusers' UNet2DConditionModel; names as there."""

    block_out_channels: tuple[int, ...] = (64, 128, 256)
    layers_per_block: int = 2
    heads: int = 8
    norm_num_groups: int = 32


@dataclass(frozen=True)
class GuidanceSettings:
    """The shared linear layer's output: `n_tokens` cells of `width` numbers."""

    n_tokens: int = 8
    width: int = 256


@dataclass(frozen=True)
class NoiseSettings:
    """diffusers' DDPMScheduler: the noise that training adds."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    prediction_type: str = "v_prediction"
    rescale_betas_zero_snr: bool = True


@dataclass(frozen=True)
class Settings:
    """All that `facestudio train unet` needs."""

    data: tuple[Path, ...]  # prepared sets
    loop: LoopSettings
    unet: UNetSettings = field(default_factory=UNetSettings)
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    drop_style: float = 0.64
    drop_face: float = 0.1
    same_photo: float = 0.5  # share of samples whose identity is of the very photo that is drawn
    compose: float = 0.1  # share of batches with several people on one canvas
    source_weights: dict[str, float] = field(default_factory=dict)  # 1 where not named
    init: Path | None = None  # export of an earlier run to start from
    held_out: tuple[str, ...] = ("test",)  # splits that are not trained on
    codec: Path | None = None  # to look at samples on the way


class Generator(nn.Module):
    """The trained whole: guidance layer and U-Net, called with what a batch holds."""

    def __init__(self, unet: UNet2DConditionModel, guidance: HybridGuidance) -> None:
        super().__init__()
        self.unet = unet
        self.guidance = guidance
        install_region_attention(unet)

    def forward(
        self, noisy: Tensor, t: Tensor, style: Tensor, identity: Tensor, masks: Tensor | None
    ) -> Tensor:
        """Return the prediction (B, C, h, w); style (B, P, S), identity (B, P, D) of P people."""
        tokens = self.guidance(style.flatten(0, 1), identity.flatten(0, 1))
        tokens = tokens.unflatten(0, style.shape[:2])  # (B, P, K, W)
        context = GuidanceContext(tokens, masks)
        return self.unet(
            noisy, t, tokens[:, 0], cross_attention_kwargs={"guidance": context}, return_dict=False
        )[0]


class UNetTask:
    """Batches and loss of the generator's training."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = PreparedSet(settings.data, ARRAYS)
        self.scheduler = DDPMScheduler(1000, **to_dict(settings.noise))
        self.model = build_generator(settings, self.data)
        self.pool = SamplePool(self.data, settings.held_out, settings.source_weights)

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return latents (B, C, h, w), style (B, P, S), identity (B, P, D), and masks if P > 1.

        Several people: their pictures stand side by side, and the last set, style without a
        face, is nobody's.
        """
        people = int(rng.choice([2, 3])) if rng.random() < self.settings.compose else 1
        canvases = max(1, size // people)
        picked = self.pool.pick(rng, canvases * people, self.settings.same_photo, people > 1)
        latents, style, identity = self._gather(picked, rng)
        style, identity = self._drop(style, identity, rng, people)
        if people == 1:
            return {"latents": latents, "style": style[:, None], "identity": identity[:, None]}
        return compose(latents, style, identity, people)

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared error of the prediction at uniformly drawn times."""
        latents = batch["latents"]
        t = torch.randint(0, 1000, (len(latents),), device=latents.device)
        noise = torch.randn_like(latents)
        noisy = self.scheduler.add_noise(latents, noise, t)
        target = self._target(latents, noise, t)
        predicted = model(noisy, t, batch["style"], batch["identity"], batch.get("masks"))
        return F.mse_loss(predicted.float(), target), {}

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Return a row of portraits of held-out people, by identity alone."""
        if self.settings.codec is None:
            return None
        assert isinstance(model, Generator)
        identity = torch.from_numpy(
            self.data.arrays["identity"][self.pool.shown].astype(np.float32)
        )
        codec = PatchCodec.from_pretrained(self.settings.codec).eval().to(model.unet.device)
        with torch.no_grad():
            pixels = codec.decode(self._portraits(model, identity.to(model.unet.device)))
        sheet = torch.cat(list(pixels.cpu()), dim=-1).permute(1, 2, 0)  # (H, n * W, 3)
        return ((sheet + 1) * 127.5).round().byte().numpy()

    def _portraits(self, model: Generator, identity: Tensor) -> Tensor:
        """Return latents (n, C, h, w) of identities (n, D), with as many seeds of their own."""
        both = torch.cat([torch.zeros_like(identity), identity])
        style = torch.zeros(len(both), self.data.arrays["style"].shape[1], device=both.device)
        context = GuidanceContext(model.guidance(style, both)[:, None])
        generators = [torch.Generator().manual_seed(i) for i in range(len(identity))]
        noise = draw_noise(self.data.arrays["latents"].shape[1:], generators, both)
        start = start_run(self._sampler(), SAMPLE_STEPS, noise, None, None)
        return denoise(model.unet, start, context, SAMPLE_GUIDANCE, generators)

    def _sampler(self) -> EulerAncestralDiscreteScheduler:
        return EulerAncestralDiscreteScheduler.from_config(
            self.scheduler.config, timestep_spacing="trailing"
        )

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write `unet`, `guidance` and `scheduler` in diffusers' form."""
        assert isinstance(model, Generator)
        model.unet.save_pretrained(folder / "unet")
        model.guidance.save_pretrained(folder / "guidance")
        self._sampler().save_pretrained(folder / "scheduler")

    def _target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        kind = self.settings.noise.prediction_type
        if kind == "v_prediction":
            return self.scheduler.get_velocity(latents, noise, t)
        return {"epsilon": noise, "sample": latents}[kind]

    def _gather(
        self, picked: list[tuple[int, int]], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        arrays = self.data.arrays
        names = np.where(rng.random(len(picked)) < 0.5, "latents", "latents_flipped")
        latents = np.stack([arrays[name][i] for name, (i, _) in zip(names, picked, strict=True)])
        style = arrays["style"][[i for i, _ in picked]]
        identity = arrays["identity"][[face for _, face in picked]]
        return tuple(torch.from_numpy(a.astype(np.float32)) for a in (latents, style, identity))  # type: ignore[return-value]

    def _drop(
        self, style: Tensor, identity: Tensor, rng: np.random.Generator, people: int
    ) -> tuple[Tensor, Tensor]:
        """Return both with whole rows zeroed; people on one canvas lose them together."""
        canvases = len(style) // people
        no_style = np.repeat(rng.random(canvases) < self.settings.drop_style, people)
        no_face = np.repeat(rng.random(canvases) < self.settings.drop_face, people)
        style[torch.from_numpy(no_style)] = 0
        identity[torch.from_numpy(no_face)] = 0
        return style, identity


class SamplePool:
    """Which sample is drawn, and whose photo gives its identity.

    `pick` returns pairs (target, face): `face` is the target itself or another photo of its
    person; a drawing always takes a photo's where its person has one.
    """

    def __init__(
        self, data: PreparedSet, held_out: tuple[str, ...], weights: Mapping[str, float]
    ) -> None:
        records = data.records
        self.targets = np.array(
            [i for i, record in enumerate(records) if record.get("split") not in held_out]
        )
        usable = np.isin(np.arange(len(records)), self.targets)
        self.picker = WeightedPicker(usable, [record["source"] for record in records], weights)
        self.drawn = np.array([record.get("kind") == "drawn" for record in records])
        self.has_face = np.asarray(data.arrays["identity"].any(1))
        photos: dict[str, list[int]] = defaultdict(list)
        for i in self.targets:
            if self.has_face[i] and not self.drawn[i]:
                photos[self._person(records[i])].append(int(i))
        self.faces = [photos.get(self._person(record), []) for record in records]
        held = [i for i, record in enumerate(records) if record.get("split") in held_out]
        seen = [i for i in held if self.has_face[i] and not self.drawn[i]]
        self.shown = np.array((seen or self.targets.tolist())[:SHOWN])
        self.photos = self.targets[self.has_face[self.targets] & ~self.drawn[self.targets]]

    def pick(
        self, rng: np.random.Generator, count: int, same_photo: float, only_photos: bool = False
    ) -> list[tuple[int, int]]:
        """Return `count` pairs (target, face)."""
        if only_photos and len(self.photos):
            targets = rng.choice(self.photos, count)
        else:
            targets = self.picker.pick(rng, count)
        return [(int(target), self._face(int(target), rng, same_photo)) for target in targets]

    def _face(self, target: int, rng: np.random.Generator, same_photo: float) -> int:
        others = [face for face in self.faces[target] if face != target]
        own = self.has_face[target] and not self.drawn[target]
        if not others or (own and rng.random() < same_photo):
            return target
        return int(rng.choice(others))

    @staticmethod
    def _person(record: Mapping[str, Any]) -> str:
        return str(record.get("person") or record["key"])


def compose(latents: Tensor, style: Tensor, identity: Tensor, people: int) -> dict[str, Tensor]:
    """Return batches of canvases with `people` side by side, each in its own region.

    (B * people, …) becomes latents (B, C, h, people * w), style and identity
    (B, people + 1, …): everybody shares the mean style, nobody (the last) has no face.
    """
    latents, style, identity = (a.unflatten(0, (-1, people)) for a in (latents, style, identity))
    width = latents.shape[-1]
    canvas = torch.cat(latents.unbind(1), dim=-1)  # (B, C, h, people * w)
    shared = style.sum(1, keepdim=True) / people**0.5  # RMS stays near 1
    masks = torch.zeros(people, *canvas.shape[-2:])
    for person in range(people):
        masks[person, :, person * width : (person + 1) * width] = 1
    return {
        "latents": canvas,
        "masks": masks,
        "style": shared.expand(-1, people + 1, -1).contiguous(),
        "identity": torch.cat([identity, torch.zeros_like(identity[:, :1])], dim=1),
    }


def build_generator(settings: Settings, data: PreparedSet) -> Generator:
    """Return a fresh generator of the right sizes, or the one at `settings.init`."""
    if settings.init is not None:
        unet = UNet2DConditionModel.from_pretrained(settings.init / "unet")
        return Generator(unet, HybridGuidance.from_pretrained(settings.init / "guidance"))
    torch.manual_seed(settings.loop.seed)
    channels = data.arrays["latents"].shape[1]
    chosen = settings.unet
    levels = len(chosen.block_out_channels)
    unet = UNet2DConditionModel(
        sample_size=data.arrays["latents"].shape[-1],
        in_channels=channels,
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
    return Generator(unet, guidance)


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the folder with the exported parts."""
    return train_task(UNetTask(settings), settings.loop, to_dict(settings), report)
