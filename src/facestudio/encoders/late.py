"""Encoders that are read when they are needed and let go afterwards.

A picture's or a text's vector is needed once and kept (`pipeline/embed_cache.py`); the encoder that
makes it would lie in memory all the while the picture is drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn


class Readable(Protocol):
    """A class of encoders that lie in a model folder."""

    @classmethod
    def load(cls, folder: str | Path) -> Any: ...

    @classmethod
    def measure(cls, folder: str | Path) -> int:
        """How many numbers the encoder in a folder gives, without reading its weights."""
        ...


class LateEncoder:
    """Stands for an encoder of `kind` in a model folder; called as the encoder is.

    Every call reads the weights and lets them go. Raises what `kind.load` raises, then.
    """

    def __init__(self, kind: type[Readable], folder: str | Path, dtype: torch.dtype) -> None:
        self.kind, self._folder = kind, folder
        self._where: list[tuple[Any, ...]] = [(dtype,)]
        self.embed_dim = self.text_dim = kind.measure(folder)

    def __call__(self, given: Any) -> Tensor:
        """What the encoder makes of pixels or texts."""
        with torch.no_grad():
            result: Tensor = self.read()(given)
        return result

    def read(self) -> nn.Module:
        """The encoder itself, for whatever else is wanted of it."""
        encoder: nn.Module = self.kind.load(self._folder)
        for where in self._where:
            encoder.to(*where)
        return encoder

    def to(self, *where: Any) -> Self:
        """Have the encoder on another device, or in another dtype, from now on."""
        self._where.append(where)
        return self

    def save(self, folder: str | Path) -> None:
        """Write the encoder to a model folder."""
        self.read().save(folder)  # type: ignore[operator]
