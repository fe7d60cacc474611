"""Where in a picture people can stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facestudio.errors import BadRegion
from facestudio.faces.detect import find_faces
from facestudio.faces.regions import find_regions

if TYPE_CHECKING:
    from PIL import Image

    from facestudio.errors import Box
    from facestudio.pipeline.pipeline import FaceStudioPipeline

MAX_PLACES = 4


def find_places(scene: Image.Image, pipe: FaceStudioPipeline) -> list[Box]:
    """A box for each face of the scene, MAX_PLACES at most. Raises BadRegion where it has none."""
    count = min(len(find_faces(scene, pipe.detector)), MAX_PLACES)
    if count == 0:
        hint = "choose one in which people look at the camera, or put them side by side"
        raise BadRegion("no face was found in this picture", hint=hint)
    return find_regions(scene, pipe.detector, count)
