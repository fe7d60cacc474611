"""Embeddings to guidance: the paper's equation, its two branches, and cfg's two halves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facestudio.errors import MissingWeights
from facestudio.pipeline.conditions import (
    condition_generators,
    imagine,
    imagine_together,
    join,
    look,
    make_context,
    make_guidance,
    random_background,
    tell_people,
)
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import Scene, to_pixels


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def seeds(*numbers):
    return [torch.Generator().manual_seed(number) for number in numbers]


def make_scene(picture, masks=None):
    return Scene(picture(4), None, None, masks)


def make_halves():
    masks = np.zeros((2, 8, 8), np.float32)
    masks[0, :, :4], masks[1, :, 4:] = 1, 1
    return masks


def make_request(people=(None,), **options):
    options = {"prompt": "a hat", "alpha": 0.5, "guidance_scale": 1.0} | options
    return Request(people=people, **options)


def test_tokens_pair_every_style_with_every_face(pipe):
    styles, faces = torch.randn(2, 8), torch.randn(3, pipe.guidance.identity_dim)
    tokens = join(pipe.guidance, styles, faces, 0.5, 2.0)
    assert tokens.shape == (2, 3, 3, 16)
    known = pipe.guidance(styles[1:], faces[2:], 0.5, 2.0)
    torch.testing.assert_close(tokens[1, 2], known[0])


def test_guidance_is_the_papers_blend(pipe):
    e_h, e_t = torch.randn(2, 8), torch.randn(2, 8)
    e_f = torch.randn(1, pipe.guidance.identity_dim)
    e_g = make_guidance(pipe.guidance, e_h, e_t, e_f, 0.3)
    e_i, e_p = (join(pipe.guidance, style, e_f) for style in (e_h, e_t))
    torch.testing.assert_close(e_g, 0.3 * e_i + 0.7 * e_p)
    torch.testing.assert_close(e_g, join(pipe.guidance, 0.3 * e_h + 0.7 * e_t, e_f))


def test_one_branch_alone_is_that_branch(pipe):
    style, e_f = torch.randn(1, 8), torch.randn(1, pipe.guidance.identity_dim)
    known = join(pipe.guidance, style, e_f)
    assert torch.equal(make_guidance(pipe.guidance, style, None, e_f, 1.0), known)
    assert torch.equal(make_guidance(pipe.guidance, None, style, e_f, 0.0), known)


def test_nobody_is_the_zero_embedding(pipe, anna):
    e_f, maps = tell_people([None, anna], pipe)
    assert maps is None
    assert not e_f[0].any()
    assert torch.equal(e_f[1], torch.from_numpy(anna.embedding))


def test_words_are_drawn_once_for_each_picture(pipe):
    both = imagine(pipe, "a hat", seeds(1, 2))
    assert both.shape == (2, 8)
    assert not torch.equal(both[0], both[1])
    torch.testing.assert_close(both[1:], imagine(pipe, "a hat", seeds(2)))


def test_words_of_several_requests_are_imagined_in_one_run_as_each_alone(pipe, monkeypatch):
    requests = [
        make_request(prompt="a hat"),
        make_request(alpha=1.0),
        make_request(prompt="a man", guidance_scale=3.0, negative_prompt="words"),
    ]
    drawn = [seeds(1, 2), seeds(3), seeds(4)]
    wanted = imagine(pipe, "a hat", condition_generators(seeds(1, 2)))
    stream = condition_generators(seeds(4))
    alone = [imagine(pipe, text, stream) for text in ("a man", "words")]
    runs, sample = [], pipe.prior.sample
    monkeypatch.setattr(
        pipe.prior, "sample", lambda words, **kept: runs.append(words) or sample(words, **kept)
    )
    hat, nothing, man = imagine_together(pipe, requests, drawn)
    assert [len(words) for words in runs] == [4]
    torch.testing.assert_close(hat.prompt, wanted)
    torch.testing.assert_close([man.prompt, man.negative], alone)
    assert (hat.negative, nothing.prompt, nothing.negative) == (None, None, None)


def test_requests_without_words_imagine_nothing(pipe):
    pipe.prior = pipe.text_towers = None
    (nothing,) = imagine_together(pipe, [make_request(alpha=1.0)], [seeds(1)])
    assert nothing.prompt is None


def test_the_style_picture_goes_through_the_towers(pipe, picture):
    e_h = look(pipe, make_scene(picture), 2)
    torch.testing.assert_close(e_h[1:], pipe.image_towers(to_pixels(picture(4))))


def test_a_model_without_words_says_so(pipe):
    pipe.prior = None
    with pytest.raises(MissingWeights, match="'tiny' takes no words"):
        imagine(pipe, "a hat", seeds(1))


def test_the_priors_guidance_is_the_models(pipe):
    plain, again = (imagine(pipe, "a hat", seeds(1)) for _ in range(2))
    pipe.config = replace(pipe.config, prior_guidance=3.0)
    told = imagine(pipe, "a hat", seeds(1))
    assert torch.equal(plain, again)
    assert not torch.allclose(told, plain)


def test_condition_noise_is_not_the_latents_noise():
    (latent,), (condition,) = seeds(5), condition_generators(seeds(5))
    assert not torch.equal(torch.randn(4, generator=latent), torch.randn(4, generator=condition))
    drawn_from, again = seeds(5)[0], seeds(5)[0]
    torch.randn(4, generator=drawn_from)
    one, two = (condition_generators([g])[0] for g in (drawn_from, again))
    assert torch.equal(torch.randn(4, generator=one), torch.randn(4, generator=two))


def test_without_cfg_there_is_one_half(pipe, picture, anna):
    context = make_context(pipe, make_request((anna,)), [anna], make_scene(picture), seeds(1, 2))
    assert context.tokens.shape == (2, 1, 3, 16)
    assert context.masks is None


def test_the_unconditional_half_is_zero_embeddings(pipe, picture, anna):
    request = make_request((anna,), guidance_scale=3.0)
    context = make_context(pipe, request, [anna], make_scene(picture), seeds(1, 2))
    assert context.tokens.shape == (4, 1, 3, 16)
    nothing = torch.zeros(1, 8), torch.zeros(1, pipe.guidance.identity_dim)
    torch.testing.assert_close(context.tokens[0, 0], pipe.guidance(*nothing)[0])


def test_a_negative_prompt_takes_the_place_of_nothing(pipe, picture, anna):
    request = make_request((anna,), guidance_scale=3.0, negative_prompt="words")
    context = make_context(pipe, request, [anna], make_scene(picture), seeds(1))
    e_t = imagine(pipe, "words", condition_generators(seeds(1)))
    nobody = torch.zeros(1, pipe.guidance.identity_dim)
    known = pipe.guidance(e_t, nobody)
    assert context.tokens.shape[0] == 2
    assert not torch.equal(known, pipe.guidance(torch.zeros(1, 8), nobody))
    plain = make_context(
        pipe, make_request((anna,), guidance_scale=3.0), [anna], make_scene(picture), seeds(1)
    )
    torch.testing.assert_close(context.tokens[1], plain.tokens[1])


def test_the_context_holds_the_style_for_the_decoder(pipe, picture, anna):
    request = make_request((anna,), alpha=0.25, style_scale=2.0)
    context = make_context(pipe, request, [anna], make_scene(picture), seeds(1))
    e_h = look(pipe, make_scene(picture), 1)
    e_t = imagine(pipe, request.prompt, condition_generators(seeds(1)))
    torch.testing.assert_close(context.style, 2 * (0.25 * e_h + 0.75 * e_t))
    assert torch.equal(context.to(torch.bfloat16).style, context.style)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_branch_of_weight_0_is_not_computed(pipe, picture, alpha):
    if alpha == 1:
        pipe.prior = pipe.text_towers = None
    else:
        pipe.image_towers = None
    context = make_context(pipe, make_request(alpha=alpha), [None], make_scene(picture), seeds(1))
    assert context.tokens.isfinite().all()


def test_the_background_is_the_style_without_a_face(pipe, picture, anna, ben):
    scene = make_scene(picture, make_halves())
    context = make_context(pipe, make_request((anna, ben), alpha=1.0), [anna, ben], scene, seeds(1))
    assert context.tokens.shape == (1, 3, 3, 16)
    nobody = torch.zeros(1, pipe.guidance.identity_dim)
    known = pipe.guidance(look(pipe, scene, 1), nobody)
    torch.testing.assert_close(context.tokens[0, 2], known[0])


def test_a_random_background_is_seeded_and_the_people_stay(pipe, picture, anna, ben):
    scene = make_scene(picture, make_halves())

    def tokens(seed, background):
        request = make_request((anna, ben), alpha=1.0, background=background)
        return make_context(pipe, request, [anna, ben], scene, seeds(seed)).tokens

    plain, one, again, two = (
        tokens(seed, kind)
        for seed, kind in [(1, "style"), (1, "random"), (1, "random"), (2, "random")]
    )
    assert torch.equal(one, again)
    assert not torch.equal(one[:, 2], two[:, 2])
    assert not torch.equal(one[:, 2], plain[:, 2])
    torch.testing.assert_close(one[:, :2], plain[:, :2])


def test_a_random_background_is_one_for_each_picture(pipe):
    both = random_background(pipe.guidance, seeds(1, 2))
    assert both.shape == (2, 1, 3, 16)
    torch.testing.assert_close(both[1:], random_background(pipe.guidance, seeds(2)))
