"""Real pictures of prepared sets, by the style they are in."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from facestudio.data.labels import Styles, style_of
from facestudio.data.shards import PreparedSet
from facestudio.errors import BadOption


class RealPictures:
    """The pictures of prepared sets that belong to a style and to the splits asked for.

    styles: name -> the words in records' `style` that belong to it. A picture of a person without
    any is a photo.
    """

    def __init__(self, folders: Sequence[Path], styles: Styles, splits: Sequence[str]) -> None:
        self._set = PreparedSet(folders, ("pictures",))
        self._of: dict[str, list[int]] = {name: [] for name in styles}
        for index, record in enumerate(self._set.records):
            name = style_of(record, styles)
            if name is not None and record.get("split", "train") in splits:
                self._of[name].append(index)

    def count(self, style: str) -> int:
        """How many pictures there are of a style."""
        return len(self._of.get(style, ()))

    def read(self, style: str, limit: int | None = None) -> list[Image.Image]:
        """Pictures of a style, at most `limit`, the same ones each time and no row of one source.

        Raises BadOption where there is none.
        """
        return [self._open(index) for index in self._shuffled(style)[:limit]]

    def pick(self, style: str, name: str) -> Image.Image:
        """The picture of a style that belongs to a name, the same each time."""
        found = self._shuffled(style)
        return self._open(found[zlib.crc32(f"{style} {name}".encode()) % len(found)])

    def _shuffled(self, style: str) -> list[int]:
        found = self._of.get(style)
        if not found:
            hint = "name the style in the classifiers' [styles], or give sets that have it"
            raise BadOption(f"no real pictures of the style {style!r}", hint=hint)
        order = np.random.default_rng(0).permutation(len(found))
        return [found[i] for i in order]

    def _open(self, index: int) -> Image.Image:
        return Image.fromarray(self._set.picture(index))
