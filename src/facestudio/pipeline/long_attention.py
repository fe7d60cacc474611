"""Attention over many positions, on processors that multiply bf16 matrices by dot products.

torch's kernel is made for AMX's tiles; with AVX-512 BF16 alone two plain products and exponentials
in between are the faster by a third and more. A query's scores are shifted by about their largest,
the largest over a sample of the keys, so that the ones that count are near zero, where bf16 rounds
them little. The sum of the exponentials comes of the product itself: of a column of ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

LONG = 1024  # positions from which on it is the faster
ROWS = 256  # queries at a time: their scores stay in the cache
SAMPLED = 16  # every which key is looked at for the largest score
LANES = 16  # numbers that a register holds


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention (B, heads, N, d) of queries, keys and values of that shape, in the faster way."""
    if _is_long(query) and (mixed := attend_in_chunks(query, key, value)) is not None:
        return mixed
    return F.scaled_dot_product_attention(query, key, value)


def attend_in_chunks(query: Tensor, key: Tensor, value: Tensor) -> Tensor | None:
    """Attention (B, heads, N, d) by plain products of bf16 matrices.

    None where a score is so far over those of the sampled keys that its exponential overflows.
    """
    batch, heads, count, width = query.shape
    queries, keys, values = _widen(query, key, value)
    mixed = query.new_empty(batch, count, heads, width)
    scores = query.new_empty(ROWS, key.shape[2])
    for b, h, rows in _chunks(batch, heads, count):
        told = queries[b, h, rows]
        made = scores[: len(told)]
        torch.addmm(made, told, keys[b, h], beta=0, alpha=width**-0.5, out=made)
        summed = torch.mm(made.exp_(), values[b, h])
        torch.div(summed[:, :width], summed[:, width : width + 1], out=mixed[b, rows, h])
    return mixed.transpose(1, 2) if bool(mixed.isfinite().all()) else None


def _widen(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries with minus their largest sampled score, keys (…, d + 2, N) and values with ones.

    Zeros fill what hardware takes in pairs or in registers.
    """
    largest = _largest_sampled(query, key)
    one, none = torch.ones_like(largest), torch.zeros_like(largest)
    free = -(query.shape[3] + 1) % LANES
    return (
        torch.cat([query, -largest, none], -1),
        torch.cat([key, one, none], -1).transpose(2, 3),
        torch.cat([value, one, none.expand(-1, -1, -1, free)], -1),
    )


def _largest_sampled(query: Tensor, key: Tensor) -> Tensor:
    """Each query's largest score (B, heads, N, 1) over the sampled keys, a head at a time.

    The scores of all heads at once take memory that the C library would find anew at every call.
    """
    batch, heads, count, _ = query.shape
    sampled = key[:, :, ::SAMPLED].transpose(2, 3)
    largest = query.new_empty(batch, heads, count, 1)
    scores = query.new_empty(count, sampled.shape[3])
    for b in range(batch):
        for h in range(heads):
            torch.mm(query[b, h], sampled[b, h], out=scores)
            torch.amax(scores, -1, keepdim=True, out=largest[b, h])
    return largest


def _chunks(batch: int, heads: int, count: int) -> Iterator[tuple[int, int, slice]]:
    for b in range(batch):
        for h in range(heads):
            for start in range(0, count, ROWS):
                yield b, h, slice(start, start + ROWS)


def _is_long(query: Tensor) -> bool:
    fits = query.dtype == torch.bfloat16 and query.shape[2] >= LONG and query.shape[3] % 2 == 0
    return fits and not _has_tiles()


@lru_cache
def _has_tiles() -> bool:
    """Whether the processor multiplies matrices by AMX's tiles."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
