"""What a picture file says of its own making, and what its pixels say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facestudio.images import read_metadata, read_picture
from facestudio.provenance.watermark import MIN_PX, Watermark, find_watermark

__all__ = ["Origin", "verify"]


@dataclass(frozen=True)
class Origin:
    """The two traces of FaceStudio in a picture file.

    settings: what made it, as written into the file, None where that is missing; anyone can add
    or remove it. watermark: what was found in the pixels, None where they are too few for one.
    """

    settings: dict[str, Any] | None
    watermark: Watermark | None

    @property
    def generated(self) -> bool:
        """Whether either trace is there. False does not mean that the picture is a photo."""
        marked = self.watermark is not None and self.watermark.found
        return marked or self.settings is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        mark = self.watermark
        return {
            "generated": self.generated,
            "watermark": None
            if mark is None
            else {"found": mark.found, "score": round(mark.score, 2), "chance": mark.chance},
            "settings": self.settings,
        }


def verify(path: str | Path) -> Origin:
    """The traces in the file. Raises PictureError."""
    picture = read_picture(path)
    room = min(picture.size) >= MIN_PX
    return Origin(read_metadata(path), find_watermark(picture) if room else None)
