"""A prepared set as a source: the same pictures, embedded and encoded anew by other parts.

This is how a model is trained from nothing: prepare once without parts, train codec, towers and
identity encoder on that set, then prepare again from it with them. No face is looked for twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from facestudio.data.samples import Item, RawSample, SourceProblem


def is_prepared(folder: Path) -> bool:
    """Whether `folder` is a set that `facestudio prepare` wrote."""
    return (folder / "dataset.json").is_file()


def prepared_parts(folder: Path) -> list[PreparedPart]:
    """Return one part for each complete shard, in order."""
    shards = sorted(folder.glob("*.safetensors"))
    return [PreparedPart(path.stem, path) for path in shards if path.with_suffix(".json").is_file()]


@dataclass(frozen=True)
class PreparedPart:
    """One shard as a part; a damaged one is told as a problem."""

    name: str
    path: Path

    def __iter__(self) -> Iterator[Item]:
        try:
            records = json.loads(self.path.with_suffix(".json").read_text())
            with safe_open(self.path, "numpy") as arrays:
                pictures, offsets = arrays.get_tensor("pictures"), arrays.get_tensor("offsets")
                eyes = arrays.get_tensor("eyes")
        except (SafetensorError, OSError, ValueError) as problem:
            yield SourceProblem(str(self.path), f"damaged shard: {problem}")
            return
        for index, record in enumerate(records):
            data = pictures[offsets[index] : offsets[index + 1]].tobytes()
            yield RawSample(record["key"], data, {**record, "prepared_eyes": eyes[index]}, None)
