"""People with several photos each: those a method is given, and one it never sees."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from facestudio.data.sources import RawSample, open_source
from facestudio.errors import BadOption, PictureError
from facestudio.evaluation.people import decode, half_of
from facestudio.evaluation.settings import Half


@dataclass(frozen=True)
class Album:
    """Somebody with photos, as encoded bytes, in a fixed order."""

    name: str
    photos: tuple[bytes, ...]

    def pictures(self, count: int) -> list[Image.Image]:
        """The first `count` photos: what a method is given."""
        return [decode(photo) for photo in self.photos[:count]]

    def picture(self, number: int) -> Image.Image:
        """One photo."""
        return decode(self.photos[number])


@dataclass(frozen=True)
class AlbumCount:
    """How many people were read, and how many were left out and why."""

    read: int
    without_face: int
    near_training: int
    evaluated: int


def read_albums(path: Path, half: Half, photos: int, limit: int) -> list[Album]:
    """People of a half with their first `photos` readable photos; those with fewer are left out.

    In the order of their names' hashes, so that the first `limit` are a fair choice. Unlike
    `read_people`, which keeps two photos a person. Raises BadOption with fewer than two people.
    """
    found: dict[str, list[RawSample]] = defaultdict(list)
    for item in open_source(path):
        if isinstance(item, RawSample) and item.record.get("kind", "photo") == "photo":
            found[_name_of(item)].append(item)
    names = sorted(found, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    made = (_make_album(name, found[name], photos) for name in names if half_of(name) == half)
    albums = list(islice((album for album in made if album is not None), limit))
    if len(albums) < 2:
        hint = "give fewer references, or a set with more photos a person"
        message = f"{path}: {len(albums)} people of the half {half!r} with {photos} photos or more"
        raise BadOption(f"{message}; two are wanted", file=path, hint=hint)
    return albums


def _name_of(sample: RawSample) -> str:
    return str(sample.record.get("person") or sample.key.rpartition("/")[0] or sample.key)


def _make_album(name: str, samples: list[RawSample], photos: int) -> Album | None:
    ordered = sorted(samples, key=lambda sample: sample.key)
    readable = tuple(islice(_readable(ordered), photos))
    return Album(name, readable) if len(readable) == photos else None


def _readable(samples: list[RawSample]) -> Iterator[bytes]:
    for sample in samples:
        try:
            decode(sample.picture)
        except PictureError:
            continue
        yield sample.picture
