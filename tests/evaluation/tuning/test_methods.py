"""Textual Inversion and DreamBooth: what they learn, what they leave alone, what they count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from PIL import ImageOps
from torch import Generator

from facestudio.errors import BadModel, MissingWeights
from facestudio.evaluation.tuning import material, runs
from facestudio.evaluation.tuning.methods import descend, invert, make_identifier, tune_network
from facestudio.evaluation.tuning.settings import TunedSettings
from facestudio.pipeline import conditions
from facestudio.pipeline.conditions import make_context
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import Scene
from tests.pipeline.conftest import make_identity

TUNED = TunedSettings((0.1,), (2, 4))


@pytest.fixture
def photos(pipe, picture):
    return material.encode_photos(pipe, [picture(3)])


def weights_of(network):
    return torch.cat([w.detach().flatten() for w in network.parameters()])


def seeded():
    return Generator().manual_seed(1)


def test_inversion_moves_the_vector_and_nothing_else(base, photos):
    pipe = base.pipe
    before = {name: weights_of(network) for name, network in pipe.networks().items()}
    first, last = invert(base, photos, TUNED, 0.1, seeded())
    assert (first.iterations, last.iterations) == (2, 4)
    assert 0 < first.seconds < last.seconds
    assert last.pipe is pipe
    assert last.identity.embedding.shape == (pipe.identity_encoder.dimension,)
    assert np.abs(last.identity.embedding).min() > 0  # all of it, whatever its parts mean
    assert not np.array_equal(first.identity.embedding, last.identity.embedding)
    for name, network in pipe.networks().items():
        assert torch.equal(weights_of(network), before[name])
        assert all(weight.grad is None for weight in network.parameters())


def test_weights_take_gradients_again_after_tuning(base, photos):
    wanted = {name: w.requires_grad for name, w in base.pipe.unet.named_parameters()}
    list(invert(base, photos, TUNED, 0.1, seeded()))
    assert {name: w.requires_grad for name, w in base.pipe.unet.named_parameters()} == wanted
    assert any(wanted.values())


@pytest.mark.parametrize("method", [invert, tune_network])
def test_the_same_seed_fits_the_same(base, photos, method):
    fitted = [list(method(base, photos, TUNED, 0.01, seeded()))[-1] for _ in range(2)]
    one, two = (f.pipe(f.identity, "a man", seed=0, output_type="pt").images for f in fitted)
    assert torch.equal(one, two)


def test_dreambooth_tunes_a_copy(base, photos):
    before = weights_of(base.pipe.unet)
    (fitted, _) = tune_network(base, photos, TUNED, 1e-3, seeded())
    assert torch.equal(weights_of(base.pipe.unet), before)
    assert not torch.equal(weights_of(fitted.pipe.unet), before)
    assert fitted.pipe.guidance is base.pipe.guidance
    drawn = [pipe(fitted.identity, "a man", seed=0, output_type="pt").images
             for pipe in (base.pipe, fitted.pipe)]  # fmt: skip
    assert not torch.equal(*drawn)


def test_dreambooth_learns_the_photos_it_is_given(base, photos):
    """With noise, times and words fixed, the loss on the photos falls."""

    def loss(unet, identity):
        told = torch.from_numpy(identity.embedding).expand(len(photos), -1)
        context = material.guide(base.pipe, base.styles[: len(photos)], told)
        with torch.no_grad():
            return material.noise_loss(unet, base.scheduler, photos, context, seeded()).mean()

    *_, fitted = tune_network(base, photos, TunedSettings((1.0,), (30,)), 1e-3, seeded())
    assert loss(fitted.pipe.unet, fitted.identity) < loss(base.pipe.unet, fitted.identity)


def test_without_prior_weight_the_pictures_of_nobody_change_nothing(base, photos):
    other = material.Base(base.pipe, base.prompt, base.scheduler, base.styles, base.nobody + 1)

    def tuned(base, weight):
        *_, fitted = tune_network(base, photos, TUNED, 1e-3, seeded(), weight)
        return weights_of(fitted.pipe.unet)

    assert torch.equal(tuned(base, 0.0), tuned(other, 0.0))
    assert not torch.equal(tuned(base, 1.0), tuned(other, 1.0))


def test_the_identifier_is_nobody_known(pipe):
    identifier = make_identifier(pipe)
    known = identifier.embedding[: identifier.compare_dim]
    assert np.sqrt((known**2).mean()) == pytest.approx(1, abs=1e-5)
    assert not identifier.embedding[identifier.compare_dim :].any()
    assert np.array_equal(make_identifier(pipe).embedding, identifier.embedding)


def test_stops_come_in_their_order_with_rising_seconds():
    weight = torch.nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([weight], 0.1)
    stops = list(descend(optimizer, lambda: weight**2, (1, 3)))
    assert [iteration for iteration, _ in stops] == [1, 3]
    assert stops[0][1] < stops[1][1]
    assert weight.item() == pytest.approx(0.8**3)


# --- what both are made of -----------------------------------------------------------------------


def own_context(pipe, person, prompt):
    """What the pipeline itself makes of a person and words, without cfg."""
    request = Request(people=(person,), prompt=prompt, alpha=0.0, height=32, width=32)
    with torch.no_grad():
        return make_context(pipe, request, [person], Scene(None, None, None, None), [seeded()])


@pytest.mark.parametrize("kind", ["pipe", "mapped"])
def test_guidance_is_the_pipelines_own(kind, request, monkeypatch):
    pipe = request.getfixturevalue(kind)
    anna, styles = make_identity(pipe.identity_encoder, 1), torch.randn(1, 8, generator=seeded())
    monkeypatch.setattr(conditions, "imagine", lambda *given: styles)
    wanted = own_context(pipe, anna, "a man")
    context = material.guide(pipe, styles, torch.from_numpy(anna.embedding)[None])
    assert torch.equal(context.tokens, wanted.tokens)
    if kind == "pipe":
        assert context.face_map is None
    else:
        assert torch.equal(context.face_map, wanted.face_map)


def test_inversion_seeks_the_face_map_too(mapped, table_settings, picture):
    table_settings.out.mkdir()
    base = runs.make_base(table_settings, mapped, {"num_inference_steps": 1})
    photos = material.encode_photos(mapped, [picture(3)])
    (fitted,) = invert(base, photos, TunedSettings((0.1,), (1,)), 0.1, seeded())
    _, maps = conditions.tell_people([fitted.identity], mapped)
    assert maps.any()
    drawn = [mapped(who, "a man", seed=0, output_type="pt").images
             for who in (fitted.identity, None)]  # fmt: skip
    assert not torch.equal(*drawn)


def test_the_loss_of_a_perfect_prediction_is_zero(base, photos, monkeypatch):
    def perfect(unet, scheduler, noisy, t, context, guidance_scale):
        signal = scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
        return (noisy - signal.sqrt() * photos) / (1 - signal).sqrt()

    monkeypatch.setattr(material, "predict", perfect)
    losses = material.noise_loss(None, base.scheduler, photos, None, seeded())
    assert losses.shape == (2,)
    assert losses.max() < 1e-6


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_targets_by_prediction_type(pipe, kind):
    pipe.scheduler = EulerDiscreteScheduler(prediction_type=kind)
    scheduler = material.training_scheduler(pipe)
    latents, noise, t = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 2.0), torch.tensor([500])
    signal = scheduler.alphas_cumprod[500]
    wanted = {
        "epsilon": 2.0,
        "sample": 1.0,
        "v_prediction": float(signal.sqrt() * 2 - (1 - signal).sqrt()),
    }
    target = material.target_of(scheduler, latents, noise, t)
    assert float(target) == pytest.approx(wanted[kind], abs=1e-5)


def test_a_scheduler_without_betas_is_refused(pipe):
    pipe.scheduler = FlowMatchEulerDiscreteScheduler()
    with pytest.raises(BadModel, match="FlowMatch"):
        material.check_base(pipe)


def test_models_of_another_kind_are_refused(pipe):
    material.check_base(pipe)
    pipe.text_towers = None
    with pytest.raises(MissingWeights, match="takes words"):
        material.check_base(pipe)
    pipe.guidance = torch.nn.Linear(1, 1)
    with pytest.raises(BadModel, match="this one has Linear"):
        material.check_base(pipe)


def test_photos_are_seen_both_ways_round(pipe, picture):
    photo = picture(5)
    latents = material.encode_photos(pipe, [photo])
    assert latents.shape == (2, pipe.codec.channels, 8, 8)
    assert torch.equal(latents, material.encode_photos(pipe, [ImageOps.mirror(photo)]).flip(0))
