"""Region attention: each region sees its own guidance, and nothing else changes."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from facestudio.errors import BadModel, BadRegion
from facestudio.guidance import (
    GuidanceContext,
    RegionAttention,
    install_region_attention,
    remove_region_attention,
)
from facestudio.guidance.attention import attend_by_region, layer_size, owners_of

WIDTH, TOKENS = 16, 3
KINDS = {
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
        **KINDS,
    ).eval()


def make_tokens(batch, sets, seed=0):
    return torch.randn(batch, sets, TOKENS, WIDTH, generator=torch.Generator().manual_seed(seed))


def make_halves(height, width):
    masks = torch.zeros(2, height, width)
    masks[0, :, : width // 2] = 1
    masks[1, :, width // 2 :] = 1
    return masks


@torch.no_grad()
def run(unet, tokens, masks=None, context=None, size=(8, 8)):
    x = torch.randn(len(tokens), 4, *size, generator=torch.Generator().manual_seed(9))
    context = context or GuidanceContext(tokens, masks)
    kwargs = {"guidance": context}
    return unet(x, 10, encoder_hidden_states=tokens[:, 0], cross_attention_kwargs=kwargs).sample


@torch.no_grad()
def run_plain(unet, tokens, size=(8, 8)):
    x = torch.randn(len(tokens), 4, *size, generator=torch.Generator().manual_seed(9))
    return unet(x, 10, encoder_hidden_states=tokens).sample


def find_cross_attention(unet):
    return unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2


def make_query(attn):
    size = attn.to_q.out_features // attn.heads
    return torch.randn(1, attn.heads, 64, size, generator=torch.Generator().manual_seed(2))


def test_without_masks_it_is_the_plain_path_exactly(unet):
    tokens = make_tokens(2, 1)
    plain = run_plain(unet, tokens[:, 0])
    install_region_attention(unet)
    assert torch.equal(run(unet, tokens), plain)


@pytest.mark.parametrize("sets", [1, 2])
def test_one_person_with_a_full_mask_is_the_plain_path_exactly(unet, sets):
    tokens = make_tokens(2, sets)
    plain = run_plain(unet, tokens[:, 0])
    install_region_attention(unet)
    assert torch.equal(run(unet, tokens, torch.ones(1, 8, 8)), plain)


def test_without_a_context_the_installed_unet_is_the_plain_path_exactly(unet):
    tokens = make_tokens(2, 1)[:, 0]
    plain = run_plain(unet, tokens)
    install_region_attention(unet)
    assert torch.equal(run_plain(unet, tokens), plain)


def test_the_same_guidance_in_every_region_is_the_plain_path(unet):
    tokens = make_tokens(1, 1).expand(-1, 2, -1, -1)
    plain = run_plain(unet, tokens[:, 0])
    install_region_attention(unet)
    torch.testing.assert_close(run(unet, tokens, make_halves(8, 8)), plain)


def test_permuting_people_with_their_masks_changes_nothing(unet):
    tokens, masks = make_tokens(2, 4), torch.zeros(3, 8, 8)
    masks[0, :3], masks[1, 3:6, :5], masks[2, 6:] = 1, 1, 1
    install_region_attention(unet)
    one = run(unet, tokens, masks)
    order = [2, 0, 1]
    assert torch.equal(run(unet, tokens[:, [*order, 3]], masks[order]), one)


def test_a_region_does_not_depend_on_the_other_person_within_a_layer(unet):
    attn = find_cross_attention(unet)
    query = make_query(attn)
    masks, tokens = make_halves(8, 8), make_tokens(1, 2)
    other = tokens.clone()
    other[:, 1] = make_tokens(1, 1, seed=5)[:, 0]
    one = attend_by_region(attn, query, GuidanceContext(tokens, masks))
    two = attend_by_region(attn, query, GuidanceContext(other, masks))
    left = masks[0].flatten().bool()
    assert torch.equal(one[:, :, left], two[:, :, left])
    assert not torch.equal(one[:, :, ~left], two[:, :, ~left])


def test_each_region_is_plain_attention_over_its_own_tokens(unet):
    attn = find_cross_attention(unet)
    query = make_query(attn)
    masks, tokens = make_halves(8, 8), make_tokens(1, 2)
    mixed = attend_by_region(attn, query, GuidanceContext(tokens, masks))
    for person in range(2):
        alone = attend_by_region(attn, query, GuidanceContext(tokens[:, person : person + 1]))
        inside = masks[person].flatten().bool()
        torch.testing.assert_close(mixed[:, :, inside], alone[:, :, inside])


def test_positions_of_nobody_use_the_last_set(unet):
    attn = find_cross_attention(unet)
    query = make_query(attn)
    masks, tokens = make_halves(8, 8)[:1], make_tokens(1, 2)
    mixed = attend_by_region(attn, query, GuidanceContext(tokens, masks))
    background = attend_by_region(attn, query, GuidanceContext(tokens[:, 1:]))
    outside = ~masks[0].flatten().bool()
    torch.testing.assert_close(mixed[:, :, outside], background[:, :, outside])


def test_removing_restores_every_processor_and_every_bit(unet):
    before = dict(unet.attn_processors)
    tokens = make_tokens(1, 1)[:, 0]
    plain = run_plain(unet, tokens)
    install_region_attention(unet)
    assert all(isinstance(p, RegionAttention) for p in unet.attn_processors.values())
    remove_region_attention(unet)
    assert unet.attn_processors == before
    assert torch.equal(run_plain(unet, tokens), plain)


def test_installing_twice_wraps_once(unet):
    install_region_attention(unet)
    once = dict(unet.attn_processors)
    install_region_attention(unet)
    assert unet.attn_processors == once


def test_keys_and_values_are_computed_once_a_picture(unet):
    install_region_attention(unet)
    calls = []
    attn = find_cross_attention(unet)
    for linear in (attn.to_k, attn.to_v):
        linear.register_forward_hook(lambda module, *_: calls.append(module))
    tokens, masks = make_tokens(2, 3), make_halves(8, 8)
    context = GuidanceContext(tokens, masks)
    first = run(unet, tokens, context=context)
    assert len(calls) == 4  # keys and values of two people; the background has no position
    assert torch.equal(run(unet, tokens, context=context), first)
    assert len(calls) == 4
    run(unet, tokens, masks)
    assert len(calls) == 8


def test_two_runs_at_once_do_not_touch_each_other(unet):
    install_region_attention(unet)
    one, two = (GuidanceContext(make_tokens(1, 2, seed), make_halves(8, 8)) for seed in (0, 1))
    alone = run(unet, one.tokens, context=GuidanceContext(one.tokens, one.masks))
    run(unet, one.tokens, context=one)
    run(unet, two.tokens, context=two)
    assert torch.equal(run(unet, one.tokens, context=one), alone)


@pytest.mark.parametrize("size", [(8, 16), (6, 10), (7, 5), (9, 4)])
def test_wide_and_odd_latents_find_their_layers(unet, size):
    install_region_attention(unet)
    tokens, masks = make_tokens(1, 2), make_halves(*size)
    same = tokens[:, :1].expand(-1, 2, -1, -1)
    torch.testing.assert_close(
        run(unet, same, masks, size=size), run_plain(unet, tokens[:, 0], size=size)
    )
    assert run(unet, tokens, masks, size=size).shape == (1, 4, *size)


def test_gradients_reach_the_tokens(unet):
    install_region_attention(unet)
    tokens = make_tokens(1, 2).requires_grad_()
    context = GuidanceContext(tokens, make_halves(8, 8))
    x = torch.zeros(1, 4, 8, 8)
    kwargs = {"guidance": context}
    out = unet(x, 1, encoder_hidden_states=tokens[:, 0], cross_attention_kwargs=kwargs).sample
    out.square().sum().backward()
    assert (tokens.grad.flatten(2).abs().sum(-1) > 0).all()


def test_masks_of_any_size_are_read_at_their_centres():
    masks = make_halves(64, 64)
    context = GuidanceContext(make_tokens(1, 2), masks)
    left, right = context.positions(16)
    assert left.tolist() == [0, 1, 4, 5, 8, 9, 12, 13]
    assert right.tolist() == [2, 3, 6, 7, 10, 11, 14, 15]


def test_owners_are_the_masks_index_and_their_number_for_nobody():
    masks = torch.zeros(2, 1, 3)
    masks[0, 0, 2], masks[1, 0, 0] = 1, 1
    assert owners_of(masks).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize(
    ("count", "size"), [(64, (8, 8)), (16, (4, 4)), (12, (4, 3)), (4, (2, 2)), (1, (1, 1))]
)
def test_layer_sizes_round_up_at_each_halving(count, size):
    latent = (7, 5) if count in (12, 4) else (8, 8)
    assert layer_size(count, *latent) == size


def test_a_layer_that_is_no_halving_is_refused():
    with pytest.raises(BadModel, match="10 positions"):
        layer_size(10, 8, 8)


def test_overlapping_masks_are_refused():
    with pytest.raises(BadRegion, match="overlap"):
        GuidanceContext(make_tokens(1, 2), torch.ones(2, 8, 8))


def test_positions_without_tokens_are_refused():
    with pytest.raises(BadRegion, match="2 sets of tokens for 3 regions"):
        GuidanceContext(make_tokens(1, 2), make_halves(8, 8) * torch.tensor([1, 0])[:, None, None])


def test_attention_with_keys_of_its_own_is_refused(unet):
    find_cross_attention(unet).added_kv_proj_dim = 4
    with pytest.raises(BadModel, match="attn2"):
        install_region_attention(unet)
