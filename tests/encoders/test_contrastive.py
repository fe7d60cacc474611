"""The contrastive loss: CLIP's where captions differ, no false negatives where they are equal."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from facestudio.encoders.contrastive import LogitScales, contrastive_loss, number_captions
from facestudio.errors import BadOption


def make_vectors(count: int = 4, dim: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_equals_transformers_where_all_captions_differ() -> None:
    image, text = make_vectors(seed=1), make_vectors(seed=2)
    cosines = F.normalize(text, dim=-1) @ F.normalize(image, dim=-1).T
    expected = image_text_contrastive_loss(5 * cosines)
    numbers = torch.arange(4)
    torch.testing.assert_close(contrastive_loss([image], [text], torch.tensor([5.0])), expected)
    torch.testing.assert_close(
        contrastive_loss([image], [text], torch.tensor([5.0]), numbers), expected
    )


def test_is_the_mean_over_towers_each_with_its_scale() -> None:
    images = [make_vectors(seed=1), make_vectors(dim=3, seed=2)]
    texts = [make_vectors(seed=3), make_vectors(dim=3, seed=4)]
    scales = torch.tensor([2.0, 7.0])
    single = [contrastive_loss([images[i]], [texts[i]], scales[i : i + 1]) for i in range(2)]
    both = contrastive_loss(images, texts, scales)
    torch.testing.assert_close(both, (single[0] + single[1]) / 2)


def test_the_length_of_vectors_does_not_count() -> None:
    image, text, scale = make_vectors(seed=1), make_vectors(seed=2), torch.ones(1)
    torch.testing.assert_close(
        contrastive_loss([3 * image], [text / 5], scale), contrastive_loss([image], [text], scale)
    )


def test_equal_captions_are_no_negatives() -> None:
    """Two captions, two pictures each, all where they belong: the floor is log 2, not higher."""
    captions = ["hat", "cat", "hat", "cat"]
    vectors = torch.eye(2)[[0, 1, 0, 1]]
    numbers = number_captions(captions)
    loss = contrastive_loss([vectors], [vectors], torch.tensor([100.0]), numbers)
    torch.testing.assert_close(loss, torch.tensor(math.log(2)))


def test_at_the_floor_equal_captions_pull_no_more() -> None:
    vectors = torch.eye(2)[[0, 1, 0, 1]].requires_grad_()
    numbers = torch.tensor([0, 1, 0, 1])
    contrastive_loss([vectors], [vectors.detach()], torch.tensor([50.0]), numbers).backward()
    assert vectors.grad is not None
    assert vectors.grad.abs().max() < 1e-5


def test_captions_are_numbered_by_equality() -> None:
    assert number_captions(["b", "a", "b", "B"]).tolist() == [0, 1, 0, 2]


def test_scales_start_as_clips_and_stop_at_100() -> None:
    scales = LogitScales(2)
    torch.testing.assert_close(scales(), torch.full((2,), 1 / 0.07))
    scales.log_scales.data.fill_(9.0)
    torch.testing.assert_close(scales(), torch.full((2,), 100.0))


def test_descending_it_pairs_pictures_with_captions() -> None:
    image, text = make_vectors(8, 4, 1).requires_grad_(), make_vectors(8, 4, 2).requires_grad_()
    optimizer = torch.optim.Adam([image, text], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        contrastive_loss([image], [text], torch.tensor([10.0])).backward()
        optimizer.step()
    nearest = (F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T).argmax(dim=1)
    assert nearest.tolist() == list(range(8))


@pytest.mark.parametrize(
    ("images", "texts", "scales", "numbers"),
    [
        ([], [], torch.ones(0), None),
        ([make_vectors()], [], torch.ones(1), None),
        ([make_vectors()], [make_vectors()], torch.ones(2), None),
        ([make_vectors()], [make_vectors(dim=5)], torch.ones(1), None),
        ([make_vectors()], [make_vectors(count=3)], torch.ones(1), None),
        ([make_vectors()], [make_vectors()], torch.ones(1), torch.zeros(3)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    images: list[Tensor], texts: list[Tensor], scales: Tensor, numbers: Tensor | None
) -> None:
    with pytest.raises(BadOption):
        contrastive_loss(images, texts, scales, numbers)
