"""The pictures that are judged: made once, kept as files, taken up again by a later run."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from facestudio.errors import BadOption, BadOutput, PictureError
from facestudio.evaluation.people import Person
from facestudio.evaluation.settings import EvaluationSettings
from facestudio.faces.identity import Identity
from facestudio.images import check_output, read_picture, write_bytes, write_picture
from facestudio.pipeline.pipeline import FaceStudioPipeline

MADE_BY = "made_by.json"
DECIDING = (
    "model", "seed", "prompts", "styles", "own_style", "num_inference_steps", "guidance_scale",
    "identity_scale",
)  # fmt: skip
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Condition:
    """One way to ask for a picture: `kind` prompt, style or own_style; `what` words or a path."""

    name: str
    kind: str
    what: str
    identity: bool


def list_conditions(settings: EvaluationSettings) -> list[Condition]:
    """Every prompt, every style picture, the own photo as style; each with and without identity."""
    asked = [(f"prompt-{i}", "prompt", text) for i, text in enumerate(settings.prompts)]
    asked += [(f"style-{i}", "style", str(path)) for i, path in enumerate(settings.styles)]
    asked += [("own-style", "own_style", "the reference photo")] if settings.own_style else []
    conditions = []
    for name, kind, what in asked:
        conditions.append(Condition(name, kind, what, identity=True))
        if settings.without_identity:
            conditions.append(Condition(f"{name}-nobody", kind, what, identity=False))
    return conditions


def seed_of(person: str, seed: int) -> int:
    """A person's seed, the same in every condition and whoever else is evaluated."""
    return zlib.crc32(f"{seed} {person}".encode()) % 2**31


def output_path(out: Path, condition: Condition, person: str) -> Path:
    """Where a person's picture in a condition is kept."""
    plain = re.sub(r"[^\w-]", "_", person)
    if plain != person:
        plain = f"{plain}-{zlib.crc32(person.encode()):08x}"
    return out / "outputs" / condition.name / f"{plain}.png"


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
    identities: dict[str, Identity],
    on_progress: Progress | None = None,
) -> None:
    """Make what is missing of every person's picture in every condition.

    Raises BadOption where the folder holds pictures made by other settings or another model.
    """
    claim_folder(settings, weights_mark(pipe))
    conditions = list_conditions(settings)
    total = len(people) * len(conditions)
    for number, person in enumerate(people):
        for place, condition in enumerate(conditions):
            path = output_path(settings.out, condition, person.name)
            if not path.exists():
                picture = make_picture(pipe, settings, condition, person, identities[person.name])
                path.parent.mkdir(parents=True, exist_ok=True)
                write_picture(picture, path)
            if on_progress is not None:
                on_progress(number * len(conditions) + place + 1, total)


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
    made = pipe(
        identity if condition.identity else None,
        **asked,
        seed=seed_of(person.name, settings.seed),
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        identity_scale=settings.identity_scale,
    )
    picture: Image.Image = made.images[0]
    return picture


def read_outputs(
    out: Path, condition: Condition, people: Sequence[Person]
) -> Iterator[Image.Image]:
    """The kept pictures of a condition, in the order of the people."""
    return (read_picture(output_path(out, condition, person.name)) for person in people)


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
    for name in DECIDING:
        value = getattr(settings, name)
        wanted[name] = [str(each) for each in value] if isinstance(value, tuple) else value
    path = settings.out / MADE_BY
    if not path.exists():
        write_bytes(path, json.dumps(wanted, indent=1).encode())
        return
    found = json.loads(path.read_text("utf-8"))
    changed = [name for name in wanted if found.get(name) != wanted[name]]
    if changed:
        hint = "choose another out folder, or remove this one"
        message = f"{settings.out} holds pictures made with another {', '.join(changed)}"
        raise BadOption(message, file=path, hint=hint)


def weights_mark(pipe: FaceStudioPipeline) -> str:
    """A checksum of all weights: the same model gives the same mark wherever it lies."""
    mark = 0
    for name, network in sorted(pipe.networks().items()):
        for key, tensor in sorted(network.state_dict().items()):
            mark = zlib.crc32(f"{name}.{key}".encode(), mark)
            data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            mark = zlib.crc32(data.numpy().tobytes(), mark)
    return f"{mark:08x}"
