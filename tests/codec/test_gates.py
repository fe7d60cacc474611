"""Gates: what a style says of colours and flat parts, and what is done about them."""

import pytest
import torch

from facestudio.codec.gates import ColourGate, FlatGate, smooth_between_edges
from tests.codec.test_patch import smooth_pixels


def test_a_gate_learns_which_styles_have_colours():
    torch.manual_seed(0)
    gate, style = ColourGate(6), torch.randn(400, 6)
    picture = smooth_pixels(400, size=4)
    torch.testing.assert_close(gate(picture, style), picture)
    coloured = style[:, 2] > 0
    gate.fit(style, coloured)
    sure = style[:, 2].abs() > 0.5
    shown = gate(picture, style)
    chroma, wanted = (each - each.mean(1, keepdim=True) for each in (shown, picture))
    share = chroma.flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
    assert share[sure & coloured].min() > 0.9
    assert share[sure & ~coloured].max() < 0.1
    torch.testing.assert_close(shown.mean(1), picture.mean(1))
    torch.testing.assert_close(gate(picture, torch.zeros(400, 6)), picture)
    with torch.autocast("cpu", torch.bfloat16):
        assert gate(picture, style).dtype == torch.float32


def mottled(count: int, strength: float = 0.03) -> torch.Tensor:
    """Pictures (count, 3, 24, 24), dark on the left and light on the right, with faint mottle."""
    sides = torch.full((count, 3, 24, 24), -0.5)
    sides[..., 12:] = 0.5
    return sides + strength * torch.randn(count, 1, 24, 24)


def test_smoothing_takes_mottle_and_leaves_edges():
    torch.manual_seed(0)
    pictures = mottled(4)
    smoothed = smooth_between_edges(pictures)
    left, right = smoothed[..., :12], smoothed[..., 12:]
    assert left.std() < 0.5 * pictures[..., :12].std()
    torch.testing.assert_close(
        (right[..., 0] - left[..., -1]).mean(), torch.tensor(1.0), atol=0.03, rtol=0
    )
    strong = mottled(4, strength=0.6)
    assert smooth_between_edges(strong).std() > 0.95 * strong.std()


def test_smoothing_is_the_same_everywhere_and_has_a_gradient():
    picture = torch.full((1, 3, 9, 9), 0.25, requires_grad=True)
    smoothed = smooth_between_edges(picture)
    torch.testing.assert_close(smoothed, picture)
    smoothed.sum().backward()
    assert float(picture.grad.sum()) == pytest.approx(picture.numel(), rel=1e-4)


def test_a_gate_smooths_where_a_style_has_flat_parts():
    torch.manual_seed(0)
    gate, style, pictures = FlatGate(6), torch.randn(400, 6), mottled(400)
    assert gate(pictures, style) is pictures
    flat = style[:, 1] > 0
    gate.fit(style, flat, penalty=1e-4)
    sure = style[:, 1].abs() > 0.5
    shown = gate(pictures, style)
    left = shown[..., :12].flatten(1).std(1) / pictures[..., :12].flatten(1).std(1)
    assert left[sure & flat].max() < 0.6
    assert left[sure & ~flat].min() > 0.9
    torch.testing.assert_close(gate(pictures, torch.zeros(400, 6)), pictures)


def test_a_fit_goes_by_what_counts():
    """Where two pictures of one style say opposite things, the one that counts more is right."""
    style, holds = torch.ones(2, 6), torch.tensor([True, False])
    shares = []
    for counts in (torch.tensor([3.0, 1.0]), torch.tensor([1.0, 3.0])):
        gate = ColourGate(6)
        gate.fit(style, holds, penalty=1e-4, counts=counts)
        shares.append(float(gate.share(style[:1])))
    assert shares == pytest.approx([0.75, 0.25], abs=0.02)


def test_in_doubt_a_picture_stays_as_it_is():
    gate, style = FlatGate(6), torch.ones(2, 6)
    gate.fit(style, torch.tensor([True, False]))
    assert float(gate.share(style[:1])) == pytest.approx(0.269, abs=0.01)
