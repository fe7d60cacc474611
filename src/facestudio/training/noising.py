"""What the generator's loss draws for each sample: a time and noise, part of the batch.

Drawn with the batch and not inside the loss, they do not depend on how many processes share it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

TRAIN_STEPS = 1000


def draw_noise_of(batch: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Return for every sample `t` (B,) in 0...999, `noise` of the latents' shape, and `blur` of
    the faces' shape where the batch has faces; both are normal.
    """
    drawn = {"t": torch.from_numpy(rng.integers(0, TRAIN_STEPS, len(batch["latents"])))}
    for name, like in (("noise", "latents"), ("blur", "faces")):
        if like in batch:
            shape = tuple(batch[like].shape)
            drawn[name] = torch.from_numpy(rng.standard_normal(shape, np.float32))
    return drawn
