"""A job as a drawing process sees it: everything it takes, and the events that come of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from facestudio.errors import BadOption, FaceStudioError, MissingFile
from facestudio.faces.detect import Face
from facestudio.faces.identity import Identity
from facestudio.identities.profile import Profile
from facestudio.pipeline.request import Limits, Request
from facestudio.server.schemas import Generate, Mix, Photos

SAVED = "@"


@dataclass(frozen=True)
class ModelCard:
    """What a loaded model is and what it allows."""

    name: str
    encoder: str
    takes_words: bool
    limits: Limits


@dataclass(frozen=True)
class Work:
    """A job to draw: settings, the pictures that were sent, and the saved people it names."""

    job_id: str
    asked: Generate
    pictures: Mapping[str, bytes]
    saved: Mapping[str, Identity] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """The sampler has done `step` of `steps` for all jobs that are drawn together."""

    step: int
    steps: int


@dataclass(frozen=True)
class Drawn:
    """The pictures of one job. withheld: which of them a content checker calls explicit."""

    job_id: str
    pictures: list[Image.Image]
    likeness: list[list[float | None]]
    seeds: list[int]
    settings: dict[str, Any]
    withheld: list[bool]


@dataclass(frozen=True)
class Failed:
    """Why one job has no pictures."""

    job_id: str
    error: FaceStudioError


Event = Step | Drawn | Failed


class EngineLost(Exception):
    """Whatever was drawing is gone; its jobs may be drawn again."""


class Engine(Protocol):
    """Where pictures are drawn: in this process, or in replicas elsewhere."""

    lanes: int  # how many batches may be drawn at the same time

    async def start(self) -> ModelCard:
        """Load the model and tell what it is. Raises ModelError."""
        ...

    def draw(self, works: Sequence[Work]) -> AsyncGenerator[Event, None]:
        """The events of jobs of one shape; closing it stops the drawing. Raises EngineLost."""
        ...

    async def find_faces(self, data: bytes, name: str) -> tuple[tuple[int, int], list[Face]]:
        """Width and height of a picture, and the faces in it. Raises PictureError."""
        ...

    async def make_profile(self, photos: Mapping[str, bytes], largest: bool) -> Profile:
        """The person in these photos, to be saved. Raises PictureError."""
        ...

    async def forget(self) -> None:
        """Drop what is kept in memory of the faces that were sent."""
        ...

    async def stop(self) -> None:
        """Let go of the model."""
        ...


def words_of(person: str | Photos | Mix) -> list[str]:
    """The names that stand for one person."""
    if isinstance(person, str):
        return [person]
    return person.photos if isinstance(person, Photos) else list(person.mix)


def people_of(asked: Generate) -> list[str | Photos | Mix | None]:
    """The people of a request, one at least."""
    return list(asked.identity) if isinstance(asked.identity, list) else [asked.identity]


def names_in(asked: Generate) -> list[str]:
    """Every name that a request uses, of pictures and of saved people, each once."""
    people = [
        word for person in people_of(asked) if person is not None for word in words_of(person)
    ]
    pictures = [name for name in (asked.style, asked.image) if name is not None]
    return list(dict.fromkeys([*people, *pictures]))


def check_names(asked: Generate, sent: Sequence[str]) -> None:
    """Raise MissingFile for a picture that was not sent, BadOption for one that is not used."""
    for name in (asked.style, asked.image):
        if name is not None and name.startswith(SAVED):
            raise BadOption(f"{name!r} is a saved person; style and image are pictures")
    names = [name for name in names_in(asked) if not name.startswith(SAVED)]
    for name in names:
        if name not in sent:
            hint = "send it along under this file name; paths and addresses are never opened"
            raise MissingFile(f"no picture {name!r} was sent", file=name, hint=hint)
    if unused := [name for name in sent if name not in names]:
        raise BadOption(f"the picture {unused[0]!r} was sent, but the settings do not name it")


def to_request(asked: Generate, people: Sequence[Any], picture: Callable[[str], Any]) -> Request:
    """The pipeline's request, not checked yet; `picture` gives the picture of a name."""
    given = asked.model_dump(exclude={"identity", "largest", "timeout_s", "style", "image"})
    given["regions"] = None if asked.regions is None else tuple(map(tuple, asked.regions))
    pictures: dict[str, Any] = {
        name: None if source is None else picture(source)
        for name, source in (("style", asked.style), ("image", asked.image))
    }
    return Request(people=tuple(people), **given, **pictures)
