"""Which pictures are drawn from whose faces, and how people come together on one canvas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facestudio.data.develop import MASK_CELL_PX
from facestudio.data.shards import PreparedSet
from facestudio.faces.align import portrait_eyes
from facestudio.training.sampling import WeightedPicker

MAP_EYES_WITHIN_PX = 12.0  # of a portrait's, for a photo to give a face map
SHOWN = 8


class SamplePool:
    """Which sample is drawn, and whose photo gives its identity.

    `pick` returns pairs (target, face): `face` is the target itself or another photo of its
    person; a drawing takes the photo it was drawn from, or another of its person, if there is one.
    """

    def __init__(
        self, data: PreparedSet, held_out: tuple[str, ...], weights: Mapping[str, float]
    ) -> None:
        records = data.records
        self.targets = np.array(
            [i for i, record in enumerate(records) if record.get("split") not in held_out]
        )
        usable = np.isin(np.arange(len(records)), self.targets)
        self.picker = WeightedPicker(usable, [record["source"] for record in records], weights)
        self.drawn = np.array([record.get("kind") == "drawn" for record in records])
        self.has_face = np.asarray(data.arrays["identity"].any(1))
        photos: dict[str, list[int]] = defaultdict(list)
        for i in self.targets:
            if self.has_face[i] and not self.drawn[i]:
                photos[self._person(records[i])].append(int(i))
        self.faces = [photos.get(self._person(record), []) for record in records]
        places = {record["key"]: i for i, record in enumerate(records)}
        self.origin = [
            places.get(_key_of_photo(record), i) if self.drawn[i] else i
            for i, record in enumerate(records)
        ]
        side = data.arrays["latents"].shape[-1] * MASK_CELL_PX
        self.in_layout = self.has_face & near_portrait_layout(data.arrays["eyes"], side)
        held = [i for i, record in enumerate(records) if record.get("split") in held_out]
        seen = [i for i in held if self.has_face[i] and not self.drawn[i]]
        self.shown = np.array((seen or self.targets.tolist())[:SHOWN])
        self.photos = self.targets[self.has_face[self.targets] & ~self.drawn[self.targets]]

    def pick(
        self, rng: np.random.Generator, count: int, same_photo: float, only_photos: bool = False
    ) -> list[tuple[int, int]]:
        """Return `count` pairs (target, face)."""
        if only_photos and len(self.photos):
            targets = rng.choice(self.photos, count)
        else:
            targets = self.picker.pick(rng, count)
        return [(int(target), self._face(int(target), rng, same_photo)) for target in targets]

    def _face(self, target: int, rng: np.random.Generator, same_photo: float) -> int:
        origin = self.origin[target]
        others = [face for face in self.faces[target] if face != origin]
        own = self.has_face[origin] and not self.drawn[origin]
        if not others or (own and rng.random() < same_photo):
            return origin
        return int(rng.choice(others))

    @staticmethod
    def _person(record: Mapping[str, Any]) -> str:
        return str(record.get("person") or record["key"])


def _key_of_photo(record: Mapping[str, Any]) -> str:
    """Return the key that the photo has of which this is a drawing; see `Developer.draw`."""
    key = str(record["key"])
    return key.removesuffix(f"_{record.get('style')}").replace("_drawn", "_photo")


def near_portrait_layout(eyes: np.ndarray, side: int) -> np.ndarray:
    """Return bool (N,): whether eyes (N, 2, 2), in pixels of a square, are a portrait's."""
    off = np.abs(eyes - portrait_eyes(side)).reshape(len(eyes), -1).max(1)
    return np.nan_to_num(off, nan=np.inf) < MAP_EYES_WITHIN_PX


def compose(told: Mapping[str, Tensor], people: int) -> dict[str, Tensor]:
    """Return batches of canvases with `people` side by side, each in its own region.

    (B * people, …) becomes latents and faces (B, C, h, people * w), style and identity
    (B, people + 1, …): everybody shares the mean style, nobody (the last) has no face.
    """
    grouped = {name: value.unflatten(0, (-1, people)) for name, value in told.items()}
    canvases = {
        name: torch.cat(grouped[name].unbind(1), dim=-1)
        for name in grouped.keys() & {"latents", "faces"}
    }
    width = told["latents"].shape[-1]
    masks = torch.zeros(people, *canvases["latents"].shape[-2:])
    for person in range(people):
        masks[person, :, person * width : (person + 1) * width] = 1
    shared = grouped["style"].sum(1, keepdim=True) / people**0.5  # RMS stays near 1
    identity = grouped["identity"]
    return {
        **canvases,
        "masks": masks,
        "style": shared.expand(-1, people + 1, -1).contiguous(),
        "identity": torch.cat([identity, torch.zeros_like(identity[:, :1])], dim=1),
    }
