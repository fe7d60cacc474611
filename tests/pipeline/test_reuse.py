"""Runs that leave something out: exact where they may not, near where they may."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import nn

from facestudio.guidance import GuidanceContext, install_region_attention
from facestudio.guidance.adapter import cross_attentions
from facestudio.pipeline.batch import draw_together
from facestudio.pipeline.denoise import (
    Predictor,
    conditional_half,
    denoise,
    draw_noise,
    predict,
    start_run,
)
from facestudio.pipeline.request import Request, check_request
from facestudio.pipeline.reuse import graft, reuse
from facestudio.pipeline.speed import BALANCED, DRAFT, EXACT, FAST, SpeedSettings
from tests.pipeline.conftest import make_unet

STEPS = 8
HALVES = ((0, 0, 0.5, 1), (0.5, 0, 1, 1))
LEVERS = {
    "guidance to": SpeedSettings(guidance_to=0.5),
    "guidance from": SpeedSettings(guidance_from=0.3),
    "deep": SpeedSettings(deep_every=2, outer_layers=0),
    "deep, a layer more": SpeedSettings(deep_every=3, outer_layers=1),
    "gate": SpeedSettings(gate=0.5),
    "balanced": BALANCED,
    "fast": FAST,
    "draft": DRAFT,
    "all": SpeedSettings(0.2, 0.7, deep_every=2, outer_layers=0, gate=0.4, guidance_every=2),
}
every_lever = pytest.mark.parametrize("speed", LEVERS.values(), ids=LEVERS)


def wide_unet(map_features: int = 0) -> UNet2DConditionModel:
    """Three levels of two layers, so that there is an inside to leave out."""
    small = make_unet(map_features=map_features)
    torch.manual_seed(1)
    unet = (
        type(small)
        .from_config(
            dict(small.config)
            | {
                "layers_per_block": 2,
                "block_out_channels": (8, 16, 16),
                "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            }
        )
        .eval()
    )
    install_region_attention(unet)
    return unet


@pytest.fixture(params=[0, 2], ids=["plain", "mapped"])
def unet(request):
    return wide_unet(request.param)


def seeds(*numbers):
    return [torch.Generator().manual_seed(number) for number in numbers]


def make_context(unet, count, masks=None):
    random = torch.Generator().manual_seed(0)
    sets = 1 if masks is None else len(masks) + 1
    features = unet.config.in_channels - unet.config.out_channels
    face_map = torch.randn(count, features, 8, 8, generator=random) if features else None
    tokens = torch.randn(count, sets, 3, 16, generator=random)
    return GuidanceContext(tokens, masks, face_map)


def pick(context, rows):
    face_map = None if context.face_map is None else context.face_map[rows]
    return GuidanceContext(context.tokens[rows], context.masks, face_map)


@torch.no_grad()
def run(unet, context, numbers, speed, wrap=reuse):
    generators = seeds(*numbers)
    noise = draw_noise((6, 8, 8), generators, torch.zeros(1))
    start = start_run(DDIMScheduler(num_train_timesteps=100), STEPS, noise, None, None)
    return denoise(wrap(unet, speed, STEPS), start, context, 2.0, generators, speed=speed)


def count_calls(modules):
    """A Counter of each module's calls, by its name."""
    calls = Counter()
    for name, module in modules.items():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    return calls


def test_exact_gives_back_the_unet_itself(unet):
    assert reuse(unet, EXACT, STEPS) is unet
    assert reuse(unet, SpeedSettings(guidance_to=0.5), STEPS) is unet


def test_a_full_step_is_exact_bit_for_bit(unet):
    """The first step is tapped, and closes no gate."""
    context = make_context(unet, 4)
    reusing = reuse(unet, SpeedSettings(deep_every=2, gate=0.5), STEPS)
    x, t = torch.randn(4, unet.config.in_channels, 8, 8), torch.tensor(50)
    given = {
        "encoder_hidden_states": context.tokens[:, 0],
        "cross_attention_kwargs": {"guidance": context},
        "return_dict": False,
    }
    with torch.no_grad():
        assert torch.equal(reusing(x, t, **given)[0], unet(x, t, **given)[0])


@every_lever
def test_the_picture_changes_and_changes_little(unet, speed):
    context = make_context(unet, 4)
    exact, light = (run(unet, context, (1, 2), s) for s in (EXACT, speed))
    difference = (light - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 0 < difference < 0.3


@every_lever
def test_a_batch_equals_each_alone(unet, speed):
    context = make_context(unet, 4)
    both = run(unet, context, (7, 8), speed)
    for index, seed in enumerate((7, 8)):
        alone = run(unet, pick(context, [index, index + 2]), (seed,), speed)
        torch.testing.assert_close(both[index : index + 1], alone, rtol=1e-4, atol=1e-4)


@every_lever
def test_regions_stay_each_their_own(unet, speed):
    masks = torch.zeros(2, 8, 8)
    masks[0, :, :4], masks[1, :, 4:] = 1, 1
    context = make_context(unet, 2, masks)
    exact, light = (run(unet, context, (1,), s) for s in (EXACT, speed))
    assert (light - exact).square().mean() < 0.1 * exact.square().mean()
    swapped = GuidanceContext(context.tokens, masks.flip(0), context.face_map)
    assert not torch.equal(run(unet, swapped, (1,), speed), light)


@every_lever
def test_the_model_is_left_as_it_was(unet, speed):
    before = dict(unet.named_modules())
    context = make_context(unet, 2)
    exact = run(unet, context, (1,), EXACT)
    run(unet, context, (1,), speed)
    assert dict(unet.named_modules()) == before
    assert torch.equal(run(unet, context, (1,), EXACT), exact)


def test_outside_its_part_guidance_computes_the_conditional_half_alone(unet):
    rows = []
    unet.conv_in.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    run(unet, make_context(unet, 2), (1,), SpeedSettings(guidance_from=0.25, guidance_to=0.75))
    assert rows == [1, 1, 2, 2, 2, 2, 1, 1]


def test_between_its_renewals_guidance_computes_the_conditional_half_alone(unet):
    rows = []
    unet.conv_in.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    speed = SpeedSettings(guidance_from=0.125, guidance_to=0.75, guidance_every=3)
    run(unet, make_context(unet, 2), (1,), speed)
    assert rows == [1, 2, 1, 2, 1, 1, 1, 1]  # anew where it begins, and at every third step


def test_between_its_renewals_guidance_is_what_it_made_last(unet):
    """At a step between, with the latents and the time of the renewal, it is the full guidance."""
    context = make_context(unet, 2)
    start = start_run(DDIMScheduler(), 2, draw_noise((6, 8, 8), seeds(3), torch.zeros(1)), None, 1)
    predictor = Predictor(unet, start, context, 2.5, SpeedSettings(guidance_every=2))
    with torch.no_grad():
        full, between = (predictor(step, torch.tensor(50), start.latents) for step in (0, 1))
        exact = predict(unet, start.scheduler, start.latents, torch.tensor(50), context, 2.5)
    assert torch.equal(full, exact)
    torch.testing.assert_close(between, exact, rtol=1e-4, atol=1e-4)


def test_without_guidance_the_interval_changes_nothing(unet):
    context = make_context(unet, 1)
    exact, light = (run(unet, context, (1,), s) for s in (EXACT, SpeedSettings(guidance_to=0.0)))
    assert torch.equal(exact, light)


def test_the_conditional_half_is_the_prediction_at_scale_one(unet):
    context = make_context(unet, 2)
    x, t = draw_noise((6, 8, 8), seeds(3), torch.zeros(1)), torch.tensor(50)
    scheduler = DDIMScheduler(num_train_timesteps=100)
    with torch.no_grad():
        half = predict(unet, scheduler, x, t, conditional_half(context), 2.0)
        whole = predict(unet, scheduler, x, t, context, 1.0)
    torch.testing.assert_close(half, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [0, 1, 2, 9])
def test_inner_blocks_run_at_every_nth_step(unet, layers):
    first, last = unet.down_blocks[0].resnets, unet.up_blocks[-1].resnets
    watched = {"mid": unet.mid_block, "in": unet.conv_in, "down": unet.down_blocks[1]}
    watched |= {f"first {i}": first[i] for i in range(2)} | {f"last {i}": last[i] for i in range(3)}
    calls = count_calls(watched)
    run(unet, make_context(unet, 2), (1,), SpeedSettings(deep_every=3, outer_layers=layers))
    outer = [f"first {i}" for i in range(min(layers, 2))]
    outer += [f"last {2 - i}" for i in range(min(layers, 2) + 1)]
    known = dict.fromkeys(watched, 3) | dict.fromkeys(["in", *outer], STEPS)
    assert calls == known


def test_what_is_kept_of_both_halves_serves_the_conditional_one(unet):
    """Guidance ends between two full steps: the inner blocks need not run for that."""
    calls = count_calls({"mid": unet.mid_block})
    run(unet, make_context(unet, 2), (1,), SpeedSettings(guidance_to=0.6, deep_every=4))
    assert calls["mid"] == 2


def test_where_guidance_begins_the_inner_blocks_run_anew(unet):
    calls = count_calls({"mid": unet.mid_block})
    run(unet, make_context(unet, 2), (1,), SpeedSettings(guidance_from=0.2, deep_every=4))
    assert calls["mid"] == 3  # steps 0 and 4, and 2 where the rows double


def test_cross_attention_runs_until_its_gate_closes(unet):
    calls = count_calls(cross_attentions(unet))
    run(unet, make_context(unet, 2), (1,), SpeedSettings(gate=0.5))
    assert set(calls.values()) == {STEPS // 2 + 1}
    assert len(calls) == len(cross_attentions(unet))


@pytest.mark.parametrize(("speed", "times"), [(EXACT, 1), (FAST, 1), (BALANCED, 2)])
def test_keys_and_values_are_computed_once_a_run(unet, speed, times):
    """Of both halves of guidance, and where it is left out at some steps of the one alone."""
    makers = {
        f"{name}.{part}": getattr(attn, part)
        for name, attn in cross_attentions(unet).items()
        for part in ("to_k", "to_v")
    }
    calls = count_calls(makers)
    run(unet, make_context(unet, 2), (1,), speed)
    assert calls.keys() == makers.keys()
    assert max(calls.values()) == times


def test_a_graft_shares_all_but_what_it_replaces():
    tree = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))
    grafted = graft(tree, {"0.1": nn.Identity()})
    assert (type(tree[0][1]), type(grafted[0][1])) == (nn.ReLU, nn.Identity)
    assert grafted[0][0] is tree[0][0]
    assert grafted[1] is tree[1]


def pictures_of(output):
    return np.stack([np.asarray(image, dtype=int) for image in output.images])


@every_lever
def test_a_call_takes_a_speed(pipe, anna, ben, speed):
    couple = {"prompt": "a hat", "regions": HALVES, "seed": 1}
    exact = pipe([anna, ben], **couple, num_inference_steps=STEPS)
    light = pipe([anna, ben], **couple, num_inference_steps=STEPS, speed=speed)
    change = np.abs(pictures_of(light) - pictures_of(exact))
    assert 0 < change.mean() < 32
    again = pipe([anna, ben], **couple, num_inference_steps=STEPS, speed=light.settings["speed"])
    np.testing.assert_array_equal(pictures_of(again), pictures_of(light))


def test_a_model_may_have_a_speed_of_its_own(pipe, anna):
    wanted = {"prompt": "a hat", "seed": 1, "num_inference_steps": STEPS}
    exact, fast = (pictures_of(pipe(anna, **wanted, speed=name)) for name in ("exact", "fast"))
    assert np.abs(exact - fast).max() > 0
    np.testing.assert_array_equal(pictures_of(pipe(anna, **wanted)), exact)
    pipe.config = replace(pipe.config, speed=FAST)
    np.testing.assert_array_equal(pictures_of(pipe(anna, **wanted)), fast)


def test_requests_drawn_together_keep_their_speed(pipe, anna, ben):
    requests = [
        check_request(
            Request((who,), prompt="a hat", seed=1, num_inference_steps=STEPS, speed="fast"),
            pipe.limits,
        )
        for who in (anna, ben)
    ]
    for request, output in zip(requests, draw_together(pipe, requests), strict=True):
        alone = pictures_of(pipe.run(request))
        assert np.abs(pictures_of(output) - alone).max() <= 1


def test_controlnets_steer_fast_runs_too(pipe, anna, picture):
    torch.manual_seed(2)
    embedding = (4, 8, 8)  # halves twice, to the codec's factor
    pipe.controlnet = ControlNetModel.from_unet(
        pipe.unet, conditioning_embedding_out_channels=embedding
    ).eval()
    for name, weight in pipe.controlnet.named_parameters():
        if "controlnet_" in name:
            nn.init.normal_(weight, std=0.05)
    wanted = {"prompt": "a hat", "seed": 1, "num_inference_steps": STEPS}
    free = pipe(anna, **wanted, speed="fast")
    exact, fast = (
        pictures_of(pipe(anna, **wanted, control_image=picture(5), speed=speed))
        for speed in ("exact", "fast")
    )
    assert np.abs(fast - exact).mean() < 16
    assert np.abs(fast - pictures_of(free)).max() > 0
