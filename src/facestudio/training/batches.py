"""Which batch a step sees, and which part of it each process.

A batch is a pure function of (seed, step, micro-batch): every process draws the whole of it and
keeps its own rows. So a run that was stopped goes on exactly, there being no reader state to lose,
and two processes see what one would with the same global batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class BatchPart:
    """The rows of a batch that one process keeps.

    `weight`: what its mean loss counts beside the other processes', whose mean is taken: 1 where
    the rows divide evenly, 0 where there are fewer rows than processes and it only keeps company.
    """

    tensors: dict[str, Tensor]
    weight: float


def batch_rng(seed: int, step: int, micro: int) -> np.random.Generator:
    """Return the random source of one micro-batch; the same numbers give the same batch."""
    return np.random.default_rng([seed, step, 0, micro])


def part_of(batch: Mapping[str, Tensor], process: int, processes: int) -> BatchPart:
    """Return the rows of `process`: contiguous, and as many as the others have, give or take one.

    The first dimension of every tensor is the sample's.
    """
    size = len(next(iter(batch.values())))
    begin, end = process * size // processes, (process + 1) * size // processes
    weight = (end - begin) * processes / size
    if begin == end:  # gradients are averaged over all processes, so all must make some
        begin, end = size - 1, size
    return BatchPart({name: rows[begin:end] for name, rows in batch.items()}, weight)
