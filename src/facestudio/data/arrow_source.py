"""Hugging Face datasets saved to disk, read with pyarrow (an extra), without `datasets`.

A saved set is a folder with `state.json` or `dataset_info.json` and `*.arrow` streams; a set with
splits has `dataset_dict.json` and a folder a split. A picture is a struct {bytes, path} or a path.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facestudio.data.samples import PICTURE_SUFFIXES, Item, RawSample, SourceProblem
from facestudio.errors import BadOption

CAPTION_COLUMNS = ("text", "caption", "captions", "sentence")
PICTURE_COLUMNS = ("image", "img", "picture", "photo", "file", "path", "image_path")


@dataclass(frozen=True)
class ArrowPart:
    """One arrow file as a part; `split` is written into records that name none."""

    name: str
    path: Path
    split: str | None
    features: str

    def __iter__(self) -> Iterator[Item]:
        features = json.loads(self.features)
        number = 0
        try:
            for row in _rows(self.path):
                yield self._item(row, number, features)
                number += 1
        except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
            message = f"cannot be read on: {error} ({number} rows were read before)"
            yield SourceProblem(self.path.name, message)

    def _item(self, row: dict[str, Any], number: int, features: dict[str, Any]) -> Item:
        key, where = f"{self.name}-{number:08d}", f"{self.path.name}: row {number}"
        column = picture_column(row, features)
        if column is None:
            return SourceProblem(where, f"no picture among the columns {', '.join(row)}")
        try:
            picture = _picture_bytes(row[column], self.path.parent)
        except OSError as error:
            return SourceProblem(where, f"its picture cannot be read: {error}")
        if not picture:
            return SourceProblem(where, f"its picture (column {column}) is empty")
        rest = {name: value for name, value in row.items() if name != column}
        return RawSample(key, picture, self._record(rest, features), _caption(rest))

    def _record(self, row: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
        """Every other column as plain values, class numbers turned into their names."""
        record = {name: _named(value, features.get(name)) for name, value in row.items()}
        if self.split is not None:
            record.setdefault("split", self.split)
        return {name: value for name, value in record.items() if not isinstance(value, bytes)}


def is_arrow_folder(path: Path) -> bool:
    """Whether `path` is a Hugging Face dataset on disk, with or without splits."""
    marks = ("dataset_dict.json", "dataset_info.json", "state.json")
    return any((path / mark).is_file() for mark in marks)


def arrow_parts(path: Path) -> list[ArrowPart]:
    """The arrow files of a saved set, split after split. Raises: BadOption without pyarrow."""
    _import_pyarrow()
    folders = [path]
    if (path / "dataset_dict.json").is_file():
        folders = [path / split for split in _read_json(path / "dataset_dict.json")["splits"]]
    parts = []
    for folder in folders:
        split = folder.name if folder != path else None
        features = json.dumps(_read_json(folder / "dataset_info.json").get("features") or {})
        for file in _arrow_files(folder):
            name = file.stem if split is None else f"{split}--{file.stem}"
            parts.append(ArrowPart(name, file, split, features))
    return parts


def picture_column(row: Mapping[str, Any], features: Mapping[str, Any]) -> str | None:
    """The column that holds the picture: as declared, else by its form, else by its name."""
    declared = [c for c in row if (features.get(c) or {}).get("_type") == "Image"]
    structs = [c for c in row if isinstance(row[c], dict) and "bytes" in row[c]]
    paths = [c for c in PICTURE_COLUMNS if _is_picture_path(row.get(c))]
    return next(iter(declared + structs + paths), None)


def _is_picture_path(value: object) -> bool:
    return isinstance(value, str) and value.lower().endswith(PICTURE_SUFFIXES)


def _arrow_files(folder: Path) -> list[Path]:
    """The files in the order that `state.json` gives, else of their names (caches left out)."""
    listed = _read_json(folder / "state.json").get("_data_files")
    if listed:
        return [folder / entry["filename"] for entry in listed]
    return sorted(p for p in folder.glob("*.arrow") if not p.name.startswith("cache-"))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one file, a batch in memory at a time; both arrow forms are read."""
    pyarrow = _import_pyarrow()
    with pyarrow.memory_map(str(path)) as file:
        try:
            batches = iter(pyarrow.ipc.open_stream(file))
        except pyarrow.ArrowInvalid:
            reader = pyarrow.ipc.open_file(file)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        for batch in batches:
            for start in range(batch.num_rows):
                yield batch.slice(start, 1).to_pylist()[0]


def _picture_bytes(value: Any, folder: Path) -> bytes:
    if isinstance(value, Mapping):
        return value.get("bytes") or _picture_bytes(value.get("path"), folder)
    if isinstance(value, bytes):
        return value
    return (folder / value).read_bytes() if value else b""


def _caption(row: Mapping[str, Any]) -> str | None:
    texts = (row.get(column) for column in CAPTION_COLUMNS)
    return next((text for text in texts if isinstance(text, str) and text), None)


def _named(value: Any, feature: Any) -> Any:
    names = feature.get("names") if isinstance(feature, dict) else None
    if names and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return value


def _read_json(path: Path) -> dict[str, Any]:
    data = json.loads(path.read_bytes()) if path.is_file() else {}
    return data if isinstance(data, dict) else {}


def _import_pyarrow() -> Any:
    try:
        pyarrow = importlib.import_module("pyarrow")
        importlib.import_module("pyarrow.ipc")
    except ImportError as error:
        hint = "pip install pyarrow"
        raise BadOption("a Hugging Face dataset needs pyarrow to be read", hint=hint) from error
    return pyarrow
