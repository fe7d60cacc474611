"""What a source yields: a picture with its labels, or a note on something that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class RawSample:
    """One picture as it lies in its source: encoded bytes, JSON record, text if there is one."""

    key: str
    picture: bytes
    record: dict[str, Any]
    caption: str | None


@dataclass(frozen=True)
class SourceProblem:
    """Something that could not be read: `where` (file and member), `message` what is wrong."""

    where: str
    message: str


Item = RawSample | SourceProblem


class Part(Protocol):
    """A piece of a source that one process reads: picklable, iterable again and again."""

    @property
    def name(self) -> str:
        """A name that stays the same, unique within the source."""

    def __iter__(self) -> Iterator[Item]: ...


def parse_record(text: bytes, where: str) -> dict[str, Any] | SourceProblem:
    """The JSON object in `text`, or what is wrong with it."""
    try:
        record = json.loads(text)
    except ValueError as error:
        return SourceProblem(where, f"broken JSON: {error}")
    if not isinstance(record, dict):
        return SourceProblem(where, f"JSON holds a {type(record).__name__}, not an object")
    return record


def make_sample(
    key: str, picture: bytes, record: bytes | None, text: bytes | None, where: str
) -> Item:
    """A sample of raw parts; a problem instead where the record is broken or the picture empty."""
    if not picture:
        return SourceProblem(where, "the picture has no bytes")
    labels = {} if record is None else parse_record(record, f"{where}.json")
    if isinstance(labels, SourceProblem):
        return labels
    caption = None if text is None else text.decode("utf-8", "replace").strip() or None
    return RawSample(key, picture, labels, caption)
