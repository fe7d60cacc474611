"""What a call may ask for, and how it is refused."""

import numpy as np
import pytest
import torch

from facestudio.errors import BadOption, BadRegion
from facestudio.pipeline.request import Limits, Request, check_request, list_people

LIMITS = Limits(16, 64, 32, guidance_scale=3.0, num_inference_steps=25, max_steps=1000)
STYLE = IMAGE = "a.png"
LEFT, RIGHT = (0, 0, 0.5, 1), (0.5, 0, 1, 1)


def check(people=(None,), **options):
    return check_request(Request(people=people, **options), LIMITS)


def test_what_is_not_given_is_the_models_choice():
    request = check(prompt="a hat")
    assert request.frame == (64, 32)
    assert (request.guidance_scale, request.num_inference_steps) == (3.0, 25)
    assert request.strength is None


def test_what_is_given_stays():
    request = check(prompt="a hat", height=32, guidance_scale=1, num_inference_steps=5, seed=0)
    assert request.frame == (32, 32)
    assert (request.guidance_scale, request.num_inference_steps, request.seed) == (1, 5, 0)


@pytest.mark.parametrize(
    ("options", "alpha"),
    [
        ({"prompt": "a hat"}, 0.0),
        ({"style": STYLE}, 1.0),
        ({"prompt": "a hat", "style": STYLE}, 0.5),
        ({"prompt": "a hat", "style": STYLE, "alpha": 0.2}, 0.2),
        ({"prompt": "a hat", "style": STYLE, "alpha": 1}, 1.0),
        ({"prompt": " \n", "style": STYLE}, 1.0),
        ({"prompt": "a hat", "alpha": 0}, 0.0),
        ({"image": IMAGE}, 1.0),
        ({"image": IMAGE, "prompt": "a hat"}, 0.0),
    ],
)
def test_alpha_follows_from_what_is_given(options, alpha):
    assert check(**options).alpha == alpha


def test_an_image_alone_gives_its_own_style():
    request = check(image=IMAGE)
    assert request.style == IMAGE
    assert request.strength == 0.6


@pytest.mark.parametrize("prompt", [None, "", "   ", "\t\n"])
def test_neither_words_nor_style_is_refused(prompt):
    with pytest.raises(BadOption, match=r"prompt=.*: give words in prompt, a picture in style"):
        check(prompt=prompt)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("alpha", 1.01, "from 0 to 1"),
        ("alpha", -0.1, "from 0 to 1"),
        ("alpha", float("nan"), "from 0 to 1"),
        ("alpha", "half", "from 0 to 1"),
        ("alpha", True, "from 0 to 1"),
        ("identity_scale", -1, "from 0 to 5"),
        ("style_scale", 5.1, "from 0 to 5"),
        ("guidance_scale", float("inf"), "from 0 to 50"),
        ("strength", 0, "over 0 to 1"),
        ("strength", 1.5, "over 0 to 1"),
        ("num_inference_steps", 0, "from 1 to 1000"),
        ("num_inference_steps", 1001, "from 1 to 1000"),
        ("num_inference_steps", 2.5, "a whole number"),
        ("num_images_per_prompt", 0, "from 1 to 64"),
        ("num_images_per_prompt", 65, "from 1 to 64"),
        ("height", 40, "a multiple of 16, such as 32 or 48"),
        ("width", 8, "a multiple of 16, such as 16 or 32"),
        ("width", -16, "from 1 to 4096"),
        ("height", "64", "a whole number"),
        ("seed", -1, "from 0"),
        ("seed", 1.0, "a whole number from 0"),
        ("seed", 2**63, "a whole number from 0"),
        ("background", "black", "style, random, fixed"),
        ("output_type", "tensor", "pil, np, pt, latent"),
        ("negative_prompt", ["a"], "one text"),
    ],
)
def test_values_out_of_range_are_refused_by_name(option, value, allowed):
    options = {"prompt": "a hat", "style": STYLE, "image": IMAGE, option: value}
    with pytest.raises(BadOption, match=f"^{option}=.*{allowed}") as caught:
        check(**options)
    assert repr(value)[:5] in str(caught.value)


def test_a_list_of_prompts_is_refused():
    with pytest.raises(BadOption, match="prompt"):
        check(prompt=["a", "b"])


@pytest.mark.parametrize(
    ("options", "missing"),
    [({"prompt": "a hat", "alpha": 0.5}, "style"), ({"style": STYLE, "alpha": 0.0}, "prompt")],
)
def test_alpha_without_what_it_blends_is_refused(options, missing):
    with pytest.raises(BadOption, match=rf"alpha=.*{missing} too"):
        check(**options)


def test_strength_without_image_is_refused():
    with pytest.raises(BadOption, match=r"strength=0\.5: give it together with image"):
        check(prompt="a hat", strength=0.5)


def test_seed_and_generator_together_are_refused():
    with pytest.raises(BadOption, match="not both"):
        check(prompt="a hat", seed=1, generator=torch.Generator())


def test_a_generator_an_image_is_wanted():
    generators = [torch.Generator() for _ in range(3)]
    with pytest.raises(BadOption, match="generator='3 generators': give one, or 2"):
        check(prompt="a hat", generator=generators, num_images_per_prompt=2)


def test_numpys_numbers_are_numbers():
    request = check(prompt="a hat", seed=np.int64(3), guidance_scale=np.float32(2))
    assert request.seed == 3


def test_background_without_regions_is_refused():
    with pytest.raises(BadOption, match="background='random': give it together with regions"):
        check(prompt="a hat", background="random")


def test_fixed_background_needs_a_picture():
    with pytest.raises(BadOption, match="background='fixed'"):
        check(prompt="a hat", regions=(LEFT,), background="fixed")


def test_one_region_for_each_person():
    with pytest.raises(BadRegion, match="1 regions for 2 people"):
        check((None, None), prompt="a hat", regions=(LEFT,))
    assert check((None, None), prompt="a hat", regions=(LEFT, RIGHT)).by_region


def test_several_people_have_a_part_each():
    assert check((None, None), prompt="a hat").by_region
    assert check((None, None), style=STYLE).by_region
    assert not check(prompt="a hat").by_region


@pytest.mark.parametrize(
    ("options", "holds"),
    [({"image": IMAGE}, True), ({"background": "fixed", "regions": (LEFT,)}, True), ({}, False)],
)
def test_a_start_and_a_fixed_background_stay_in_place(options, holds):
    assert check(style=STYLE, **options).holds_on is holds


def test_people_are_always_a_list():
    assert list_people(None) == (None,)
    assert list_people("anna.jpg") == ("anna.jpg",)
    assert list_people(["anna.jpg", None]) == ("anna.jpg", None)
    array = np.zeros((2, 2, 3))
    assert list_people(array)[0] is array


def test_an_empty_list_of_people_is_refused():
    with pytest.raises(BadOption, match=r"identity=\[\]"):
        list_people([])
