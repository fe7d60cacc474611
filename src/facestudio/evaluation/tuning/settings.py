"""What a table of tuned methods is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from facestudio.errors import BadOption
from facestudio.evaluation.settings import (
    EvaluationSettings,
    Half,
    ValueRange,
    check_settings,
)

INVERSION, DREAMBOOTH = TUNED_METHODS = ("inversion", "dreambooth")


@dataclass(frozen=True)
class TunedSettings:
    """How one tuned method is fitted to a person.

    Every learning rate is tried on the people kept for tuning, and a picture drawn after each
    number of `iterations`; the pair whose pictures are most like them is used on the others.
    batch: photos in an iteration.
    """

    learning_rates: tuple[float, ...]
    iterations: tuple[int, ...]
    batch: int = 2


@dataclass(frozen=True)
class PriorSettings:
    """DreamBooth's prior preservation: pictures of nobody in particular, drawn before tuning."""

    pictures: int = 64
    weight: float = 1.0


@dataclass(frozen=True)
class TableSettings:
    """Settings of `facestudio table`; names as in `EvaluationSettings` where that has them.

    references: how many photos of a person a method is given, one row for each; the photo after
    the last of them is never shown and is the "other photo". n_tuning, n_people: how many people
    of the half "tune" choose the iterations, how many of the half "report" give the figures.
    prompt: what is drawn by words, by all methods alike.
    """

    people: Path
    out: Path
    model: str = "mini"
    references: tuple[int, ...] = (1, 3)
    n_tuning: int = 6
    n_people: int = 24
    prompt: str = "a portrait photo of a person"
    inversion: TunedSettings = field(
        default_factory=lambda: TunedSettings((0.01, 0.05), (100, 300, 1000))
    )
    dreambooth: TunedSettings = field(
        default_factory=lambda: TunedSettings((1e-5, 5e-5), (50, 100, 200, 400))
    )
    prior: PriorSettings = field(default_factory=PriorSettings)
    recogniser: Path | None = None
    recogniser_range: ValueRange = "0..255"
    detector: str = "dlib"
    min_face_px: int = 24
    seed: int = 0
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    against: tuple[Path, ...] = ()
    near: float = 0.5
    false_accepts: float = 1e-3

    @property
    def n_photos(self) -> int:
        """How many photos of a person are wanted: the references and one that is never shown."""
        return max(self.references) + 1

    def judging(self, half: Half) -> EvaluationSettings:
        """The same as the settings of an evaluation, for what judges both."""
        same = (
            "people", "out", "model", "recogniser", "recogniser_range", "detector", "min_face_px",
            "seed", "num_inference_steps", "guidance_scale", "against", "near", "false_accepts",
        )  # fmt: skip
        given = {name: getattr(self, name) for name in same}
        count = self.n_tuning if half == "tune" else self.n_people
        return EvaluationSettings(half=half, n_people=count, prompts=(self.prompt,), **given)


def check_table_settings(settings: TableSettings) -> None:
    """Raise BadOption or MissingFile for what can be told before any work."""
    for half in ("tune", "report"):
        check_settings(settings.judging(half))
    _check_counts("references", settings.references)
    for name in TUNED_METHODS:
        tuned: TunedSettings = getattr(settings, name)
        _check_counts(f"{name}.iterations", tuned.iterations)
        _check_counts(f"{name}.batch", (tuned.batch,))
        if not tuned.learning_rates or min(tuned.learning_rates) <= 0:
            raise BadOption(f"{name}.learning_rates={list(tuned.learning_rates)}: give some over 0")
    _check_counts("prior.pictures", (settings.prior.pictures,))
    if settings.prior.weight < 0:
        raise BadOption(f"prior.weight={settings.prior.weight}: give 0 or more")


def _check_counts(name: str, values: tuple[int, ...]) -> None:
    if not values or min(values) < 1 or list(values) != sorted(set(values)):
        raise BadOption(f"{name}={list(values)}: give whole numbers of 1 or more, rising")
