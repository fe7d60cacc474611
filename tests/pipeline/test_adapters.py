"""Public adapters: our picture is diffusers' own with the same files loaded."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import StableDiffusionPipeline

from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.pipeline.adapter_files import build_guidance, read_adapter
from facestudio.pipeline.pipeline import FaceStudioPipeline
from tests.pipeline import peers
from tests.pipeline.peers import CASES, SCALE, SEED, WORDS, UnknownEncoder, draw, psnr
from tests.pipeline.sd15_files import (
    TINY,
    face_weights,
    make_base,
    make_vision,
    style_weights,
    write_adapter,
)


@pytest.fixture
def base() -> StableDiffusionPipeline:
    return make_base(TINY)


@pytest.fixture
def files(base, tmp_path):
    """Adapter files by their names, as on the hub."""
    weights = {
        "style": (style_weights(base.unet, TINY), "models/ip-adapter_sd15.safetensors"),
        "face": (face_weights(base.unet, TINY), "ip-adapter-faceid_sd15.bin"),
    }
    return {kind: write_adapter(w, tmp_path / name) for kind, (w, name) in weights.items()}


@pytest.fixture
def adapt(base, files, seeing):
    """adapt("style", "face"): our pipeline with these adapters."""

    def make(*kinds: str) -> FaceStudioPipeline:
        chosen = [files[kind] for kind in kinds]
        unet = copy.deepcopy(base.unet)
        return peers.make_ours(base, unet, make_vision(TINY), chosen, seeing(), TINY)

    return make


def make_person(seed: int):
    return peers.make_person(seed, TINY.identity_dim)


@pytest.mark.parametrize("case", CASES)
def test_the_picture_is_diffusers_own(base, files, adapt, picture, case):
    kinds, scales, options, prompt = CASES[case]
    person = make_person(1) if "face" in kinds else None
    style = picture(3, TINY.px, TINY.px)
    given = options | ({"style": style} if "style" in kinds else {})
    ours = draw(adapt(*kinds), person, **given)
    scale = options.get("guidance_scale", SCALE)
    known = (prompt, style, person, scale, TINY.px)
    theirs = peers.draw_theirs(base, make_vision(TINY), files, scales, *known)
    assert psnr(ours, theirs) > 50
    assert psnr(ours, peers.draw_theirs(base, make_vision(TINY), files, {}, *known)) < 30


@pytest.fixture
def both(adapt) -> FaceStudioPipeline:
    return adapt("style", "face")


def latents(pipe, person, **options):
    given = {"num_inference_steps": 1, "guidance_scale": SCALE, "seed": SEED}
    return pipe(person, output_type="latent", **given | options).images


def test_alpha_goes_from_the_words_to_the_picture(both, picture):
    person, style = make_person(1), picture(3, TINY.px, TINY.px)
    given = {"prompt": WORDS, "style": style}
    words, picture_alone = (latents(both, person, **given, alpha=a) for a in (0.0, 1.0))
    assert torch.equal(words, latents(both, person, prompt=WORDS))
    assert torch.equal(picture_alone, latents(both, person, style=style))
    near = latents(both, person, **given, alpha=0.999)
    assert (near - picture_alone).abs().max() < 0.02 * (words - picture_alone).abs().max()


def test_scales_of_nothing_take_an_adapter_away(both, picture):
    person, style = make_person(1), picture(3, TINY.px, TINY.px)
    without = latents(both, None, prompt=WORDS)
    assert torch.equal(latents(both, person, prompt=WORDS, identity_scale=0), without)
    assert not torch.equal(latents(both, person, prompt=WORDS), without)
    given = {"prompt": WORDS, "style": style, "alpha": 0.5}
    assert torch.equal(latents(both, None, **given, style_scale=0), without)


def test_mixing_goes_from_one_face_to_the_other(both):
    one, two = make_person(1), make_person(2)
    drawn = [latents(both, one.mix(two, share), prompt=WORDS) for share in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(drawn[0], latents(both, one, prompt=WORDS))
    torch.testing.assert_close(drawn[2], latents(both, two, prompt=WORDS))
    assert not torch.allclose(drawn[1], drawn[0])


def test_each_region_follows_its_own_face(both):
    one, two = make_person(1), make_person(2)
    sides = [(0, 0, 0.5, 1), (0.5, 0, 1, 1)]
    given = {"prompt": WORDS, "regions": sides}
    drawn = latents(both, [one, two], **given)
    swapped = latents(both, [two, one], prompt=WORDS, regions=sides[::-1])
    torch.testing.assert_close(swapped, drawn)  # some processors round rows by their place
    assert not torch.allclose(latents(both, [two, one], **given), drawn, atol=1e-3)
    same = latents(both, [one, one], **given)
    torch.testing.assert_close(same, latents(both, one, prompt=WORDS), rtol=1e-4, atol=1e-4)


def test_positions_of_nobody_follow_the_words_alone(both):
    corner = [(0, 0, 0.25, 0.25)]
    nobody = latents(both, [None], prompt=WORDS, regions=corner)
    torch.testing.assert_close(nobody, latents(both, None, prompt=WORDS), rtol=1e-4, atol=1e-4)


def test_a_batch_is_its_pictures_one_by_one(both, picture):
    given = {"prompt": WORDS, "style": picture(3), "alpha": 0.4}
    batch = latents(both, make_person(1), **given, num_images_per_prompt=2)
    for number, one in enumerate(batch):
        alone = latents(both, make_person(1), **given | {"seed": SEED + number})[0]
        torch.testing.assert_close(alone, one, rtol=1e-4, atol=1e-4)


def test_what_has_no_adapter_is_refused(adapt, picture):
    with pytest.raises(MissingWeights, match="takes no style picture"):
        latents(adapt("face"), make_person(1), style=picture(1))
    with pytest.raises(MissingWeights, match="takes no face"):
        latents(adapt("style"), make_person(1), prompt=WORDS)


def test_a_random_background_is_refused(both):
    with pytest.raises(BadOption, match="random"):
        latents(both, [make_person(1)], prompt=WORDS, regions=[(0, 0, 1, 0.5)], background="random")


def test_a_saved_model_draws_the_same(both, tmp_path, picture, seeing, monkeypatch):
    monkeypatch.setattr("facestudio.pipeline.load.save_identity_encoder", lambda *_: None)
    monkeypatch.setattr(
        "facestudio.pipeline.load.load_identity_encoder",
        lambda _: UnknownEncoder(TINY.identity_dim),
    )
    both.save_pretrained(tmp_path / "model")
    again = FaceStudioPipeline.from_pretrained(tmp_path / "model", detector=seeing())
    given = {"prompt": WORDS, "style": picture(3)}
    assert torch.equal(
        latents(again, make_person(1), **given), latents(both, make_person(1), **given)
    )


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("latents", "IP-Adapter-Plus"),
        ("proj.3.weight", "full face"),
        ("perceiver_resampler.proj_in.weight", "FaceID-Plus"),
    ],
)
def test_other_adapters_are_refused_by_name(tmp_path, key, name):
    weights = {"image_proj": {key: torch.zeros(2, 2)}, "ip_adapter": {"a": torch.zeros(1)}}
    with pytest.raises(BadModel, match=f"{name}.*not supported.*use ip-adapter_sd15"):
        read_adapter(write_adapter(weights, tmp_path / "other.bin"))


@pytest.mark.parametrize("name", ["a.bin", "a.safetensors"])
def test_a_damaged_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(BadModel, match="does not load"):
        read_adapter(tmp_path / name)


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "lora.bin")
    with pytest.raises(BadModel, match="is no adapter"):
        read_adapter(tmp_path / "lora.bin")


def test_a_file_that_lacks_a_layer_is_refused(base, tmp_path):
    weights = style_weights(base.unet, TINY)
    del weights["ip_adapter"]["1.to_k_ip.weight"]
    with pytest.raises(BadModel, match=r"(?s)does not fit the base model.*keys\.0"):
        build_guidance([read_adapter(write_adapter(weights, tmp_path / "a.bin"))], base.unet)
