"""Convolutions in oneDNN's forms: torch's results and gradients, and blocks of the right weight."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from facestudio.training.convolutions import FastConvolutions

LAYERS = {
    "3x3": {"kernel_size": 3, "padding": 1},
    "halving": {"kernel_size": 3, "padding": 1, "stride": 2},
    "unpadded": {"kernel_size": 3},
    "dilated": {"kernel_size": 3, "padding": 1, "dilation": 2},
    "grouped": {"kernel_size": 3, "padding": 1, "groups": 4},
    "same": {"kernel_size": 3, "padding": "same"},
    "1x1": {"kernel_size": 1},
    "1x1 halving": {"kernel_size": 1, "stride": 2},
    "1x1 padded": {"kernel_size": 1, "padding": 1},
    "no bias": {"kernel_size": 3, "padding": 1, "bias": False},
}


def learn(layer: nn.Conv2d, mode=None, precision=torch.float32) -> list[torch.Tensor]:
    """Result and gradients of the input and of the trained weights."""
    x = torch.randn(2, 16, 8, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", precision, precision != torch.float32):
        if mode is None:
            made = layer(x)
        else:
            with mode:
                made = layer(x)
    pull = torch.randn(made.shape, generator=torch.Generator().manual_seed(2))
    (made.float() * pull).sum().backward()
    trained = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    return [made.detach(), x.grad, *trained]


@pytest.fixture
def make():
    def made(frozen: bool, **options) -> nn.Conv2d:
        torch.manual_seed(0)
        return nn.Conv2d(16, 24, **options).requires_grad_(not frozen)

    return made


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_results_and_gradients_are_torchs(make, kind, frozen):
    layer = make(frozen, **LAYERS[kind])
    wanted, found = learn(layer), learn(layer, FastConvolutions())
    assert len(wanted) == len(found) == (2 if frozen else 2 + len(list(layer.parameters())))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", ["3x3", "1x1"])
def test_in_bf16_they_are_as_near_to_fp32_as_torchs(make, kind, frozen):
    layer = make(frozen, **LAYERS[kind])
    exact = learn(layer)
    theirs = learn(layer, precision=torch.bfloat16)
    ours = learn(layer, FastConvolutions(), torch.bfloat16)
    for right, a, b in zip(exact, ours, theirs, strict=True):
        assert a.dtype == b.dtype
        assert (a - right).norm() <= 1.2 * (b - right).norm()


def test_frozen_weights_are_laid_out_once_and_anew_when_they_change(make):
    layer, mode = make(True, **LAYERS["3x3"]), FastConvolutions()
    learn(layer, mode)
    (first,) = mode.packed.values()
    learn(layer, mode)
    (second,) = mode.packed.values()
    assert second is first
    layer.weight.mul_(2)
    torch.testing.assert_close(learn(layer, mode)[0], learn(layer)[0], rtol=1e-4, atol=1e-5)
    assert len(mode.packed) == 1


def test_trained_weights_are_not_laid_out(make):
    mode = FastConvolutions()
    learn(make(False, **LAYERS["3x3"]), mode)
    assert not mode.packed


def test_values_of_trained_weights_for_one_call_are_not_laid_out(make):
    layer, mode = make(False, **LAYERS["3x3"]), FastConvolutions()
    values = {name: weight.detach() for name, weight in layer.named_parameters()}
    x = torch.randn(2, 16, 8, 6)
    with mode:
        found = functional_call(layer, values, (x,))
    torch.testing.assert_close(found, layer(x), rtol=1e-4, atol=1e-5)
    assert not mode.packed


def test_a_picture_without_a_batch_is_left_to_torch(make):
    layer, x = make(True, **LAYERS["3x3"]), torch.randn(16, 8, 6)
    with FastConvolutions():
        found = layer(x)
    assert torch.equal(found, layer(x))
