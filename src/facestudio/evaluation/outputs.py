"""The pictures that are judged: made once, kept as files, taken up again by a later run."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from facestudio.data.labels import PHOTO
from facestudio.errors import BadOption, BadOutput, PictureError
from facestudio.evaluation.people import Person
from facestudio.evaluation.real import RealPictures
from facestudio.evaluation.settings import EvaluationSettings
from facestudio.faces.identity import Identity
from facestudio.images import check_output, read_picture, write_bytes, write_picture
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.settings import to_dict

MADE_BY = "made_by.json"
DECIDING = ("model", "seed", "num_inference_steps", "guidance_scale", "identity_scale")
LIKENESS, WORDS, SEED = "likeness", "words", "seed"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Condition:
    """One way to ask for a picture of each person.

    kind: "prompt" and `what` the words, "style" and `what` the picture's path, "shown" and `what`
    the style that a held-out picture shows, or "own_style". look: the style that should come out.
    attribute: what the words ask for. purpose: "likeness", "words" or "seed". people: how many of
    the people; all where None. noise: added to the seed.
    """

    name: str
    kind: str
    what: str
    identity: bool = True
    look: str | None = None
    attribute: str | None = None
    purpose: str = LIKENESS
    people: int | None = None
    noise: int = 0

    @property
    def drawn(self) -> bool:
        """Whether a drawing is asked for."""
        return self.look not in (None, PHOTO)


def list_conditions(settings: EvaluationSettings) -> list[Condition]:
    """All that is asked of every person; prompts, styles, own style also without identity."""
    plain = [Condition(f"prompt-{i}", "prompt", text) for i, text in enumerate(settings.prompts)]
    plain += [Condition(f"style-{i}", "style", str(p)) for i, p in enumerate(settings.styles)]
    if settings.own_style:
        plain.append(Condition("own-style", "own_style", "the reference photo"))
    conditions = []
    for condition in plain:
        conditions.append(condition)
        if settings.without_identity:
            nobody = replace(condition, name=f"{condition.name}-nobody", identity=False)
            conditions.append(nobody)
    return [*conditions, *_of_style(settings), *_of_words(settings), *_of_seeds(settings)]


def _of_style(settings: EvaluationSettings) -> Iterator[Condition]:
    asked = settings.style
    if asked is None:
        return
    for look in asked.pictures:
        yield Condition(f"shown-{look}", "shown", look, look=look, people=asked.n_people)
    for look, words in asked.prompts.items():
        yield Condition(f"named-{look}", "prompt", words, look=look, people=asked.n_people)


def _of_words(settings: EvaluationSettings) -> Iterator[Condition]:
    asked = settings.words
    if asked is None:
        return
    for name, words in asked.attributes.items():
        yield Condition(
            f"words-{name}", "prompt", words, attribute=name, purpose=WORDS, people=asked.n_people
        )


def _of_seeds(settings: EvaluationSettings) -> Iterator[Condition]:
    asked = settings.seeds
    if asked is None:
        return
    for number in range(1, asked.n_seeds):
        yield Condition(
            f"seed-{number}", "prompt", settings.prompts[0], purpose=SEED,
            people=asked.n_people, noise=number,
        )  # fmt: skip


def seed_of(person: str, seed: int) -> int:
    """A person's seed, the same in every condition and whoever else is evaluated."""
    return zlib.crc32(f"{seed} {person}".encode()) % 2**31


def output_path(out: Path, condition: Condition, person: str) -> Path:
    """Where a person's picture in a condition is kept."""
    return out / "outputs" / condition.name / f"{file_name(person)}.png"


def style_path(out: Path, style: str, person: str) -> Path:
    """Where the picture that shows a person's portrait its style is kept."""
    return out / "styles" / style / f"{file_name(person)}.png"


def file_name(person: str) -> str:
    """A name that files may have, different for different people."""
    plain = re.sub(r"[^\w-]", "_", person)
    return plain if plain == person else f"{plain}-{zlib.crc32(person.encode()):08x}"


def write_styles(
    settings: EvaluationSettings, people: Sequence[Person], real: RealPictures
) -> None:
    """Keep the held-out pictures that show each person's portrait its style."""
    asked = settings.style
    if asked is None:
        return
    for style in asked.pictures:
        for person in people[: asked.n_people]:
            path = style_path(settings.out, style, person.name)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_picture(real.pick(style, person.name), path)


def identify_people(pipe: FaceStudioPipeline, people: Sequence[Person]) -> dict[str, Identity]:
    """The identity in each reference photo by name; people in whom none is found are left out."""
    identities = {}
    for person in people:
        try:
            identities[person.name] = pipe.identity(person.reference, largest=True)
        except PictureError:
            continue
    return identities


def make_outputs(
    pipe: FaceStudioPipeline,
    settings: EvaluationSettings,
    people: Sequence[Person],
    identities: Mapping[str, Identity],
    on_progress: Progress | None = None,
) -> None:
    """Make what is missing of every person's picture in every condition.

    Raises BadOption where the folder holds pictures made by other settings or another model.
    """
    claim_folder(settings, weights_mark(pipe))
    asked = [
        (person, condition)
        for number, person in enumerate(people)
        for condition in list_conditions(settings)
        if condition.people is None or number < condition.people
    ]
    for done, (person, condition) in enumerate(asked):
        path = output_path(settings.out, condition, person.name)
        if not path.exists():
            picture = make_picture(pipe, settings, condition, person, identities[person.name])
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(picture, path)
        if on_progress is not None:
            on_progress(done + 1, len(asked))


def make_picture(
    pipe: FaceStudioPipeline,
    settings: EvaluationSettings,
    condition: Condition,
    person: Person,
    identity: Identity,
) -> Image.Image:
    """One picture of a person in a condition."""
    asked: dict[str, Any] = {"prompt" if condition.kind == "prompt" else "style": condition.what}
    if condition.kind == "own_style":
        asked = {"style": person.reference}
    if condition.kind == "shown":
        asked = {"style": read_picture(style_path(settings.out, condition.what, person.name))}
    made = pipe(
        identity if condition.identity else None,
        **asked,
        seed=seed_of(person.name, settings.seed) + condition.noise,
        **sampling_of(settings),
    )
    picture: Image.Image = made.images[0]
    return picture


def sampling_of(settings: EvaluationSettings) -> dict[str, Any]:
    """The pipeline's options that are the same in every picture of an evaluation."""
    names = ("num_inference_steps", "guidance_scale", "identity_scale")
    return {name: getattr(settings, name) for name in names}


def read_outputs(
    out: Path, condition: Condition, people: Sequence[Person]
) -> Iterator[Image.Image]:
    """The kept pictures of a condition, in the order of the people that it was asked for."""
    asked = people[: condition.people]
    return (read_picture(output_path(out, condition, person.name)) for person in asked)


def open_folder(folder: Path) -> None:
    """Make the out folder with what is above it. Raises BadOutput where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the folder {folder} cannot be made: {error.strerror or error}"
        raise BadOutput(message, file=folder) from error
    check_output(folder)


def claim_folder(settings: EvaluationSettings, weights: str) -> None:
    """Write down what makes the pictures in this folder, or compare with what stands there."""
    wanted: dict[str, Any] = {"weights": weights}
    wanted |= {name: getattr(settings, name) for name in DECIDING}
    wanted |= {each.name: each.what for each in list_conditions(settings)}
    if settings.pairs is not None:
        wanted["pairs"] = to_dict(settings.pairs) | {"n_pairs": None}
    claim(settings.out, wanted)


def claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Add what makes the pictures to what stands in a folder. Raises BadOption if they differ."""
    path = folder / MADE_BY
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    changed = [name for name in wanted if name in found and found[name] != wanted[name]]
    if changed:
        hint = "choose another out folder, or remove this one"
        message = f"{folder} holds pictures made with another {', '.join(changed)}"
        raise BadOption(message, file=path, hint=hint)
    write_bytes(path, json.dumps({**found, **wanted}, indent=1).encode())


def weights_mark(pipe: FaceStudioPipeline) -> str:
    """A checksum of all weights: the same model gives the same mark wherever it lies."""
    mark = 0
    for name, network in sorted(pipe.networks().items()):
        for key, tensor in sorted(network.state_dict().items()):
            mark = zlib.crc32(f"{name}.{key}".encode(), mark)
            data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            mark = zlib.crc32(data.numpy().tobytes(), mark)
    return f"{mark:08x}"
