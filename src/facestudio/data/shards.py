"""The prepared set: shards of latents and embeddings, ready to train on.

A set is a folder:

    dataset.json                 what made it: sizes, encoder, codec, versions
    NAME.safetensors             arrays of N samples (see `ARRAYS`)
    NAME.json                    a list of N records: key, source, person, kind, split, captions…

A shard is written under a temporary name and renamed, its records last: a shard with records is
complete, anything else is ignored and made again.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from facestudio.data.mapped import Rows, map_arrays
from facestudio.errors import BadModel, MissingFile
from facestudio.images import decode_picture

ARRAYS = {
    "latents": np.float16,  # (N, C, h, w); absent if no codec was given
    "latents_flipped": np.float16,  # (N, C, h, w): of the mirrored picture
    "identity": np.float16,  # (N, D): zero where there is no person
    "style": np.float16,  # (N, S): of the picture with its face hidden; zero without towers
    "style_whole": np.float16,  # (N, S): of the picture as it is
    "mask": np.uint8,  # (N, h, w): 1 where the face is
    "eyes": np.float32,  # (N, 2, 2): pixels of the picture; nan without a face
    "box": np.float32,  # (N, 4): the face's box in pixels; nan without a face
    "pictures": np.uint8,  # webp bytes, one picture after another
    "offsets": np.int64,  # (N + 1,): where each picture begins
}
STAY_ON_DISK = {"latents", "latents_flipped"}
MUST_BE_FINITE = {"latents", "latents_flipped", "identity", "style", "style_whole"}


@dataclass(frozen=True)
class Sample:
    """One prepared picture: its arrays, its webp bytes and its record."""

    arrays: Mapping[str, np.ndarray]
    picture: bytes
    record: Mapping[str, Any]


def write_shard(folder: Path, name: str, samples: Sequence[Sample]) -> None:
    """Write the samples as one shard, whole or not at all; no samples write an empty record."""
    records = [dict(sample.record) for sample in samples]
    if samples:
        arrays = {
            key: np.stack([sample.arrays[key] for sample in samples]).astype(kind, order="C")
            for key, kind in ARRAYS.items()
            if key in samples[0].arrays
        }
        lengths = [len(sample.picture) for sample in samples]
        arrays["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        joined = b"".join(sample.picture for sample in samples)
        arrays["pictures"] = np.frombuffer(joined, np.uint8).copy()
        partial = folder / f".{name}.safetensors.partial"
        save_file(arrays, partial)
        os.replace(partial, folder / f"{name}.safetensors")
    write_json(folder / f"{name}.json", records)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=None, sort_keys=True))
    os.replace(partial, path)


def shard_names(folder: Path) -> list[str]:
    """Return the names of the complete shards of a prepared set, in order."""
    return sorted(
        path.stem for path in folder.glob("*.safetensors") if path.with_suffix(".json").is_file()
    )


class PreparedSet:
    """All samples of prepared folders: vectors in memory, latents and pictures mapped from disk.

    `arrays[name]` is stacked over all samples, `records` the list beside it. A damaged shard or
    sample is left out with a warning that names it, and listed in `damaged`.
    """

    def __init__(self, folders: Sequence[Path], keys: Sequence[str]) -> None:
        self.records: list[dict[str, Any]] = []
        self.damaged: list[str] = []
        self.info: dict[str, Any] = {}
        self._bytes: list[np.ndarray] = []
        self._spans: list[tuple[int, int, int]] = []  # shard, begin, end
        self._chosen: list[np.ndarray] = []  # of each shard, the samples that are sound
        stacks: dict[str, list[np.ndarray]] = {key: [] for key in keys if key != "pictures"}
        for folder in folders:
            self._read_folder(folder, stacks, with_pictures="pictures" in keys)
        if not self.records:
            raise BadModel(
                f"no samples in {', '.join(map(str, folders))}",
                hint="run `facestudio prepare` first",
            )
        self.arrays: dict[str, Any] = {
            key: Rows(parts, self._chosen) if key in STAY_ON_DISK else np.concatenate(parts)
            for key, parts in stacks.items()
        }

    def __len__(self) -> int:
        return len(self.records)

    def picture(self, index: int) -> np.ndarray:
        """Return picture `index` as uint8 (H, W, 3). Raises NotAPicture where it is damaged."""
        shard, begin, end = self._spans[index]
        data = self._bytes[shard][begin:end].tobytes()
        return np.asarray(decode_picture(data, self.records[index]["key"]))

    def leave_out(self, name: str, problem: str) -> None:
        """Count and name, once, something damaged that training goes on without."""
        if name not in self.damaged:
            self.damaged.append(name)
            warnings.warn(f"{name} left out: {problem}", stacklevel=2)

    def _read_folder(
        self, folder: Path, stacks: dict[str, list[np.ndarray]], with_pictures: bool
    ) -> None:
        info = folder / "dataset.json"
        if not info.is_file():
            raise MissingFile(
                f"{folder} is not a prepared set: it has no dataset.json",
                file=info,
                hint="run `facestudio prepare` first",
            )
        self.info = self.info or json.loads(info.read_text())
        for name in shard_names(folder):
            try:
                arrays = map_arrays(folder / f"{name}.safetensors")
                records = json.loads((folder / f"{name}.json").read_text())
                chosen = {key: arrays[key] for key in stacks}
            except (SafetensorError, OSError, ValueError, KeyError) as problem:
                self.leave_out(str(folder / name), str(problem))
                continue
            sound = self._sound_samples(name, records, chosen)
            self._chosen.append(sound)
            for key, array in chosen.items():
                stacks[key].append(array if key in STAY_ON_DISK else np.asarray(array[sound]))
            if with_pictures:
                offsets = arrays["offsets"]
                self._spans += [
                    (len(self._bytes), int(offsets[i]), int(offsets[i + 1])) for i in sound
                ]
                self._bytes.append(arrays["pictures"])
            self.records += [{**records[i], "shard": name} for i in sound]

    def _sound_samples(
        self, name: str, records: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Return the indices of samples whose latents and embeddings are all finite."""
        finite = np.ones(len(records), bool)
        for key in MUST_BE_FINITE & arrays.keys():
            finite &= np.isfinite(arrays[key]).reshape(len(records), -1).all(1)
        for i in np.flatnonzero(~finite).tolist():
            self.leave_out(f"{name}: {records[i]['key']}", "numbers that are not finite")
        return np.flatnonzero(finite)
