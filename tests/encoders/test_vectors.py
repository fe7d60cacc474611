"""Every embedding has RMS 1; a zero vector stays "not given"."""

from __future__ import annotations

import torch

from facestudio.encoders.vectors import to_unit_rms, to_unit_rms_per_tower


def test_known_answer() -> None:
    scaled = to_unit_rms(torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(scaled, torch.tensor([[0.6, 0.8]]) * 2**0.5)


def test_zero_stays_zero() -> None:
    assert to_unit_rms(torch.zeros(2, 5)).eq(0).all()


def test_half_precision_keeps_its_type_and_does_not_overflow() -> None:
    scaled = to_unit_rms(torch.full((1, 64), 6e4, dtype=torch.float16))
    assert scaled.dtype == torch.float16
    torch.testing.assert_close(scaled, torch.ones(1, 64, dtype=torch.float16))


def test_each_tower_has_its_own_scale() -> None:
    vectors = torch.tensor([[10.0, 0.0, 1.0, 1.0, 1.0]])
    scaled = to_unit_rms_per_tower(vectors, (2, 3))
    torch.testing.assert_close(scaled, torch.tensor([[2**0.5, 0.0, 1.0, 1.0, 1.0]]))


def test_gradient_is_orthogonal_to_the_vector() -> None:
    vector = torch.randn(1, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    to_unit_rms(vector)[0, 0].backward()
    assert vector.grad is not None
    assert (vector.grad * vector.detach()).sum().abs() < 1e-6
