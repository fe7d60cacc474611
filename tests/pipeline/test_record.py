"""Settings: JSON, nobody's face in them, and enough to make the picture again."""

import json

import numpy as np
import pytest
import torch

import facestudio

KINDS = (
    "prompt",
    "alpha",
    "guidance_scale",
    "num_inference_steps",
    "height",
    "width",
    "background",
)
LEFT, RIGHT = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]


def again(pipe, people, settings, **pictures):
    """The call that settings describe, with the pictures and people they name."""
    names = (*KINDS, "identity_scale", "style_scale", "negative_prompt", "strength", "seed")
    options = {name: settings[name] for name in (*names, "regions", "num_images_per_prompt")}
    return pipe(people, **options, **pictures)


def test_settings_are_json_and_name_everything(pipe, anna, picture, tmp_path):
    picture(4).save(tmp_path / "poster.png")
    out = pipe(anna, prompt="a hat", style=tmp_path / "poster.png", seed=np.int64(5))
    settings = json.loads(json.dumps(out.settings))
    assert settings == out.settings
    assert settings["seed"] == 5
    assert settings["style"]["file"] == str(tmp_path / "poster.png")
    assert settings["identity"][0]["encoder"] == "tiny@1"
    assert settings["model"] == "tiny"
    assert settings["scheduler"] == "EulerAncestralDiscreteScheduler"
    assert settings["facestudio"] == facestudio.__version__


def test_settings_hold_no_embedding(pipe, anna):
    text = json.dumps(pipe(anna, prompt="a hat").settings)
    assert str(float(anna.embedding[0]))[:8] not in text


def test_settings_make_the_same_picture_again(pipe, anna, picture):
    out = pipe(anna, prompt="a hat", style=picture(4), num_images_per_prompt=2)
    two = again(pipe, anna, out.settings, style=picture(4))
    for one, other in zip(out.images, two.images, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("kind", ["found", "boxes", "masks"])
def test_settings_keep_where_people_are(pipe, anna, ben, picture, seeing, kind):
    masks = np.zeros((2, 32, 32), bool)
    masks[0, :, :15], masks[1, 8:, 15:] = True, True
    regions = {"found": None, "boxes": [LEFT, RIGHT], "masks": list(masks)}[kind]
    pipe.detector = seeing(0.25, 0.75)
    out = pipe([anna, ben], style=picture(4), regions=regions, seed=3)
    settings = json.loads(json.dumps(out.settings))
    assert np.ndim(settings["regions"]) == (3 if kind == "masks" else 2)
    two = again(pipe, [anna, ben], settings, style=picture(4))
    assert two.settings == out.settings
    np.testing.assert_array_equal(np.asarray(two.images[0]), np.asarray(out.images[0]))


def test_a_generators_noise_has_no_seed_to_record(pipe, anna):
    out = pipe(anna, prompt="a hat", generator=torch.Generator().manual_seed(4))
    assert out.settings["seed"] is None
    assert out.seeds == [4]
