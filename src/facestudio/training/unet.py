"""Train the U-Net and the guidance layer: rebuild the picture of a person from style and identity.

The recipe is the paper's (arXiv 2312.02663, section 3.3): the style embedding comes from the
picture with its face hidden, the identity embedding from a face; each is dropped on its own for
classifier-free guidance. Beyond it, each a setting:

- the identity may come from *another* photo of the same person (`same_photo`), and a drawing is
  rebuilt from the identity of the photo it was drawn from, so that identity is learned and
  not the picture;
- where the model has a face map (`face_map.features`), it comes from the same photo as the
  identity, wherever that photo has the layout of a portrait;
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
from facestudio.data.develop import MASK_CELL_PX
from facestudio.data.shards import PreparedSet
from facestudio.errors import BadOption
from facestudio.faces.align import PORTRAIT_EYE_X, PORTRAIT_EYE_Y
from facestudio.faces.face_map import FaceMapper
from facestudio.guidance.attention import GuidanceContext, install_region_attention
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.pipeline.denoise import denoise, draw_noise, start_run
from facestudio.settings import to_dict
from facestudio.training.identity_loss import IdentityLoss
from facestudio.training.loop import LoopSettings, Report, train_task
from facestudio.training.noising import draw_noise_of
from facestudio.training.sampling import WeightedPicker
from facestudio.training.trainable import Trainable, choose_trainable

ARRAYS = ("latents", "latents_flipped", "identity", "style", "eyes")
MAP_EYES_WITHIN_PX = 12.0  # of a portrait's, for a photo to give a face map
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
class FaceMapSettings:
    """FaceMapper: `features` numbers a cell; 0 for a model that has no face map."""

    features: int = 0
    width: int = 64
    drop: float = 0.1  # share of samples that keep their identity vector but lose the map
    noise: float = 0.1  # standard deviation of what is added to the latents it sees


@dataclass(frozen=True)
class IdentityLossSettings:
    """A loss on who is in the picture predicted at low noise; no teacher, no such loss."""

    teacher: Path | None = None  # a recogniser's ONNX file, fed with -1...1
    weight: float = 0.1
    below: int = 500  # of 1,000 steps of noise
    samples: int = 8  # of a micro-batch at most


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
    face_map: FaceMapSettings = field(default_factory=FaceMapSettings)
    identity_loss: IdentityLossSettings = field(default_factory=IdentityLossSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    drop_style: float = 0.64
    drop_face: float = 0.1
    same_photo: float = 0.5  # share of samples whose identity is of the very photo that is drawn,
    # or that a drawing was made from, and not of another photo of the person
    compose: float = 0.1  # share of batches with several people on one canvas
    source_weights: dict[str, float] = field(default_factory=dict)  # 1 where not named
    init: Path | None = None  # export of an earlier run to start from
    trainable: Trainable = "all"  # or "adapter": guidance layer, cross-attention keys and values
    gradient_checkpointing: bool = False  # less memory, a third more time
    held_out: tuple[str, ...] = ("test",)  # splits that are not trained on
    codec: Path | None = None  # for a face map, and to look at samples on the way


class Generator(nn.Module):
    """The trained whole: guidance layer, face map and U-Net, called with what a batch holds."""

    def __init__(
        self, unet: UNet2DConditionModel, guidance: HybridGuidance, mapper: FaceMapper | None = None
    ) -> None:
        super().__init__()
        self.unet = unet
        self.guidance = guidance
        self.mapper = mapper
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
        return self.predict(noisy, t, GuidanceContext(tokens, masks, face_map))

    def predict(self, noisy: Tensor, t: Tensor, context: GuidanceContext) -> Tensor:
        """Return the U-Net's prediction (B, C, h, w) of latents of that shape."""
        if context.face_map is not None:
            noisy = torch.cat([noisy, context.face_map], dim=1)
        return self.unet(
            noisy,
            t,
            context.tokens[:, 0],
            cross_attention_kwargs={"guidance": context},
            return_dict=False,
        )[0]

    def map_faces(self, faces: Tensor) -> Tensor:
        """Return the face map (B, F, h, w) of canvases on which portraits stand side by side."""
        assert self.mapper is not None
        cells = self.mapper.cells
        people = faces.unfold(3, cells, cells).permute(0, 3, 1, 2, 4)  # (B, people, C, h, cells)
        maps = self.mapper(people.flatten(0, 1).contiguous()).unflatten(0, people.shape[:2])
        return torch.cat(maps.unbind(1), dim=-1)


class UNetTask:
    """Batches and loss of the generator's training."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = PreparedSet(settings.data, ARRAYS)
        self.scheduler = DDPMScheduler(1000, **to_dict(settings.noise))
        self.model = build_generator(settings, self.data)
        self.pool = SamplePool(self.data, settings.held_out, settings.source_weights)
        self.likeness = build_identity_loss(settings)
        choose_trainable(self.model.unet, settings.trainable, settings.gradient_checkpointing)

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return latents (B, C, h, w), style (B, P, S), identity (B, P, D), and masks if P > 1.

        Several people: their pictures stand side by side, and the last set, style without a
        face, is nobody's.
        """
        people = int(rng.choice([2, 3])) if rng.random() < self.settings.compose else 1
        canvases = max(1, size // people)
        picked = self.pool.pick(rng, canvases * people, self.settings.same_photo, people > 1)
        gathered = self._drop(self._gather(picked, rng), rng, people)
        if self.model.mapper is None:
            del gathered["faces"], gathered["in_layout"]
        if people > 1:
            told = compose(gathered, people)
            told["masks"] = told["masks"].expand(len(told["latents"]), -1, -1, -1)
        else:
            told = {
                name: value[:, None] if name in ("style", "identity") else value
                for name, value in gathered.items()
            }
        return told | draw_noise_of(told, rng)

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared error of the prediction at uniformly drawn times."""
        latents = batch["latents"]
        t, noise = batch["t"], batch["noise"]
        noisy = self.scheduler.add_noise(latents, noise, t)
        target = self._target(latents, noise, t)
        masks = batch["masks"][0] if "masks" in batch else None  # the same for all
        told = (batch["style"], batch["identity"], masks)
        predicted = model(noisy, t, *told, self._blur(batch)).float()
        rebuilt = F.mse_loss(predicted, target)
        if self.likeness is None or "faces" not in batch or "masks" in batch:
            return rebuilt, {}
        return self._add_likeness(rebuilt, predicted, noisy, t, batch)

    def _blur(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """Return the faces' latents under a little noise; those not given stay zero."""
        if "faces" not in batch:
            return None
        faces = batch["faces"]
        given = faces.flatten(1).any(1)[:, None, None, None]
        return faces + given * self.settings.face_map.noise * batch["blur"]

    def _add_likeness(
        self,
        rebuilt: Tensor,
        predicted: Tensor,
        noisy: Tensor,
        t: Tensor,
        batch: Mapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss with the likeness of clear predictions to their photos, weighted."""
        assert self.likeness is not None
        chosen = self.settings.identity_loss
        told = batch["in_layout"] & batch["faces"].flatten(1).any(1)
        rows = (told & (t < chosen.below)).nonzero()[: chosen.samples, 0]
        if not len(rows):
            return rebuilt, {}
        alpha = self.scheduler.alphas_cumprod.to(t.device)[t[rows]].view(-1, 1, 1, 1)
        clean = self._clean(predicted[rows], noisy[rows], alpha)
        unlike = self.likeness(clean, batch["faces"][rows])
        loss = rebuilt + chosen.weight * (unlike * alpha.flatten()).sum() / len(t)
        return loss, {"rebuilt": rebuilt.item(), "unlike": unlike.mean().item()}

    def _clean(self, predicted: Tensor, noisy: Tensor, alpha: Tensor) -> Tensor:
        """Return the clean latents that a prediction means; alpha: what is left of the signal."""
        kind = self.settings.noise.prediction_type
        if kind == "v_prediction":
            return alpha.sqrt() * noisy - (1 - alpha).sqrt() * predicted
        return (
            predicted
            if kind == "sample"
            else (noisy - (1 - alpha).sqrt() * predicted) / alpha.sqrt()
        )

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Return a row of portraits of held-out people, by identity alone."""
        if self.settings.codec is None:
            return None
        assert isinstance(model, Generator)
        codec = PatchCodec.from_pretrained(self.settings.codec).eval().to(model.unet.device)
        with torch.no_grad():
            pixels = codec.decode(self._portraits(model, self.pool.shown))
        sheet = torch.cat(list(pixels.cpu()), dim=-1).permute(1, 2, 0)  # (H, n * W, 3)
        return ((sheet + 1) * 127.5).round().byte().numpy()

    def _portraits(self, model: Generator, shown: np.ndarray) -> Tensor:
        """Return latents (n, C, h, w) of samples of identities, with as many seeds of their own."""
        device = model.unet.device
        identity, faces = (
            torch.from_numpy(self.data.arrays[name][shown].astype(np.float32)).to(device)
            for name in ("identity", "latents")
        )
        both = torch.cat([torch.zeros_like(identity), identity])
        style = torch.zeros(len(both), self.data.arrays["style"].shape[1], device=device)
        face_map = None
        if model.mapper is not None:
            face_map = model.map_faces(torch.cat([torch.zeros_like(faces), faces]))
        context = GuidanceContext(model.guidance(style, both)[:, None], face_map=face_map)
        generators = [torch.Generator().manual_seed(i) for i in range(len(identity))]
        noise = draw_noise(faces.shape[1:], generators, faces)
        start = start_run(self._sampler(), SAMPLE_STEPS, noise, None, None)
        return denoise(model.unet, start, context, SAMPLE_GUIDANCE, generators)

    def _sampler(self) -> EulerAncestralDiscreteScheduler:
        return EulerAncestralDiscreteScheduler.from_config(
            self.scheduler.config, timestep_spacing="trailing"
        )

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write `unet`, `guidance`, `scheduler` and `face_map` in diffusers' form."""
        assert isinstance(model, Generator)
        model.unet.save_pretrained(folder / "unet")
        model.guidance.save_pretrained(folder / "guidance")
        if model.mapper is not None:
            model.mapper.save_pretrained(folder / "face_map")
        self._sampler().save_pretrained(folder / "scheduler")

    def _target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        kind = self.settings.noise.prediction_type
        if kind == "v_prediction":
            return self.scheduler.get_velocity(latents, noise, t)
        return {"epsilon": noise, "sample": latents}[kind]

    def _gather(self, picked: list[tuple[int, int]], rng: np.random.Generator) -> dict[str, Tensor]:
        """Return latents and style of the targets, identity and latents of the faces."""
        arrays = self.data.arrays
        names = np.where(rng.random(len(picked)) < 0.5, "latents", "latents_flipped").tolist()
        targets, faces = [i for i, _ in picked], [face for _, face in picked]
        gathered = {
            "latents": np.stack([arrays[name][i] for name, i in zip(names, targets, strict=True)]),
            "style": arrays["style"][targets],
            "identity": arrays["identity"][faces],
            "faces": np.stack([arrays[name][i] for name, i in zip(names, faces, strict=True)]),
        }
        in_layout = torch.from_numpy(self.pool.in_layout[targets])
        gathered["faces"][~self.pool.in_layout[faces]] = 0
        told = {name: torch.from_numpy(a.astype(np.float32)) for name, a in gathered.items()}
        return {**told, "in_layout": in_layout}

    def _drop(
        self, told: dict[str, Tensor], rng: np.random.Generator, people: int
    ) -> dict[str, Tensor]:
        """Return all with whole rows zeroed; people on one canvas lose them together."""

        def lost(share: float) -> Tensor:
            return torch.from_numpy(
                np.repeat(rng.random(len(told["style"]) // people) < share, people)
            )

        faceless = lost(self.settings.drop_face)
        told["style"][lost(self.settings.drop_style)] = 0
        told["identity"][faceless] = 0
        told["faces"][faceless | lost(self.settings.face_map.drop)] = 0
        return told


class SamplePool:
    """Which sample is drawn, and whose photo gives its identity.

    `pick` returns pairs (target, face): `face` is the target itself or another photo of its
    person; a drawing takes the photo it was drawn from, or another of its person, if there is one.
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
        places = {record["key"]: i for i, record in enumerate(records)}
        self.origin = [
            places.get(_key_of_photo(record), i) if self.drawn[i] else i
            for i, record in enumerate(records)
        ]
        side = data.arrays["latents"].shape[-1] * MASK_CELL_PX
        self.in_layout = self.has_face & near_portrait_layout(data.arrays["eyes"], side)
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
        origin = self.origin[target]
        others = [face for face in self.faces[target] if face != origin]
        own = self.has_face[origin] and not self.drawn[origin]
        if not others or (own and rng.random() < same_photo):
            return origin
        return int(rng.choice(others))

    @staticmethod
    def _person(record: Mapping[str, Any]) -> str:
        return str(record.get("person") or record["key"])


def _key_of_photo(record: Mapping[str, Any]) -> str:
    """Return the key that the photo has of which this is a drawing; see `Developer.draw`."""
    key = str(record["key"])
    return key.removesuffix(f"_{record.get('style')}").replace("_drawn", "_photo")


def near_portrait_layout(eyes: np.ndarray, side: int) -> np.ndarray:
    """Return bool (N,): whether eyes (N, 2, 2), in pixels of a square, are a portrait's."""
    layout = np.array([[x, PORTRAIT_EYE_Y] for x in PORTRAIT_EYE_X]) * side
    off = np.abs(eyes - layout).reshape(len(eyes), -1).max(1)
    return np.nan_to_num(off, nan=np.inf) < MAP_EYES_WITHIN_PX


def compose(told: Mapping[str, Tensor], people: int) -> dict[str, Tensor]:
    """Return batches of canvases with `people` side by side, each in its own region.

    (B * people, …) becomes latents and faces (B, C, h, people * w), style and identity
    (B, people + 1, …): everybody shares the mean style, nobody (the last) has no face.
    """
    grouped = {name: value.unflatten(0, (-1, people)) for name, value in told.items()}
    canvases = {
        name: torch.cat(grouped[name].unbind(1), dim=-1)
        for name in ("latents", "faces")
        if name in grouped
    }
    width = told["latents"].shape[-1]
    masks = torch.zeros(people, *canvases["latents"].shape[-2:])
    for person in range(people):
        masks[person, :, person * width : (person + 1) * width] = 1
    shared = grouped["style"].sum(1, keepdim=True) / people**0.5  # RMS stays near 1
    identity = grouped["identity"]
    return {
        **canvases,
        "masks": masks,
        "style": shared.expand(-1, people + 1, -1).contiguous(),
        "identity": torch.cat([identity, torch.zeros_like(identity[:, :1])], dim=1),
    }


def build_generator(settings: Settings, data: PreparedSet) -> Generator:
    """Return a fresh generator of the right sizes, or the one at `settings.init`.

    A face map is added to a U-Net that had none; its first weights are zero, so that the
    U-Net goes on where it was.
    """
    torch.manual_seed(settings.loop.seed)
    mapper = build_mapper(settings, data) if settings.face_map.features else None
    if settings.init is None:
        return Generator(*build_unet(settings, data, mapper), mapper)
    unet = UNet2DConditionModel.from_pretrained(settings.init / "unet")
    guidance = HybridGuidance.from_pretrained(settings.init / "guidance")
    if (settings.init / "face_map").is_dir():
        return Generator(unet, guidance, FaceMapper.from_pretrained(settings.init / "face_map"))
    if mapper is not None:
        widen_input(unet, mapper.features)
    return Generator(unet, guidance, mapper)


def build_unet(
    settings: Settings, data: PreparedSet, mapper: FaceMapper | None
) -> tuple[UNet2DConditionModel, HybridGuidance]:
    """Return a fresh U-Net and guidance layer for the set's latents and embeddings."""
    channels = data.arrays["latents"].shape[1]
    chosen = settings.unet
    levels = len(chosen.block_out_channels)
    unet = UNet2DConditionModel(
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


def build_identity_loss(settings: Settings) -> IdentityLoss | None:
    """Return the loss that the settings ask for. Raises BadOption, MissingWeights."""
    if settings.identity_loss.teacher is None:
        return None
    if settings.codec is None or not settings.face_map.features:
        raise BadOption("identity_loss needs a face map and the codec", hint="set codec = FOLDER")
    return IdentityLoss(settings.identity_loss.teacher, PatchCodec.from_pretrained(settings.codec))


def widen_input(unet: UNet2DConditionModel, features: int) -> None:
    """Let a U-Net's input take `features` further channels, with weights of zero."""
    old = unet.conv_in
    wider = nn.Conv2d(old.in_channels + features, old.out_channels, 3, padding=1)
    with torch.no_grad():
        wider.weight.zero_()
        wider.weight[:, : old.in_channels] = old.weight
        wider.bias.copy_(old.bias)  # type: ignore[union-attr, arg-type]
    unet.conv_in = wider
    unet.register_to_config(in_channels=wider.in_channels)


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the folder with the exported parts."""
    return train_task(UNetTask(settings), settings.loop, to_dict(settings), report)
