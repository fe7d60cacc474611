"""What tells styles and attributes: heads on a ready network's features, fitted once, kept.

`facestudio train classifiers` fits them on prepared sets and writes what they get right on
pictures they were not fitted on. Nothing of the generator is in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from safetensors.numpy import load_file, save_file

from facestudio.data.labels import holds, style_of
from facestudio.data.shards import PreparedSet
from facestudio.errors import BadOption, MissingFile
from facestudio.evaluation.features import FeatureNetwork, Features
from facestudio.evaluation.heads import Head, fit_head
from facestudio.evaluation.outputs import Progress, open_folder
from facestudio.evaluation.people import AGES, age_span
from facestudio.faces.align import align_portrait
from facestudio.images import write_bytes
from facestudio.settings import to_dict

INFO, WEIGHTS = "classifiers.json", "classifiers.safetensors"
STYLE, ATTRIBUTES, GENDER, AGE = "style", "attributes", "gender", "age"
HEADS = (STYLE, ATTRIBUTES, GENDER, AGE)
GENDERS = ("female", "male")
PORTRAIT_PX = 128


@dataclass(frozen=True)
class Settings:
    """Settings of `facestudio train classifiers`.

    data: prepared sets. out: folder of the fitted heads. styles: name -> words of records' `style`.
    attributes: name -> CelebA attributes of which one must hold; "!Name": must not.
    softened: each picture is fitted and tested on a second time, blurred by a standard deviation
    between these two (px at 128), so that a judge knows a look in a soft picture too; (0, 0): not.
    held_out: splits that are only tested on; at most `per_style` pictures of a style and
    `portraits` of those with labels of a person are fitted on, a quarter of that tested.
    """

    data: tuple[Path, ...]
    out: Path
    styles: dict[str, tuple[str, ...]]
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    softened: tuple[float, float] = (0.0, 0.0)
    held_out: tuple[str, ...] = ("test", "val")
    per_style: int = 300
    portraits: int = 6000
    seed: int = 0


@dataclass(frozen=True)
class Accuracy:
    """What a name gets right on real pictures: found where it holds, found where it does not."""

    found: float
    wrongly_found: float
    n: int


@dataclass(frozen=True)
class Classifiers:
    """The feature network and its heads, by "style", "attributes", "gender", "age"."""

    network: FeatureNetwork
    heads: Mapping[str, Head]
    accuracy: Mapping[str, Mapping[str, Accuracy]]
    styles: Mapping[str, tuple[str, ...]]

    @classmethod
    def load(cls, folder: Path) -> Classifiers:
        """What `facestudio train classifiers` wrote. Raises MissingFile."""
        path = folder / INFO
        if not path.is_file():
            hint = "run `facestudio train classifiers` first"
            raise MissingFile(f"{folder} holds no fitted classifiers", file=path, hint=hint)
        info = json.loads(path.read_text("utf-8"))
        arrays = load_file(folder / WEIGHTS)
        heads = {
            kind: Head(tuple(each["names"]), each["one_of"], **_of_head(arrays, kind))
            for kind, each in info["heads"].items()
        }
        accuracy = {
            kind: {name: Accuracy(**figures) for name, figures in each["accuracy"].items()}
            for kind, each in info["heads"].items()
        }
        styles = {name: tuple(words) for name, words in info["settings"]["styles"].items()}
        return cls(FeatureNetwork.from_package(), heads, accuracy, styles)

    def right(self) -> dict[str, float]:
        """`mean_accuracy` of every head."""
        return {kind: self.mean_accuracy(kind) for kind in self.heads}

    def mean_accuracy(self, kind: str) -> float:
        """The mean over a head's names of what is found where it holds, on real pictures."""
        return float(np.mean([each.found for each in self.accuracy[kind].values()]))


def portrait_features(
    network: FeatureNetwork, pictures: Sequence[Image.Image], eyes: np.ndarray
) -> Features:
    """Features of pictures framed as the portraits that the heads were fitted on.

    eyes: (N, 2, 2) in pixels; where they are nan the picture is taken as it is.
    """
    framed = (
        picture if np.isnan(own).any() else align_portrait(picture, own, PORTRAIT_PX)
        for picture, own in zip(pictures, eyes, strict=True)
    )
    return network.look(framed)


def fit_classifiers(settings: Settings, on_progress: Progress | None = None) -> Classifiers:
    """The fitted heads, written to settings.out with what they get right.

    on_progress(done, total) is called after each picture. Raises BadOption where a name has no
    pictures to learn from.
    """
    open_folder(settings.out)
    prepared = PreparedSet(settings.data, ("pictures",))
    samples = choose_samples(prepared.records, settings)
    used = np.unique(np.concatenate([*samples.values()]))
    views = look_at_views(FeatureNetwork.from_package(), prepared, used, settings, on_progress)
    place = {index: row for row, index in enumerate(used)}
    arrays: dict[str, np.ndarray] = {}
    heads: dict[str, Any] = {}
    for kind in HEADS:
        rows = np.array([place[i] for i in samples[kind]], int)
        records = [prepared.records[i] for i in samples[kind]] * len(views)
        if len(rows):
            seen = [view.style if kind == STYLE else view.content for view in views]
            x = np.concatenate([each[rows] for each in seen])
            head, accuracy = fit_and_test(kind, x, records, settings)
            arrays |= {f"{kind}.{name}": getattr(head, name) for name in ARRAYS}
            heads[kind] = {"names": head.names, "one_of": head.one_of, "accuracy": accuracy}
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, settings.out / WEIGHTS)
    text = json.dumps({"settings": to_dict(settings), "heads": heads}, indent=1)
    write_bytes(settings.out / INFO, text.encode())
    return Classifiers.load(settings.out)


ARRAYS = ("weight", "bias", "mean", "spread")


def fit_and_test(
    kind: str, x: np.ndarray, records: Sequence[Mapping[str, Any]], settings: Settings
) -> tuple[Head, dict[str, dict[str, float]]]:
    """A head fitted on the records that may be seen, and what it gets right on the others."""
    names = names_of(kind, settings)
    labels = np.array([label_of(kind, record, settings) for record in records])
    seen = np.array([record.get("split", "train") not in settings.held_out for record in records])
    if not seen.any() or seen.all():
        raise BadOption(f"{kind}: give pictures to fit on and pictures held out to test on")
    head = fit_head(x[seen], labels[seen], names, one_of=kind != ATTRIBUTES)
    if head.one_of:
        truth = labels[~seen][:, None] == np.arange(len(names))
        found = head.choose(x[~seen])[:, None] == np.arange(len(names))
    else:
        truth, found = labels[~seen].astype(bool), head.holds(x[~seen])
    return head, {
        name: to_dict(measure_accuracy(truth[:, k], found[:, k])) for k, name in enumerate(names)
    }


def measure_accuracy(truth: np.ndarray, found: np.ndarray) -> Accuracy:
    """How often what holds was found, and what does not."""
    right = float(found[truth].mean()) if truth.any() else float("nan")
    wrong = float(found[~truth].mean()) if (~truth).any() else float("nan")
    return Accuracy(right, wrong, int(truth.sum()))


def names_of(kind: str, settings: Settings) -> tuple[str, ...]:
    """The names that a head tells apart."""
    ages = tuple(span for _, span in AGES)
    known = {GENDER: GENDERS, AGE: ages, STYLE: tuple(settings.styles)}
    return known.get(kind, tuple(settings.attributes))


def label_of(kind: str, record: Mapping[str, Any], settings: Settings) -> Any:
    """A record's class number or truth values for a head; None where the record does not say."""
    own = record.get("attributes")
    if kind == STYLE:
        name = style_of(record, settings.styles)
        return None if name is None else list(settings.styles).index(name)
    if kind == ATTRIBUTES:
        if own is None or not settings.attributes:
            return None
        return [holds(wanted, own) for wanted in settings.attributes.values()]
    if record.get("kind") == "drawn":
        return None
    if kind == AGE:
        span = age_span(record)
        return None if span is None else names_of(AGE, settings).index(span)
    if own is not None:
        return int("Male" in own)
    return GENDERS.index(record["gender"]) if record.get("gender") in GENDERS else None


def choose_samples(
    records: Sequence[Mapping[str, Any]], settings: Settings
) -> dict[str, np.ndarray]:
    """For each head the records it is fitted and tested on, the same each time."""
    order = np.random.default_rng(settings.seed).permutation(len(records))
    return {kind: np.array(sorted(_choose(kind, records, order, settings)), int) for kind in HEADS}


def _choose(
    kind: str, records: Sequence[Mapping[str, Any]], order: np.ndarray, settings: Settings
) -> Iterator[int]:
    taken: dict[tuple[Any, bool], int] = {}
    for index in order:
        label = label_of(kind, records[index], settings)
        if label is None:
            continue
        tested = records[index].get("split", "train") in settings.held_out
        group = (label if kind == STYLE else None, tested)
        most = settings.per_style if kind == STYLE else settings.portraits
        if taken.get(group, 0) < (most // 4 if tested else most):
            taken[group] = taken.get(group, 0) + 1
            yield int(index)


def look_at_views(
    network: FeatureNetwork,
    prepared: PreparedSet,
    chosen: np.ndarray,
    settings: Settings,
    on_progress: Progress | None = None,
) -> list[Features]:
    """Features of chosen pictures of a prepared set, and of them softened where that is asked for.

    They are portraits already.
    """
    kinds = (False, True) if settings.softened[1] else (False,)
    total = len(chosen) * len(kinds)

    def pictures(soften: bool) -> Iterator[Image.Image]:
        for number, index in enumerate(chosen.tolist()):
            picture = Image.fromarray(prepared.picture(index))
            if soften:
                radius = np.random.default_rng([settings.seed, index]).uniform(*settings.softened)
                picture = picture.filter(ImageFilter.GaussianBlur(radius))
            yield picture
            if on_progress is not None:
                on_progress(soften * len(chosen) + number + 1, total)

    return [network.look(pictures(soften)) for soften in kinds]


def _of_head(arrays: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    return {name: arrays[f"{kind}.{name}"] for name in ARRAYS}
