"""Attention by plain products is attention, and knows when it is not."""

import pytest
import torch
from torch.nn import functional as F

from facestudio.pipeline import long_attention
from facestudio.pipeline.long_attention import LONG, attend, attend_in_chunks


@pytest.fixture
def drawn():
    """Queries, keys and values (1, 2, N, 40), of which keys lean to one side, as a model's do."""
    random = torch.Generator().manual_seed(0)

    def draw(count: int = LONG, scale: float = 3.0, dtype=torch.bfloat16):
        q, k, v = (torch.randn(1, count, 2, 40, generator=random) for _ in range(3))
        k += 2 * torch.randn(1, 1, 2, 40, generator=random)
        return [x.to(dtype).transpose(1, 2) for x in (scale * q, k, v)]

    return draw


def distance(made: torch.Tensor, given) -> float:
    exact = F.scaled_dot_product_attention(*(x.float() for x in given))
    return float((made.float() - exact).norm() / exact.norm())


@pytest.mark.parametrize("count", [64, 300, 1024])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_it_is_attention_up_to_rounding(drawn, count, scale):
    given = drawn(count, scale)
    made = attend_in_chunks(*given)
    assert made.shape == given[0].shape
    assert distance(made, given) < 2**-7  # two roundings of bf16


@pytest.mark.parametrize("count", [300, 1024])
def test_the_largest_scores_head_by_head_are_those_of_all_heads(drawn, count):
    query, key, _ = drawn(count)
    scores = query @ key[:, :, :: long_attention.SAMPLED].transpose(2, 3)
    assert torch.equal(long_attention._largest_sampled(query, key), scores.amax(-1, keepdim=True))


def test_where_an_exponential_overflows_the_usual_way_is_taken(drawn, monkeypatch):
    monkeypatch.setattr(long_attention, "_has_tiles", lambda: False)
    query, key, value = drawn()
    key[:, :, 1] = 200 * query[:, :, 7]  # a key that is not sampled, and far over the rest
    assert attend_in_chunks(query, key, value) is None
    made = attend(query, key, value)
    assert torch.equal(made, F.scaled_dot_product_attention(query, key, value))


@pytest.mark.parametrize(
    ("count", "dtype", "tiles", "plain"),
    [
        (LONG, torch.bfloat16, False, False),
        (LONG - 1, torch.bfloat16, False, True),
        (LONG, torch.float32, False, True),
        (LONG, torch.bfloat16, True, True),
    ],
)
def test_it_is_for_long_attention_in_bf16_without_tiles(
    drawn, monkeypatch, count, dtype, tiles, plain
):
    monkeypatch.setattr(long_attention, "_has_tiles", lambda: tiles)
    given = drawn(count, dtype=dtype)
    same = torch.equal(attend(*given), F.scaled_dot_product_attention(*given))
    assert same == plain
