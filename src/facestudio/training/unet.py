"""Train the U-Net and the guidance layer: rebuild the picture of a person from style and identity.

The recipe is the paper's (arXiv 2312.02663, section 3.3): the style embedding comes from the
picture with its face hidden, the identity embedding from a face; each is dropped on its own for
classifier-free guidance. Beyond it, each a setting:

- the identity may come from *another* photo of the same person (`same_photo`), and a drawing is
  rebuilt from the identity of the photo it was drawn from, so that identity is learned and
  not the picture;
- some styles are of the whole picture (`whole_style`), as a prior may say them from words, so
  that "smiling" or "with glasses" can be told: what the face does is not in a style without it;
- where the model has a face map (`face_map.features`), it comes from the same photo as the
  identity, wherever that photo has the layout of a portrait;
- a critic may judge the clean latents that predictions mean (`critic.weight`), so that few steps
  give a picture and not a mean of many;
- some batches hold two or three people side by side on a wide canvas (`compose`), each with
  its own region, so that region attention works;
- some are wishes (`wishes.reader`): a person in a look that no picture shows them in, drawn in two
  steps and judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, EulerAncestralDiscreteScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.codec.patch import PatchCodec
from facestudio.data.shards import PreparedSet
from facestudio.errors import BadOption
from facestudio.guidance.attention import GuidanceContext
from facestudio.guidance.mapped_unet import TIMES, MappedUNet, fit_first_guess
from facestudio.pipeline.denoise import denoise, draw_noise, start_run
from facestudio.settings import to_dict
from facestudio.training.checkpoints import complete_checkpoints
from facestudio.training.critic import LatentCritic, balance, hinge, learn_alone, trust
from facestudio.training.generator import Generator, build_generator, cut_portraits
from facestudio.training.identity_loss import IdentityLoss
from facestudio.training.loop import Report, train_task
from facestudio.training.noising import draw_noise_of
from facestudio.training.pairs import SamplePool, compose
from facestudio.training.trainable import choose_trainable
from facestudio.training.unet_settings import Settings
from facestudio.training.wishes import Wishes, WishSettings

__all__ = ["Settings", "UNetTask", "train"]

ARRAYS = ("latents", "latents_flipped", "identity", "style", "eyes")
GUESS_BATCHES, GUESS_BATCH = 40, 32  # that the first guess is fitted on
SAMPLE_STEPS, SAMPLE_GUIDANCE = 25, 2.0


class UNetTask:
    """Batches and loss of the generator's training; `with_pictures` keeps the set's pictures."""

    def __init__(self, settings: Settings, with_pictures: bool = False) -> None:
        self.settings = settings
        more = ("style_whole",) * bool(settings.whole_style) + ("pictures",) * with_pictures
        self.data = PreparedSet(settings.data, (*ARRAYS, *more))
        self.scheduler = DDPMScheduler(1000, **to_dict(settings.noise))
        self.model = build_generator(settings, self.data)
        self.pool = SamplePool(self.data, settings.held_out, settings.source_weights)
        self.likeness = build_identity_loss(settings)
        self.wishes = build_wishes(settings.wishes, self.data, self.pool, self.likeness)
        resumed = settings.loop.resume and complete_checkpoints(settings.loop.out)
        if isinstance(self.model.unet, MappedUNet):
            kind = settings.noise.prediction_type
            self.model.unet.take_schedule(self.scheduler.alphas_cumprod, kind)
            if not resumed and not self.model.unet.first_guess.weight.any():
                set_first_guess(self, np.random.default_rng(settings.loop.seed))
        if self.model.critic is not None and settings.init is not None and not resumed:
            teach_critic(self, self.model.critic, np.random.default_rng(settings.loop.seed))
        choose_trainable(self.model.unet, settings.trainable, settings.gradient_checkpointing)

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return a batch of rebuilding, or of wishes as `Wishes.batch` says."""
        if self.wishes is not None and rng.random() < self.settings.wishes.share:
            return self._veiled(self.wishes.batch(rng, size), rng)
        return self.rebuilding_batch(rng, size)

    def rebuilding_batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return latents (B, C, h, w), style (B, P, S), identity (B, P, D), and masks if P > 1.

        With them `index` (B,), the place of the pictures in the set, and whether they are
        `mirrored`, if P is 1.

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
        return self._veiled(told | draw_noise_of(told, rng), rng)

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared error of the prediction at uniformly drawn times.

        With it what the recogniser and the critic have to say, where the settings ask them.
        """
        if "wished" in batch:
            return self._wish_loss(model, batch)
        predicted, noisy, target = self.predict(model, batch)
        loss = rebuilt = F.mse_loss(predicted, target)
        figures: dict[str, float] = {}
        if self.likeness is None and self.model.critic is None:
            return loss, figures
        alpha = self.signal_at(batch["t"])
        clean = self.clean(predicted, noisy, alpha)
        if self.likeness is not None and "faces" in batch and "masks" not in batch:
            unlike, figures = self._likeness_loss(clean, alpha, batch)
            loss = loss + unlike
        if self.model.critic is not None:
            doubt, seen = self._critic_loss(self.model.critic, clean, predicted, rebuilt, batch)
            loss, figures = loss + doubt, figures | seen
        return loss, {"rebuilt": rebuilt.item(), **figures}

    def predict(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the prediction, the noisy latents it was made from, and what it should be."""
        latents, noise, t = batch["latents"], batch["noise"], batch["t"]
        noisy = self.scheduler.add_noise(latents, noise, t)
        masks = batch["masks"][0] if "masks" in batch else None  # the same for all
        told = (batch["style"], batch["identity"], masks, self._blur(batch))
        return model(noisy, t, *told).float(), noisy, self._target(latents, noise, t)

    def _veiled(self, told: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the batch with `veil`, if there is a critic: noise of its own strength for each
        canvas, for the critic's eyes.
        """
        if self.model.critic is not None:
            shape = tuple(told["latents"].shape)
            strength = rng.random((shape[0], 1, 1, 1), np.float32) * self.settings.critic.noise
            told["veil"] = torch.from_numpy(strength * rng.standard_normal(shape, np.float32))
        return told

    def _wish_loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return what the judges say of pictures drawn for wishes, and the critic's own loss."""
        assert self.wishes is not None
        noisy, t = self.begin_wish(batch)
        predicted, clean = self._draw(model, noisy, t, batch)
        loss, figures = self.wishes.judge(self.wishes.decode(clean, batch), batch)
        if self.model.critic is None:
            return loss, figures
        doubt, seen = self._critic_loss(self.model.critic, clean, predicted, loss, batch)
        return loss + doubt, figures | {f"wish_{name}": value for name, value in seen.items()}

    def begin_wish(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the noisy latents that a wish's step starts from, and their times.

        What came before is drawn without a gradient; each step adds noise anew.
        """
        assert self.wishes is not None
        times, turn, noisy = self.wishes.times, batch["turn"], batch["noise"]
        for k in range(int(turn.max())):
            going = turn > k
            given = {name: each[going] for name, each in batch.items()}
            now, then = (time.expand(int(going.sum())) for time in times[k : k + 2])
            with torch.no_grad():
                _, clean = self._draw(self.model, noisy[going], now, given)
            noisy = noisy.clone()
            noisy[going] = self.scheduler.add_noise(clean, given["more_noise"][:, k], then)
        return noisy, times.to(turn.device)[turn]

    def made_of(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the clean latents (B, C, h, w) that the model's predictions for a batch mean."""
        if "wished" in batch:
            return self.draw_wish(batch)
        predicted, noisy, _ = self.predict(self.model, batch)
        return self.clean(predicted, noisy, self.signal_at(batch["t"]))

    def draw_wish(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the clean latents (B, C, h, w) that the model makes for a batch of wishes."""
        return self._draw(self.model, *self.begin_wish(batch), batch)[1]

    def _draw(
        self, model: nn.Module, noisy: Tensor, t: Tensor, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the prediction (B, C, h, w) and the clean latents that it means."""
        predicted = model(noisy, t, batch["style"], batch["identity"], None, self._blur(batch))
        return predicted.float(), self.clean(predicted.float(), noisy, self.signal_at(t))

    @torch.no_grad()
    def what_is_missing(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return face maps, weights of a guess and what predictions lack, at high noise."""
        high = {**batch, "t": (TIMES + batch["t"]) // 2}
        predicted, _, target = self.predict(self.model, high)
        assert isinstance(self.model.unet, MappedUNet)
        face_map = self.model.map_faces(batch["faces"])
        return face_map, self.model.unet.weights_at(high["t"]), target - predicted

    def _blur(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """Return the faces' latents under a little noise; those not given stay zero."""
        if "faces" not in batch:
            return None
        faces = batch["faces"]
        given = faces.flatten(1).any(1)[:, None, None, None]
        return faces + given * self.settings.face_map.noise * batch["blur"]

    def _likeness_loss(
        self, clean: Tensor, alpha: Tensor, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return how unlike their photos clear predictions are, weighted; 0 where none is."""
        assert self.likeness is not None
        chosen, t = self.settings.identity_loss, batch["t"]
        told = batch["in_layout"] & batch["faces"].flatten(1).any(1)
        rows = (told & (t < chosen.below)).nonzero()[: chosen.samples, 0]
        if not len(rows):
            return clean.new_zeros(()), {}
        unlike = self.likeness(clean[rows], batch["faces"][rows])
        loss = chosen.weight * (unlike * alpha[rows].flatten()).sum() / len(t)
        return loss, {"unlike": unlike.mean().item()}

    def _critic_loss(
        self,
        critic: LatentCritic,
        clean: Tensor,
        predicted: Tensor,
        rebuilt: Tensor,
        batch: Mapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the critic's own loss and the generator's, which pulls in proportion to `rebuilt`.

        Portraits on one canvas are judged one by one, each with its style.
        """
        made, real, style = self.portraits_of(clean, batch)
        verdict = critic.judge(made, style).mean()
        doubt = hinge(critic(real, style), critic(made.detach(), style))
        weight = self.settings.critic.weight * balance(rebuilt, verdict, predicted)
        if "wished" in batch:  # nothing else holds it to what a picture is
            weight = weight * trust(doubt)
        return doubt - weight * verdict, {"doubt": doubt.item(), "verdict": verdict.item()}

    def portraits_of(
        self, clean: Tensor, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return made and real latents (N, C, h, h), veiled, of single portraits, and styles."""
        side = batch["latents"].shape[2]
        made, real = (
            cut_portraits(each + batch["veil"], side).flatten(0, 1)
            for each in (clean, batch["latents"])
        )
        told = batch.get("shown", batch["style"])  # a wish in words has a real picture's
        return made, real, told[:, : len(made) // len(clean)].flatten(0, 1)

    def signal_at(self, t: Tensor) -> Tensor:
        """Return what is left of the signal's power at times (B,): (B, 1, 1, 1)."""
        return self.scheduler.alphas_cumprod.to(t.device)[t].view(-1, 1, 1, 1)

    def clean(self, predicted: Tensor, noisy: Tensor, alpha: Tensor) -> Tensor:
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
        mirrored = rng.random(len(picked)) >= 0.5
        names = np.where(mirrored, "latents_flipped", "latents").tolist()
        targets, faces = [i for i, _ in picked], [face for _, face in picked]
        gathered = {
            "latents": np.stack([arrays[name][i] for name, i in zip(names, targets, strict=True)]),
            "style": self._styles(targets, rng),
            "identity": arrays["identity"][faces],
            "faces": np.stack([arrays[name][i] for name, i in zip(names, faces, strict=True)]),
        }
        gathered["faces"][~self.pool.in_layout[faces]] = 0
        told = {name: torch.from_numpy(a.astype(np.float32)) for name, a in gathered.items()}
        return {
            **told,
            "in_layout": torch.from_numpy(self.pool.in_layout[targets]),
            "index": torch.tensor(targets),
            "mirrored": torch.from_numpy(mirrored),
        }

    def _styles(self, targets: list[int], rng: np.random.Generator) -> np.ndarray:
        """Return (B, S): styles of the pictures with their faces hidden, some of them whole."""
        styles: np.ndarray = self.data.arrays["style"][targets]
        if self.settings.whole_style:
            whole = rng.random(len(targets)) < self.settings.whole_style
            styles = np.where(whole[:, None], self.data.arrays["style_whole"][targets], styles)
        return styles

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


def teach_critic(task: UNetTask, critic: LatentCritic, rng: np.random.Generator) -> None:
    """Let a fresh critic learn what the generator makes, before its verdicts count."""

    def doubt() -> Tensor:
        batch = task.batch(rng, GUESS_BATCH)
        with torch.no_grad():
            made, real, style = task.portraits_of(task.made_of(batch), batch)
        return hinge(critic(real, style), critic(made, style))

    settings = task.settings
    learn_alone(critic, doubt, settings.critic.alone, settings.loop.precision == "bf16")


def build_identity_loss(settings: Settings) -> IdentityLoss | None:
    """Return the loss that the settings ask for. Raises BadOption, MissingWeights."""
    if settings.identity_loss.teacher is None:
        return None
    if settings.codec is None or not settings.face_map.features:
        raise BadOption("identity_loss needs a face map and the codec", hint="set codec = FOLDER")
    return IdentityLoss(settings.identity_loss.teacher, PatchCodec.from_pretrained(settings.codec))


def build_wishes(
    settings: WishSettings, data: PreparedSet, pool: SamplePool, likeness: IdentityLoss | None
) -> Wishes | None:
    """Return the wishes that the settings ask for. Raises BadOption, MissingWeights."""
    if settings.reader is None:
        return None
    if likeness is None:
        hint = "set codec, [face_map] and identity_loss.teacher"
        raise BadOption("wishes need a face map, the codec and a recogniser", hint=hint)
    return Wishes(settings, data, pool, likeness)


def set_first_guess(task: UNetTask, rng: np.random.Generator) -> None:
    """Fit the part of the prediction that is linear in the face map, on batches of the task.

    It comes before the first step, so that training begins with the face in place.
    """
    model = task.model
    assert isinstance(model.unet, MappedUNet)
    batches = (task.rebuilding_batch(rng, GUESS_BATCH) for _ in range(GUESS_BATCHES))
    fitted = fit_first_guess(task.what_is_missing(batch) for batch in batches)
    with torch.no_grad():
        model.unet.first_guess.weight.add_(fitted)


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the folder with the exported parts."""
    return train_task(UNetTask(settings), settings.loop, to_dict(settings), report)
