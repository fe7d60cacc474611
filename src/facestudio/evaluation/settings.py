"""What an evaluation is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from facestudio.errors import BadOption, MissingFile

ValueRange = Literal["0..255", "-1..1"]
DLIB = Path("dlib")
Half = Literal["tune", "report", "all"]
TRAIN_HINT = "run `facestudio train classifiers`, then set `classifiers` and `real`"


@dataclass(frozen=True)
class StyleSettings:
    """Table [style]: is the style asked for recognised, and does the likeness hold in it?

    pictures: styles shown to the model by a held-out picture of the real sets. prompts: style ->
    words that name it. Each is a condition; all but "photo" count as drawn.
    """

    pictures: tuple[str, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)
    n_people: int = 40


@dataclass(frozen=True)
class WordSettings:
    """Table [words]: attribute -> the prompt that asks for it; beside the first of `prompts`."""

    attributes: dict[str, str]
    n_people: int = 40


@dataclass(frozen=True)
class SeedSettings:
    """Table [seeds]: the first of `prompts` again from other noise."""

    n_seeds: int = 4
    n_people: int = 10


@dataclass(frozen=True)
class PairSettings:
    """Table [pairs]: two people side by side on one canvas; the model's size where None."""

    prompt: str
    n_pairs: int = 20
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of `facestudio evaluate`.

    model: a name, a model folder or a hub's name. people: a tar, or a folder with a folder a
    person; two photos each at least. out: folder for the report and every picture made.

    recogniser: an ArcFace-style ONNX file that had no part in training, or "dlib";
    recogniser_range: the pixel values an ONNX file takes.
    detector: "dlib", or the path of a YuNet ONNX file (needs OpenCV). min_face_px: smaller faces
    count as none. half: "tune" while choosing, "report" once for the final figures; the halves
    share nobody.

    labels: JSON of person -> {"gender": …, "age": …, "skin": …}, for groups where the set itself
    has none. min_group: people a group must have to be compared with the others.

    prompts, styles: each prompt and each style picture is a condition of its own; own_style adds
    the reference photo, face hidden, as style. All are taken for photographic; drawn ones belong
    in [style]. without_identity: every condition once more with
    the identity left out, from the same noise. num_inference_steps, guidance_scale: the model's
    own where None.

    against: prepared training sets; people in them (similarity of `near` or more by the model's
    encoder, 0 strangers to 1 same picture) are left out. false_accepts: the rate that sets the
    threshold of "verified".

    classifiers: folder of `facestudio train classifiers`; real: prepared sets whose pictures in
    the splits `held_out` are compared with, and shown as style pictures. With both come the tables
    of quality and groups by appearance, and [style] and [words] may be asked for.
    timed: pictures made once more with a clock.
    """

    people: Path
    out: Path
    model: str = "mini"
    recogniser: Path | None = None
    recogniser_range: ValueRange = "0..255"
    detector: str = "dlib"
    min_face_px: int = 24
    half: Half = "all"
    n_people: int | None = None
    seed: int = 0
    prompts: tuple[str, ...] = ("a photo",)
    styles: tuple[Path, ...] = ()
    own_style: bool = False
    without_identity: bool = True
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    identity_scale: float = 1.0
    against: tuple[Path, ...] = ()
    near: float = 0.5
    false_accepts: float = 1e-3
    sheet_people: int = 48
    labels: Path | None = None
    min_group: int = 10
    classifiers: Path | None = None
    real: tuple[Path, ...] = ()
    held_out: tuple[str, ...] = ("test",)
    n_real: int = 500
    style: StyleSettings | None = None
    words: WordSettings | None = None
    seeds: SeedSettings | None = None
    pairs: PairSettings | None = None
    timed: int = 3


def check_settings(settings: EvaluationSettings) -> None:
    """Raise BadOption or MissingFile for what can be told before any work."""
    if settings.n_people is not None and settings.n_people < 2:
        raise BadOption(f"n_people={settings.n_people}: give 2 or more, strangers are needed too")
    if not (settings.prompts or settings.styles or settings.own_style or settings.style):
        raise BadOption("nothing to make: give prompts, styles, own_style or [style]")
    _check_tables(settings)
    for name in ("near", "false_accepts"):
        if not 0 < getattr(settings, name) < 1:
            raise BadOption(f"{name}={getattr(settings, name)}: give a number between 0 and 1")
    for path in _files_of(settings):
        if path is not None and not path.exists():
            raise MissingFile(f"no such file: {path}", file=path)


def _files_of(settings: EvaluationSettings) -> list[Path | None]:
    recogniser = None if settings.recogniser == DLIB else settings.recogniser
    single = [settings.people, recogniser, settings.labels, settings.classifiers]
    return [*single, *settings.styles, *settings.against, *settings.real]


def _check_tables(settings: EvaluationSettings) -> None:
    judged = settings.classifiers is not None and settings.real
    for name in ("style", "words"):
        if getattr(settings, name) is not None and not judged:
            raise BadOption(f"[{name}] needs classifiers and real pictures", hint=TRAIN_HINT)
    for name in ("words", "seeds"):
        if getattr(settings, name) is not None and not settings.prompts:
            raise BadOption(f"[{name}] is compared with the first of prompts; give one")
