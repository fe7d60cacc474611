"""Attention in fp32 under bf16 autocast: exact, of the same type, and no other call."""

import pytest
import torch
from torch.nn import functional as F

from facestudio.training.float_attention import FloatAttention


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return [torch.randn(2, 2, 9, 8, requires_grad=True) for _ in range(3)]


def test_it_is_attention_in_fp32_and_returns_the_autocast_type(inputs):
    exact = F.scaled_dot_product_attention(*inputs)
    halves = [each.bfloat16() for each in inputs]
    with torch.autocast("cpu", torch.bfloat16), FloatAttention():
        found = F.scaled_dot_product_attention(*inputs)
        of_halves = F.scaled_dot_product_attention(halves[0], halves[1], value=halves[2])
    assert found.dtype == of_halves.dtype == torch.bfloat16
    assert torch.equal(found, exact.bfloat16())
    of_floats = F.scaled_dot_product_attention(*[each.float() for each in halves])
    assert torch.equal(of_halves, of_floats.bfloat16())


def test_gradients_are_those_of_fp32(inputs):
    wanted = torch.autograd.grad(F.scaled_dot_product_attention(*inputs).sum(), inputs)
    with torch.autocast("cpu", torch.bfloat16), FloatAttention():
        found = torch.autograd.grad(F.scaled_dot_product_attention(*inputs).sum(), inputs)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_without_autocast_types_stay_and_other_calls_are_left_alone(inputs):
    halves = [each.bfloat16() for each in inputs]
    with FloatAttention():
        assert F.scaled_dot_product_attention(*halves).dtype == torch.bfloat16
        assert (halves[0] @ halves[1].mT).dtype == torch.bfloat16


def test_large_heads_stay_in_bf16():
    torch.manual_seed(0)
    large = [torch.randn(1, 1, 512, 32).bfloat16() for _ in range(3)]
    with FloatAttention():
        found = F.scaled_dot_product_attention(*large)
    assert torch.equal(found, F.scaled_dot_product_attention(*large))
    in_floats = F.scaled_dot_product_attention(*[each.float() for each in large])
    assert not torch.equal(found, in_floats.bfloat16())
