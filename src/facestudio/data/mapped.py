"""Arrays that stay on disk: read when a row is asked for, and shared by all processes that do.

A set of a million samples has 64 GB of latents; no process copies them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

KINDS = {"F16": np.float16, "F32": np.float32, "U8": np.uint8, "I64": np.int64}
LENGTH_BYTES = 8  # of the header, before it


def map_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file, mapped and not writable.

    Raises SafetensorError where the file is damaged.
    """
    with safe_open(path, "numpy"):  # checks that header and length agree
        pass
    whole = np.memmap(path, np.uint8, "r")
    start = LENGTH_BYTES + int.from_bytes(whole[:LENGTH_BYTES].tobytes(), "little")
    header = json.loads(whole[LENGTH_BYTES:start].tobytes())
    arrays = {}
    for name, told in header.items():
        if name != "__metadata__":
            begin, end = told["data_offsets"]
            flat = whole[start + begin : start + end].view(KINDS[told["dtype"]])
            arrays[name] = flat.reshape(told["shape"])
    return arrays


class Rows:
    """Chosen rows of several arrays as one array of shape `shape`, along the first dimension.

    `rows[i]` and `rows[indices]` read those rows; `np.asarray(rows)` reads all.
    """

    def __init__(self, arrays: Sequence[np.ndarray], chosen: Sequence[np.ndarray]) -> None:
        self.arrays = list(arrays)
        self.array_of = np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen])
        self.row_of = np.concatenate([np.asarray(rows, int) for rows in chosen])
        self.shape = (len(self.row_of), *self.arrays[0].shape[1:])
        self.dtype = self.arrays[0].dtype

    def __len__(self) -> int:
        return len(self.row_of)

    def __getitem__(self, index: int | np.integer | np.ndarray) -> np.ndarray:
        if np.ndim(index) == 0:
            row: np.ndarray = self.arrays[self.array_of[index]][self.row_of[index]]
            return row
        chosen = np.arange(len(self))[index]  # indices, or where a mask is true
        return np.stack([self[int(i)] for i in chosen])

    def __array__(self, dtype: type | None = None, copy: bool | None = None) -> np.ndarray:
        return self[np.arange(len(self))].astype(dtype or self.dtype)
