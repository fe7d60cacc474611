"""The people a model is judged on: a name, photos, labels; and which half they belong to."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from facestudio.data.sources import RawSample, open_source
from facestudio.errors import BadOption, NotAPicture, PictureError
from facestudio.evaluation.settings import Half
from facestudio.images import read_picture

MOST_PHOTOS = 3
AGES = ((18, "under 18"), (36, "18 to 35"), (60, "36 to 59"), (float("inf"), "60 and over"))


@dataclass(frozen=True)
class Person:
    """Somebody with two photos or more, as encoded bytes, and the groups they belong to."""

    name: str
    photos: tuple[bytes, ...]
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> Image.Image:
        """The photo that a model is given."""
        return decode(self.photos[0])

    @property
    def other(self) -> Image.Image:
        """Another photo, which the model never sees."""
        return decode(self.photos[1])

    @property
    def third(self) -> Image.Image | None:
        """A third photo, None where there is none."""
        return decode(self.photos[2]) if len(self.photos) > 2 else None


def decode(photo: bytes) -> Image.Image:
    """The RGB picture in encoded bytes. Raises NotAPicture."""
    try:
        return read_picture(Image.open(io.BytesIO(photo)))
    except OSError as error:  # Pillow's own errors are OSErrors
        raise NotAPicture(f"a photo of {len(photo)} bytes cannot be read: {error}") from error


def read_people(
    path: Path, half: Half = "all", limit: int | None = None, photos: int | None = None
) -> list[Person]:
    """People with readable photos in the order of their names' hashes.

    Each with their first `photos`, where None two or three; people with fewer are left out.
    `path` is any source of pictures. A record's `person` says who it is, else the folder does.
    The order has nothing to do with the names, so the first `limit` are a fair choice and a larger
    limit only adds people. Raises BadOption if nobody is left.
    """
    found: dict[str, list[RawSample]] = defaultdict(list)
    for item in open_source(path):
        if isinstance(item, RawSample) and item.record.get("kind", "photo") == "photo":
            found[_name_of(item)].append(item)
    chosen = (name for name in sorted(found, key=_digest) if half in ("all", half_of(name)))
    least, most = (2, MOST_PHOTOS) if photos is None else (photos, photos)
    made = (_make_person(name, found[name], least, most) for name in chosen)
    people = list(islice((person for person in made if person is not None), limit))
    if len(people) < 2:
        hint = "give a tar whose JSON names a person, or a folder with a folder a person"
        message = f"{path}: {len(people)} people with {least} photos or more; two are wanted"
        raise BadOption(message, file=path, hint=hint)
    return people


def half_of(name: str) -> Half:
    """The half that a person of this name belongs to, for good: "tune" or "report"."""
    return "tune" if int(_digest(name)[-1], 16) % 2 else "report"


def groups_of(record: Mapping[str, Any]) -> dict[str, str]:
    """The groups that labels name: gender, age in four spans, ethnicity."""
    groups = {}
    if isinstance(record.get("gender"), str):
        groups["gender"] = record["gender"]
    elif isinstance(record.get("attributes"), list):
        groups["gender"] = "male" if "Male" in record["attributes"] else "female"
    span = age_span(record)
    if span is not None:
        groups["age"] = span
    for label in ("ethnicity", "skin"):
        if isinstance(record.get(label), str):
            groups[label] = record[label]
    return groups


def age_span(record: Mapping[str, Any]) -> str | None:
    """The span of years that a record's age falls in, None without one."""
    age = record.get("age")
    if not isinstance(age, int | float):
        return None
    return next(span for below, span in AGES if age < below)


def _name_of(sample: RawSample) -> str:
    return str(sample.record.get("person") or sample.key.rpartition("/")[0] or sample.key)


def _make_person(name: str, samples: list[RawSample], least: int, most: int) -> Person | None:
    """The person with their first `most` photos that can be read, None with fewer than `least`."""
    readable = (each for each in sorted(samples, key=lambda s: s.key) if _opens(each.picture))
    photos = list(islice(readable, most))
    if len(photos) < least:
        return None
    return Person(name, tuple(each.picture for each in photos), groups_of(photos[0].record))


def _opens(photo: bytes) -> bool:
    try:
        decode(photo)
    except PictureError:
        return False
    return True


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
