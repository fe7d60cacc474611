"""What went into a call, as a dict that JSON can hold: enough to make the picture again.

Nobody's face is in it: a person stands there as a file name, or as the hash of the embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facestudio import __version__
from facestudio.faces.identity import Identity
from facestudio.images import PictureLike, read_picture
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import Scene
from facestudio.pipeline.speed import read_speed
from facestudio.settings import to_dict

PLAIN = (
    "prompt", "negative_prompt", "alpha", "strength", "background", "identity_scale",
    "style_scale", "guidance_scale", "num_inference_steps", "height", "width",
    "watermark",
)  # fmt: skip


def describe_call(
    request: Request,
    people: Sequence[Identity | None],
    scene: Scene,
    seeds: Sequence[int],
    model: dict[str, Any],
) -> dict[str, Any]:
    """The options by their names, with the regions that were found, and what was used.

    `seed` makes the whole batch again, a picture's own seed that picture alone. It is None where
    the caller's generators drew the noise.
    """
    settings: dict[str, Any] = {name: _plain(getattr(request, name)) for name in PLAIN}
    settings["num_images_per_prompt"] = len(seeds)
    settings["seed"] = None if request.generator is not None else seeds[0]
    settings["regions"] = _regions(scene)
    settings["identity"] = [
        _person(given, person) for given, person in zip(request.people, people, strict=True)
    ]
    settings["speed"] = to_dict(read_speed(request.speed))
    settings["style"] = _picture(request.style)
    settings["image"] = _picture(request.image)
    if request.control_images:
        settings["control_image"] = [_picture(image) for image in request.control_images]
        settings["controlnet_conditioning_scale"] = list(request.control_scales)
    return settings | model | {"generated": True, "facestudio": __version__}


def _regions(scene: Scene) -> list[Any] | None:
    """Boxes as they are; with masks among them, all as masks of the latent's size."""
    if scene.regions is None or scene.masks is None:
        return None
    boxes = [region.box for region in scene.regions]
    if None not in boxes:
        return [[float(edge) for edge in box] for box in boxes if box is not None]
    return [mask.astype(int).tolist() for mask in scene.masks]


def _person(given: Any, person: Identity | None) -> dict[str, Any] | None:
    if person is None:
        return None
    digest = hashlib.sha256(np.ascontiguousarray(person.embedding).tobytes()).hexdigest()
    return {"file": _file(given), "encoder": person.encoder, "sha256": digest}


def _picture(source: PictureLike | None) -> dict[str, Any] | None:
    if source is None:
        return None
    pixels = np.asarray(read_picture(source))
    return {"file": _file(source), "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()}


def _file(source: Any) -> str | None:
    return str(source) if isinstance(source, (str, Path)) else None


def _plain(value: Any) -> Any:
    """Numpy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else value
