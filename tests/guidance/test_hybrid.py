"""The paper's Linear: shapes, the equality of blending before and after it, and its scales."""

import pytest
import torch

from facestudio.guidance import HybridGuidance, blend

STYLE, IDENTITY, TOKENS, WIDTH = 12, 8, 4, 16


@pytest.fixture
def guidance():
    torch.manual_seed(0)
    return HybridGuidance(style_dim=STYLE, identity_dim=IDENTITY, n_tokens=TOKENS, width=WIDTH)


@pytest.fixture
def embeddings():
    random = torch.Generator().manual_seed(1)
    return [torch.randn(3, size, generator=random) for size in (STYLE, STYLE, IDENTITY)]


def test_tokens_have_the_shape_of_the_text_they_replace(guidance, embeddings):
    e_h, _, e_f = embeddings
    tokens = guidance(e_h, e_f)
    assert tokens.shape == (3, TOKENS, WIDTH)
    assert tokens.dtype == torch.float32


def test_tokens_are_one_linear_over_both_embeddings(guidance, embeddings):
    e_h, _, e_f = embeddings
    known = torch.cat([e_h, e_f], 1) @ guidance.join.weight.T + guidance.join.bias
    torch.testing.assert_close(guidance(e_h, e_f).flatten(1), known)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_blending_before_and_after_the_linear_is_equal(guidance, embeddings, alpha):
    e_h, e_t, e_f = embeddings
    after = blend(guidance(e_h, e_f), guidance(e_t, e_f), alpha)
    before = guidance(blend(e_h, e_t, alpha), e_f)
    torch.testing.assert_close(after, before)


def test_blending_is_exact_at_both_ends(embeddings):
    e_h, e_t, _ = embeddings
    assert torch.equal(blend(e_h, e_t, 1.0), e_h)
    assert torch.equal(blend(e_h, e_t, 0.0), e_t)


def test_a_branch_of_weight_0_may_hold_anything(embeddings):
    e_h, _, _ = embeddings
    assert torch.equal(blend(e_h, torch.full_like(e_h, float("nan")), 1.0), e_h)


def test_each_scale_acts_on_its_own_embedding(guidance, embeddings):
    e_h, _, e_f = embeddings
    nobody, nothing = torch.zeros_like(e_f), torch.zeros_like(e_h)
    torch.testing.assert_close(guidance(e_h, e_f, identity_scale=0.0), guidance(e_h, nobody))
    torch.testing.assert_close(guidance(e_h, e_f, style_scale=0.0), guidance(nothing, e_f))
    torch.testing.assert_close(guidance(e_h, e_f, 0.5, 2.0), guidance(0.5 * e_h, 2.0 * e_f))


def test_gradients_reach_the_linear_and_both_embeddings(guidance, embeddings):
    e_h, _, e_f = (x.clone().requires_grad_() for x in embeddings)
    guidance(e_h, e_f).square().sum().backward()
    for tensor in (e_h, e_f, guidance.join.weight, guidance.join.bias):
        assert tensor.grad.abs().sum() > 0


def test_saving_and_loading_gives_the_same_tokens(guidance, embeddings, tmp_path):
    e_h, _, e_f = embeddings
    guidance.save_pretrained(tmp_path)
    again = HybridGuidance.from_pretrained(tmp_path)
    assert torch.equal(again(e_h, e_f), guidance(e_h, e_f))


def test_an_embedding_of_another_dimension_is_refused(guidance):
    with pytest.raises(RuntimeError, match="shape"):
        guidance(torch.zeros(1, STYLE + 1), torch.zeros(1, IDENTITY))
