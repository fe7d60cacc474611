"""Train the codec's decoder for the generator that it serves: sharp pictures of soft latents.

A generator's latents lack what it could not know: strands of hair, hatching, the grain of paper.
The decoder sees the generator's own last prediction, made of a real picture's latents under a
little noise, and is told the style that the generator was told; it learns to draw the picture they
came from. Absolute errors, edges and a recogniser keep it true; the amount of fine detail at each
place, the shares of light and dark tones (an ink drawing has hardly a grey) and a critic of patches
make it sharp. Some batches are wishes (`wishes.py`): a look that no picture shows the person in,
judged by whether it is seen. The encoder stays as it is, so that latents stay valid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.codec.patch import PatchCodec
from facestudio.data.develop import to_pixels
from facestudio.data.labels import PHOTO, style_of
from facestudio.encoders.looks import LookReader
from facestudio.settings import to_dict
from facestudio.training.checkpoints import complete_checkpoints
from facestudio.training.critic import (
    PatchCritic,
    balance,
    bends_of,
    hinge,
    learn_alone,
    map_distance,
    trust,
)
from facestudio.training.loop import LoopSettings, Report, train_task
from facestudio.training.unet import UNetTask
from facestudio.training.unet_settings import FaceMapSettings, IdentityLossSettings
from facestudio.training.unet_settings import Settings as GeneratorSettings
from facestudio.training.wishes import WishSettings

GATE_PICTURES = 4000  # that say which styles have colours, and which flat parts
FLAT_PENALTY = 1e-4
READER_BATCH = 100
COLOURLESS = 0.75  # levels of 255 from grey on average, at most
FAINT = 0.02  # detail that nobody sees, on pixels in -1...1


@dataclass(frozen=True)
class DecoderIdentitySettings:
    """A loss on who is in the decoded picture; no teacher, no such loss."""

    teacher: Path | None = None  # a recogniser's ONNX file, fed with -1...1
    weight: float = 0.1


@dataclass(frozen=True)
class Settings:
    """All that `facestudio train decoder` needs."""

    data: tuple[Path, ...]  # prepared sets, with latents
    codec: Path
    generator: Path  # export of `facestudio train unet`, or a model folder
    loop: LoopSettings
    times: tuple[int, int] = (60, 250)  # noise, of 1,000 steps, that the generator takes away
    exact: float = 0.25  # share of pictures whose latents are the encoder's own
    edge_weight: float = 1.0
    detail_weight: float = 0.05  # of the amount of fine detail, as a ratio, wherever it lies
    wish_detail_weight: float = 0.0  # of how detail is shared out in real pictures of a style
    tone_weight: float = 0.0  # of how light and dark are shared out, wherever they lie
    fine_width: int = 24  # channels of the decoder's layers at the picture's size
    flat: tuple[str, ...] = ()  # words of records' `style`: looks whose flat parts have no mottle
    look_reader: Path | None = None  # export of `train look`, by which styles are pulled in use
    map_weight: float = 0.5  # of the critic's inner maps
    critic_weight: float = 0.5  # how hard it pulls, over all else but its maps
    critic_width: int = 48
    critic_pace: float = 1.0  # its learning rate over the decoder's
    critic_alone: int = 0  # batches that it learns on before the decoder's first step
    critic_noise: float = 0.1  # standard deviation at most of what is added to what it sees
    whole_style: float = 0.5
    same_photo: float = 0.5
    identity: DecoderIdentitySettings = field(default_factory=DecoderIdentitySettings)
    wishes: WishSettings = field(default_factory=WishSettings)
    source_weights: dict[str, float] = field(default_factory=dict)
    held_out: tuple[str, ...] = ("test",)


class DecoderAndCritic(nn.Module):
    """What is trained: the codec's decoder, and the critic that it must please."""

    def __init__(self, codec: PatchCodec, critic: PatchCritic) -> None:
        super().__init__()
        self.codec = codec
        self.critic = critic

    def forward(self, latents: Tensor, style: Tensor) -> Tensor:
        """Return unclamped pixels (B, 3, H, W) of latents (B, C, h, w) in a style (B, S)."""
        return self.codec.decode_unclamped(latents, style)


class DecoderTask:
    """Pictures, and what the generator makes of their latents under a little noise."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.generator = UNetTask(self._generator_settings(), with_pictures=True)
        self.generator.model.eval().requires_grad_(False)
        judge = self.generator.likeness
        self.likeness = None if judge is None else judge.of_pixels
        torch.manual_seed(settings.loop.seed)
        style_dim = self.generator.data.arrays["style"].shape[1]
        codec = tell_style(
            PatchCodec.from_pretrained(settings.codec),
            style_dim,
            settings.fine_width,
            bool(settings.flat),
        )
        self._fit_gates(codec)
        critic = PatchCritic(codec.channels, style_dim, codec.factor, settings.critic_width)
        critic.pace = settings.critic_pace
        self.model = DecoderAndCritic(codec, critic)
        if not (settings.loop.resume and complete_checkpoints(settings.loop.out)):
            self._teach_critic(critic)

    def _teach_critic(self, critic: PatchCritic) -> None:
        """Let the critic learn what the decoder makes, before its verdicts count."""
        loop = self.settings.loop
        rng = np.random.default_rng(loop.seed)

        def doubt() -> Tensor:
            batch = self._with_pixels(self.generator.rebuilding_batch(rng, loop.batch), rng)
            style = batch["style"][:, 0]
            with torch.no_grad():
                latents = self._soften(batch)
                made = self.model(latents, style).float()
            real, _ = critic(batch["pixels"] + batch["veil"], latents, style)
            return hinge(real, critic(made + batch["veil"], latents, style)[0])

        learn_alone(critic, doubt, self.settings.critic_alone, loop.precision == "bf16")

    def _fit_gates(self, codec: PatchCodec) -> None:
        """Teach fresh gates which styles have colours and which flat parts, by pictures drawn as
        training draws them.
        """
        colour, flat = (
            None if gate is None or gate.weight.any() else gate
            for gate in (codec.colour, codec.flat)
        )
        if colour is None and flat is None:
            return
        data = self.generator.data
        told = self.generator.rebuilding_batch(
            np.random.default_rng(self.settings.loop.seed), GATE_PICTURES
        )
        style = told["style"][:, 0]
        given = style.any(1)
        indices = told["index"][given].tolist()
        if colour is not None:
            coloured = [is_coloured(data.picture(index)) for index in indices]
            colour.fit(style[given], torch.tensor(coloured))
        if flat is not None:
            looks = [look_of(data.records[index]) for index in indices]
            numbers = Counter(looks)
            known = torch.tensor([look is not None for look in looks])
            holds = torch.tensor([look in self.settings.flat for look in looks])
            counts = torch.tensor([numbers[look] ** -0.5 for look in looks])
            ways = self._ways_to_give(style[given], indices)
            known, holds, counts = (each.repeat(len(ways)) for each in (known, holds, counts))
            flat.fit(torch.cat(ways)[known], holds[known], FLAT_PENALTY, counts[known])

    @torch.no_grad()
    def _ways_to_give(self, style: Tensor, indices: Sequence[int]) -> list[Tensor]:
        """Return styles (N, S) as they are, and as a look reader pulls those of pictures."""
        if self.settings.look_reader is None:
            return [style]
        reader = LookReader.from_pretrained(self.settings.look_reader).eval()
        settled = []
        for start in range(0, len(indices), READER_BATCH):
            chosen = slice(start, start + READER_BATCH)
            shown = to_pixels([self.generator.data.picture(i) for i in indices[chosen]])
            settled.append(reader.settle(style[chosen], shown))
        return [style, torch.cat(settled)]

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return what the generator needs, pixels (B, 3, H, W), and which latents are `exact`."""
        told = self.generator.batch(rng, size)
        if "wished" in told:
            shown = [self.generator.data.picture(int(i)) for i in told["index"]]
            last = torch.full((size,), self.settings.wishes.steps - 1)  # a decoder comes after it
            pixels = to_pixels(shown)
            return told | {"turn": last, "pixels": pixels, "veil": self._veil(pixels, rng)}
        return self._with_pixels(told, rng)

    def _with_pixels(self, told: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a batch of rebuilding with the pictures, times of noise, and what is `exact`."""
        size = len(told["latents"])
        pixels = to_pixels([self.generator.data.picture(int(i)) for i in told["index"]])
        pixels[told["mirrored"]] = pixels[told["mirrored"]].flip(-1)
        told["pixels"] = pixels
        told["veil"] = self._veil(pixels, rng)
        told["t"] = torch.from_numpy(rng.integers(*self.settings.times, size))
        told["exact"] = torch.from_numpy(rng.random(size) < self.settings.exact)
        return told

    def _veil(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        """Return noise like pixels (B, 3, H, W), of each picture's own strength, for the critic's
        eyes: what nobody sees must not tell it which picture is real.
        """
        strength = rng.random((len(pixels), 1, 1, 1), np.float32) * self.settings.critic_noise
        return torch.from_numpy(strength * rng.standard_normal(tuple(pixels.shape), np.float32))

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the decoder's loss and the critic's, each on its own weights."""
        if "wished" in batch:
            return self._wish_loss(model, batch)
        settings, pixels, style = self.settings, batch["pixels"], batch["style"][:, 0]
        latents = self._soften(batch)
        made = model(latents, style).float()
        error = made - pixels
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        detail = (amount_of_detail(made) / amount_of_detail(pixels)).log().abs().mean()
        rebuilt = error.abs().mean() + settings.edge_weight * edges
        tone = (tones_of(made) - tones_of(pixels)).abs().mean()
        loss = rebuilt + settings.detail_weight * detail + settings.tone_weight * tone
        figures = {"error": float(error.detach().abs().mean()), "sharp": _sharpness(made, pixels)}
        if self.likeness is not None and (rows := batch["in_layout"].nonzero()[:, 0]).numel():
            unlike = self.likeness(made[rows], pixels[rows]).mean()
            loss = loss + settings.identity.weight * unlike
            figures["unlike"] = float(unlike.detach())
        critic, veil = _plain(model).critic, batch["veil"]
        real, real_maps = critic(pixels + veil, latents, style)
        judged, _ = critic(made.detach() + veil, latents, style)
        verdict, maps = critic.judge(made + veil, latents, style)
        doubt, verdict = hinge(real, judged), verdict.mean()
        weight = settings.critic_weight * balance(loss, verdict, made)
        loss = loss + settings.map_weight * map_distance(real_maps, maps)
        loss = loss + doubt - weight * verdict
        return loss, {**figures, "doubt": float(doubt.detach())}

    def _wish_loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return what the judges say of pictures for wishes, and the critic's loss on its weights.

        It compares them with real pictures in the style, which are of others: so it is told no
        latents, by which it would tell them apart. Detail is to be shared out as in those.
        """
        wishes, style = self.generator.wishes, batch["style"][:, 0]
        assert wishes is not None
        with torch.no_grad():
            latents = self.generator.draw_wish(batch)
        made = model(latents, style).float()
        loss, figures = wishes.judge(made, batch)
        shares = [tones_of(amount_of_detail(each).log()) for each in (made, batch["pixels"])]
        detail = (shares[0] - shares[1]).abs().mean()
        loss = loss + self.settings.wish_detail_weight * detail
        critic, told = _plain(model).critic, (torch.zeros_like(latents), batch["shown"][:, 0])
        veil = batch["veil"]
        verdict = critic.judge(made + veil, *told)[0].mean()
        real, _ = critic(batch["pixels"] + veil, *told)
        doubt = hinge(real, critic(made.detach() + veil, *told)[0])
        weight = self.settings.critic_weight * balance(loss, verdict, made) * trust(doubt)
        return loss + doubt - weight * verdict, figures | {
            "wish_detail": float(detail.detach()),
            "wish_doubt": float(doubt.detach()),
        }

    @torch.no_grad()
    def _soften(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the latents (B, C, h, w) that a generator would hand to the decoder."""
        soft = self.generator.made_of(batch)
        return torch.where(batch["exact"].view(-1, 1, 1, 1), batch["latents"], soft)

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Return eight pictures above what the decoder makes of their softened latents."""
        rng = np.random.default_rng(self.settings.loop.seed)
        batch = self._with_pixels(self.generator.rebuilding_batch(rng, 8), rng)
        batch["exact"] = torch.zeros(8, dtype=torch.bool)
        with torch.no_grad():
            made = model(self._soften(batch), batch["style"][:, 0]).clamp(-1, 1)
        rows = (batch["pixels"], made.cpu())
        sheet = torch.cat([torch.cat(list(row), dim=-1) for row in rows], dim=-2)
        return ((sheet.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the codec, its encoder unchanged, in diffusers' form."""
        _plain(model).codec.save_pretrained(folder / "codec")

    def _generator_settings(self) -> GeneratorSettings:
        settings = self.settings
        return GeneratorSettings(
            data=settings.data,
            loop=settings.loop,
            codec=settings.codec,
            init=settings.generator,
            face_map=FaceMapSettings(features=1),  # what the export holds counts
            identity_loss=IdentityLossSettings(teacher=settings.identity.teacher),
            wishes=settings.wishes,
            drop_style=0.1,
            compose=0.0,
            whole_style=settings.whole_style,
            same_photo=settings.same_photo,
            source_weights=settings.source_weights,
            held_out=settings.held_out,
        )


def tell_style(
    codec: PatchCodec, style_dim: int, fine_width: int, flat_gate: bool = False
) -> PatchCodec:
    """Return the same codec with a decoder that can be told a style, and draws as before so far."""
    kept = {name: codec.config[name] for name in ("factor", "channels", "widths", "blocks")}
    flat_gate = flat_gate or codec.flat is not None
    told = PatchCodec(**kept, style_dim=style_dim, fine_width=fine_width, flat_gate=flat_gate)
    told.load_state_dict(codec.state_dict(), strict=False)
    return told


def look_of(record: Mapping[str, Any]) -> str | None:
    """The one word for a record's style; None where it says none, or several."""
    own = PHOTO if style_of(record, {PHOTO: (PHOTO,)}) else record.get("style")
    return own if isinstance(own, str) else None


def is_coloured(picture: np.ndarray) -> bool:
    """Whether a picture (H, W, 3) of 0...255 is more than a drawing in greys."""
    grey = picture.mean(-1, keepdims=True)
    return bool(np.abs(picture - grey).mean() > COLOURLESS)


def amount_of_detail(pixels: Tensor, patch: int = 8) -> Tensor:
    """How strongly brightness bends, on average about each place: (B, 1, H/4, W/4), over FAINT.

    Compared as ratios, so that a photo's grain counts as much as the lines of an ink drawing.
    """
    bends = bends_of(pixels.mean(1, keepdim=True))
    return F.avg_pool2d(bends.abs(), patch, patch // 2) + FAINT


def tones_of(pixels: Tensor) -> Tensor:
    """The values of each channel from dark to light: (B, C, H * W)."""
    return pixels.flatten(2).sort(dim=-1).values


def _plain(model: nn.Module) -> DecoderAndCritic:
    inner = getattr(model, "module", model)  # as DistributedDataParallel wraps it
    assert isinstance(inner, DecoderAndCritic)
    return inner


def _sharpness(made: Tensor, real: Tensor) -> float:
    """Return how far the Laplacian varies in made pictures, over real ones: 1 is as sharp."""
    with torch.no_grad():
        spreads = [
            bends_of(each.float().mean(1, keepdim=True)).flatten(1).var(1) for each in (made, real)
        ]
    return float((spreads[0] / spreads[1].clamp_min(1e-6)).median())


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the folder with the exported codec."""
    return train_task(DecoderTask(settings), settings.loop, to_dict(settings), report)
