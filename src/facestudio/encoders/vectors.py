"""The one scale every embedding of this package has: RMS 1, that is a length of sqrt(dimension).

At that scale a zero vector can mean "not given", vectors of any dimension weigh alike in the
linear layer that joins them, and the prior's noise has the same variance as its data.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def to_unit_rms(vectors: Tensor) -> Tensor:
    """Vectors (..., D) of the same direction whose root mean square is 1; zero stays zero."""
    unit = F.normalize(vectors.float(), dim=-1)
    return (unit * vectors.shape[-1] ** 0.5).to(vectors.dtype)


def to_unit_rms_per_tower(vectors: Tensor, tower_dims: Sequence[int]) -> Tensor:
    """Vectors (..., sum(tower_dims)) in which each tower's part has RMS 1 of its own."""
    parts = vectors.split(list(tower_dims), dim=-1)
    return torch.cat([to_unit_rms(part) for part in parts], dim=-1)
