"""Finds people of an evaluation who look like somebody in the training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facestudio.data.shards import PreparedSet
from facestudio.errors import EncoderMismatch
from facestudio.evaluation.measures import Scale
from facestudio.faces.embed import IdentityEncoder, recogniser_id

CHUNK = 4096


def near_training(
    folders: Sequence[Path],
    encoder: IdentityEncoder,
    photos: Sequence[np.ndarray],
    near: float,
) -> np.ndarray:
    """For each of N people whether any of their photos is `near` or more to a training picture.

    photos: arrays (N, compare_dim), one a photo; nan rows are near to nobody. Raises
    EncoderMismatch where the prepared sets were embedded by another encoder.
    """
    found = np.zeros(len(photos[0]), bool)
    for folder in folders:
        prepared = PreparedSet([folder], ["identity"])
        _check_encoder(prepared, encoder, folder)
        known = prepared.arrays["identity"][:, : encoder.compare_dim].astype(np.float32)
        known = known[np.abs(known).sum(1) > 0]  # zero: nobody
        found |= closest(known, photos, Scale.of(encoder.calibration)) >= near
    return found


def closest(known: np.ndarray, photos: Sequence[np.ndarray], scale: Scale) -> np.ndarray:
    """The largest similarity of each of N people's photos to any known vector, -inf: no face."""
    best = np.full(len(photos[0]), -np.inf)
    for start in range(0, len(known), CHUNK):
        for vectors in photos:
            table = scale.table(vectors, known[start : start + CHUNK])
            best = np.maximum(best, np.where(np.isnan(table), -np.inf, table).max(1))
    return best


def _check_encoder(prepared: PreparedSet, encoder: IdentityEncoder, folder: Path) -> None:
    wanted, given = recogniser_id(encoder), prepared.info.get("encoder")
    if given != wanted:
        hint = "prepare the set with the model's encoder to compare people"
        raise EncoderMismatch(
            f"{folder} was embedded by {given}, the model uses {wanted}", file=folder, hint=hint
        )
