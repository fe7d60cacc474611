"""Requests drawn together: each gets what it would get alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facestudio.errors import BadOption
from facestudio.pipeline.batch import draw_together, shape_of
from facestudio.pipeline.request import Request, check_request


def make_request(pipe, *people, **options):
    return check_request(Request(people=people, **options), pipe.limits)


def as_array(output):
    return np.stack([np.asarray(image, dtype=int) for image in output.images])


@pytest.fixture
def requests(pipe, anna, ben, picture):
    """Three of one shape that differ in all else."""
    return [
        make_request(pipe, anna, prompt="a man smiling", seed=1),
        make_request(pipe, ben, style=picture(3), seed=5, num_images_per_prompt=2),
        make_request(pipe, None, prompt="a hat", style=picture(4), alpha=0.3, seed=9),
    ]


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_together_equals_each_alone(pipe, requests, scale):
    requests = [replace(request, guidance_scale=scale) for request in requests]
    together = draw_together(pipe, requests)
    for request, output in zip(requests, together, strict=True):
        alone = pipe.run(request)
        assert np.abs(as_array(alone) - as_array(output)).max() <= 1
        assert (output.seeds, output.settings) == (alone.seeds, alone.settings)
        np.testing.assert_allclose(
            np.array(output.likeness, float), np.array(alone.likeness, float), atol=0.05
        )


def test_every_step_is_told_with_the_latents_of_all(pipe, requests):
    seen = []

    def callback(pipe, step, timestep, kept):
        seen.append((step, len(kept["latents"])))

    draw_together(pipe, requests, callback)
    assert seen == [(0, 4), (1, 4), (2, 4)]


def test_what_differs_in_shape_is_refused(pipe, anna, requests):
    wide = make_request(pipe, anna, prompt="a hat", width=64)
    assert shape_of(wide) != shape_of(requests[0])
    with pytest.raises(BadOption, match="2 requests of 2 shapes"):
        draw_together(pipe, [requests[0], wide])


def test_what_holds_on_to_a_picture_goes_alone(pipe, anna, ben, picture):
    sides = ((0, 0, 0.5, 1), (0.5, 0, 1, 1))
    couple = make_request(pipe, anna, ben, prompt="a hat", regions=sides)
    begun = make_request(pipe, anna, image=picture(1), strength=0.5)
    for request in (couple, begun):
        assert shape_of(request) is None
        with pytest.raises(BadOption, match="alone"):
            draw_together(pipe, [request])
