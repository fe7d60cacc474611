"""The prior: shapes and scale, determinism, learning, folders, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from facestudio.encoders.vectors import to_unit_rms_per_tower
from facestudio.errors import BadOption, EncoderMismatch
from facestudio.prior.prior import EmbeddingPrior

TEXT_DIM = 6
TOWER_DIMS = (5, 7)
STYLE_DIM = 12


def make_prior(drop_text: float = 0.1) -> EmbeddingPrior:
    torch.manual_seed(0)
    return EmbeddingPrior(TEXT_DIM, TOWER_DIMS, width=32, layers=2, heads=2, drop_text=drop_text)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Text vectors and the style vectors a fixed linear map makes of them, far from the centre."""
    text = torch.randn(count, TEXT_DIM, generator=generator(seed))
    mapping = torch.randn(TEXT_DIM, STYLE_DIM, generator=generator(99))
    return text, to_unit_rms_per_tower(text @ mapping + 3.0, TOWER_DIMS)


@pytest.fixture(scope="module")
def trained() -> EmbeddingPrior:
    prior = make_prior()
    text, style = make_pairs(512, seed=1)
    prior.fit_scale(style)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=3e-3)
    noise = generator(5)
    for _ in range(200):
        chosen = torch.randint(512, (64,), generator=noise)
        optimizer.zero_grad()
        prior.loss(text[chosen], style[chosen], noise).backward()
        optimizer.step()
    return prior.eval()


def test_samples_have_rms_one_per_tower() -> None:
    style = make_prior().sample(torch.randn(3, TEXT_DIM), steps=2, generator=generator())
    assert style.shape == (3, STYLE_DIM)
    assert not style.requires_grad
    for part in style.split(TOWER_DIMS, dim=-1):
        torch.testing.assert_close(part.square().mean(-1), torch.ones(3))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_same_generator_gives_the_same_vectors(guidance: float) -> None:
    prior, text = make_prior(), torch.randn(2, TEXT_DIM)
    first = prior.sample(text, 3, generator(7), guidance)
    assert torch.equal(first, prior.sample(text, 3, generator(7), guidance))
    assert not torch.allclose(first, prior.sample(text, 3, generator(8), guidance))


def test_a_batch_is_its_texts_one_by_one() -> None:
    prior, text = make_prior(), torch.randn(2, TEXT_DIM)
    together = prior.sample(text, 3, [generator(1), generator(2)])
    alone = [prior.sample(text[i : i + 1], 3, generator(i + 1)) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_learns_which_style_belongs_to_which_words(trained: EmbeddingPrior) -> None:
    text, style = make_pairs(64, seed=2)
    sampled = trained.sample(text, steps=8, generator=generator())
    mean = style.mean(dim=0)
    cosine = torch.cosine_similarity(sampled - mean, style - mean).mean()
    chance = torch.cosine_similarity(sampled - mean, (style - mean).roll(1, 0)).mean()
    assert cosine > 0.7
    assert abs(chance) < 0.25


def test_without_words_it_knows_less(trained: EmbeddingPrior) -> None:
    text, style = make_pairs(64, seed=3)
    blind = trained.sample(torch.zeros_like(text), generator=generator())
    seeing = trained.sample(text, generator=generator())
    assert (seeing - style).square().mean() < 0.5 * (blind - style).square().mean()


def test_guidance_one_and_a_plain_call_are_the_same(trained: EmbeddingPrior) -> None:
    text, _ = make_pairs(4, seed=4)
    near = trained.sample(text, 4, generator(), guidance=1.0 + 1e-6)
    torch.testing.assert_close(trained.sample(text, 4, generator()), near, rtol=1e-3, atol=1e-3)


def test_loss_reaches_every_trained_weight_and_repeats() -> None:
    prior = make_prior()
    text, style = make_pairs(8, seed=1)
    loss = prior.loss(text, style, generator())
    loss.backward()
    assert loss.shape == ()
    assert all(p.grad is not None for p in prior.parameters() if p.requires_grad)
    assert torch.equal(loss, prior.loss(text, style, generator()))


def test_hidden_text_does_not_reach_the_loss() -> None:
    prior = make_prior(drop_text=1.0)
    text, style = make_pairs(8, seed=1)
    other = prior.loss(text + 5, style, generator())
    assert torch.equal(prior.loss(text, style, generator()), other)


def test_fit_scale_centres_with_one_factor() -> None:
    prior = make_prior()
    _, style = make_pairs(256, seed=1)
    prior.fit_scale(style)
    scaled = (style - prior.denoiser.clip_mean) / prior.denoiser.clip_std
    torch.testing.assert_close(scaled.mean(0), torch.zeros(STYLE_DIM), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.square().mean(), torch.tensor(1.0))
    assert prior.denoiser.clip_std.unique().numel() == 1


def test_folder_holds_the_same_prior(trained: EmbeddingPrior, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path)
    again = EmbeddingPrior.from_pretrained(tmp_path)
    text, _ = make_pairs(2, seed=1)
    assert again.tower_dims == TOWER_DIMS
    assert torch.equal(again.sample(text, 2, generator()), trained.sample(text, 2, generator()))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "diffusion_pytorch_model.safetensors"}


def test_the_papers_size_is_expressible() -> None:
    with torch.device("meta"):
        prior = EmbeddingPrior(768, (768, 512, 512))
    assert prior.style_dim == 1792
    assert sum(p.numel() for p in prior.parameters()) < 40e6


@pytest.mark.parametrize("shape", [(2, TEXT_DIM + 1), (TEXT_DIM,), (1, 2, TEXT_DIM)])
def test_other_text_vectors_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EncoderMismatch, match=r"this prior takes \(batch, 6\)"):
        make_prior().sample(torch.zeros(shape))


def test_other_style_vectors_are_refused() -> None:
    with pytest.raises(EncoderMismatch, match="style"):
        make_prior().loss(torch.zeros(2, TEXT_DIM), torch.zeros(2, STYLE_DIM - 1))


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_steps_are_refused(steps: int) -> None:
    with pytest.raises(BadOption, match=str(steps)):
        make_prior().sample(torch.zeros(1, TEXT_DIM), steps=steps)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(BadOption, match="found 3"):
        EmbeddingPrior(TEXT_DIM, TOWER_DIMS, width=32, heads=3)
