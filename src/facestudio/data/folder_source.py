"""Folders of pictures: any tree with .json/.txt beside the pictures, and FFHQ's own layout.

FFHQ: `images1024x1024/00000/00000.png` (or `thumbnails128x128/…`) with an optional
`ffhq-dataset-v2.json` beside it (https://github.com/NVlabs/ffhq-dataset).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from facestudio.data.samples import (
    PICTURE_SUFFIXES,
    Item,
    RawSample,
    SourceProblem,
    make_sample,
)

PART_SIZE = 1000
FFHQ_FOLDERS = ("images1024x1024", "in-the-wild-images", "thumbnails128x128")
FFHQ_LABELS = "ffhq-dataset-v2.json"
FFHQ_SPLITS = {"training": "train", "validation": "val"}


@dataclass(frozen=True)
class FolderPart:
    """Some pictures of a folder, by their paths below `root`; labels lie beside each picture."""

    name: str
    root: Path
    files: tuple[str, ...]
    keys: tuple[str, ...]

    def __iter__(self) -> Iterator[Item]:
        for file, key in zip(self.files, self.keys, strict=True):
            path = self.root / file
            try:
                beside = [_optional(path.with_suffix(suffix)) for suffix in (".json", ".txt")]
                yield make_sample(key, path.read_bytes(), beside[0], beside[1], file)
            except OSError as error:
                yield SourceProblem(file, f"cannot be read: {error.strerror or error}")


@dataclass(frozen=True)
class FfhqPart:
    """Some pictures of FFHQ with what `ffhq-dataset-v2.json` says of them, where it is there."""

    pictures: FolderPart
    labels: Path | None

    @property
    def name(self) -> str:
        """The name of its pictures' part."""
        return self.pictures.name

    def __iter__(self) -> Iterator[Item]:
        known: dict[str, dict[str, Any]] = {}
        if self.labels is not None:
            try:
                known = _ffhq_records(self.labels)
            except (OSError, ValueError, AttributeError) as error:
                yield SourceProblem(self.labels.name, f"cannot be read: {error}")
        for item in self.pictures:
            yield _labelled(item, known) if isinstance(item, RawSample) else item


def folder_parts(root: Path) -> list[FolderPart]:
    """All pictures below `root` in the order of their names, a thousand to a part."""
    files = sorted(_pictures_below(root))
    keys = _unique_keys(files)
    cuts = [slice(start, start + PART_SIZE) for start in range(0, len(files), PART_SIZE)]
    name = root.resolve().name
    return [
        FolderPart(f"{name}-{number:05d}", root, tuple(files[cut]), tuple(keys[cut]))
        for number, cut in enumerate(cuts)
    ]


def find_ffhq(path: Path) -> Path | None:
    """The folder of FFHQ's pictures at or directly below `path`, None where there is none."""
    if path.name in FFHQ_FOLDERS:
        return path
    return next((path / name for name in FFHQ_FOLDERS if (path / name).is_dir()), None)


def ffhq_parts(pictures: Path) -> list[FfhqPart]:
    """FFHQ's pictures in parts of a thousand, with the labels file beside their folder."""
    labels = pictures.parent / FFHQ_LABELS
    return [FfhqPart(part, labels if labels.is_file() else None) for part in folder_parts(pictures)]


def _pictures_below(root: Path) -> Iterator[str]:
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        hidden = any(part.startswith((".", "__MACOSX")) for part in relative.parts)
        if path.suffix.lower() in PICTURE_SUFFIXES and not hidden and path.is_file():
            yield relative.as_posix()


def _unique_keys(files: Sequence[str]) -> list[str]:
    """Each path without its suffix; with it where two pictures differ in nothing else."""
    stems = [file.rpartition(".")[0] for file in files]
    seen = Counter(stems)
    return [stem if seen[stem] == 1 else file for stem, file in zip(stems, files, strict=True)]


def _optional(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _labelled(sample: RawSample, known: dict[str, dict[str, Any]]) -> RawSample:
    number = sample.key.rpartition("/")[2].lstrip("0") or "0"
    record = {"source": "ffhq", "kind": "photo", **known.get(number, {}), **sample.record}
    return RawSample(sample.key, sample.picture, record, sample.caption)


@lru_cache(maxsize=1)
def _ffhq_records(path: Path) -> dict[str, dict[str, Any]]:
    """Picture number -> the few labels worth keeping of a file of 250 MB."""
    entries = json.loads(path.read_bytes())
    return {number: _ffhq_record(entry) for number, entry in entries.items()}


def _ffhq_record(entry: dict[str, Any]) -> dict[str, Any]:
    metadata, image = entry.get("metadata", {}), entry.get("image", {})
    record = {
        "split": FFHQ_SPLITS.get(entry.get("category", ""), "train"),
        "license": metadata.get("license"),
        "author": metadata.get("author"),
        "landmarks": image.get("face_landmarks"),
    }
    return {name: value for name, value in record.items() if value is not None}
