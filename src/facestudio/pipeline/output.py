"""What a call of the pipeline gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FaceStudioOutput:
    """Pictures, how like each face is, and what it takes to make them again.

    images: as `output_type` asks: PIL pictures, numpy (B, H, W, 3) or torch (B, 3, H, W) in 0...1,
    or latents (B, C, h, w).
    likeness: for each picture, one number for each person: 0 as for strangers, 1 as for the same
    picture; None where no face is found, no identity was asked for, or there is no picture.
    seeds: for each picture the seed that makes it alone.
    settings: the call as a dict that JSON can hold: options by their names, and what identities,
    pictures, model and versions went in.
    withheld: for each picture whether a content checker called it explicit; it is grey then. Empty
    where nothing was checked.
    """

    images: Any
    likeness: list[list[float | None]]
    seeds: list[int]
    settings: dict[str, Any] = field(default_factory=dict)
    withheld: list[bool] = field(default_factory=list)
