"""Public adapters: our picture is diffusers' own with the same files loaded."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from facestudio.codec.kl import KLCodec
from facestudio.encoders.stable_diffusion import PictureVector, WordTokens
from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.faces.identity import Identity
from facestudio.guidance.adapter import add_lora
from facestudio.pipeline.adapter_files import build_guidance, lora_of, read_adapter
from facestudio.pipeline.parts import PipelineConfig
from facestudio.pipeline.pipeline import FaceStudioPipeline
from tests.pipeline.sd15_files import (
    TINY,
    face_weights,
    make_base,
    make_vision,
    style_weights,
    write_adapter,
)

STEPS, SCALE, SEED = 3, 4.0, 7
WORDS, AVOIDED = "an ink drawing, smiling", "blurred"


class UnknownEncoder:
    """A recogniser of the face adapter's dimension that never sees a face."""

    name, version, licence, calibration = "unknown", "1", "none", None
    dimension = compare_dim = TINY.identity_dim

    def embed(self, crops):
        raise AssertionError("no test here embeds a photo")


@pytest.fixture
def base() -> StableDiffusionPipeline:
    pipe = make_base(TINY)
    pipe.set_progress_bar_config(disable=True)
    return pipe


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
        unet = copy.deepcopy(base.unet)
        adapters = [read_adapter(files[kind]) for kind in kinds]
        guidance = build_guidance(adapters, unet)
        for adapter in adapters:
            add_lora(unet, lora_of(adapter, unet))
        return FaceStudioPipeline(
            unet=unet,
            codec=KLCodec(base.vae),
            scheduler=base.scheduler,
            guidance=guidance,
            image_towers=PictureVector(make_vision(TINY)) if "style" in kinds else None,
            identity_encoder=UnknownEncoder(),
            detector=seeing(),
            text_towers=WordTokens(base.text_encoder, base.tokenizer),
            config=PipelineConfig("adapted", hide_margin=0),
        )

    return make


@pytest.fixture
def peer(base, files):
    """peer([(kind, scale)], …): what diffusers' own pipeline draws with the same files."""

    def draw(scales: dict[str, float], prompt: str, picture, vector, guidance_scale) -> np.ndarray:
        parts = base.components | {
            "unet": copy.deepcopy(base.unet),
            "image_encoder": make_vision(TINY),
        }
        pipe = StableDiffusionPipeline(**parts, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        names = [str(files[kind].relative_to(files["face"].parent)) for kind in scales]
        root = str(files["face"].parent)
        if scales:
            pipe.load_ip_adapter(root, subfolder="", weight_name=names, image_encoder_folder=None)
            pipe.set_ip_adapter_scale(list(scales.values()))
        embeds = []
        for kind in scales:
            given = vector if kind == "face" else pipe.encode_image(picture, "cpu", 1)[0]
            given = given.reshape(1, 1, -1)
            without = [torch.zeros_like(given)] if guidance_scale > 1 else []
            embeds.append(torch.cat([*without, given]))
        return pipe(
            prompt,
            negative_prompt=AVOIDED,
            num_inference_steps=STEPS,
            guidance_scale=guidance_scale,
            generator=torch.Generator().manual_seed(SEED),
            height=TINY.px,
            width=TINY.px,
            ip_adapter_image_embeds=embeds or None,
            output_type="np",
        ).images[0]

    return draw


def make_person(seed: int) -> Identity:
    vector = np.random.default_rng(seed).standard_normal((1, TINY.identity_dim))
    return Identity.from_photos(vector.astype(np.float32), UnknownEncoder())


def draw(pipe, person, **options):
    options = {"num_inference_steps": STEPS, "guidance_scale": SCALE, "seed": SEED} | options
    given = {"negative_prompt": AVOIDED, "output_type": "np", "watermark": False} | options
    return pipe(person, **given).images[0]


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    error = float(np.mean((one - two) ** 2))
    return 99.0 if error == 0 else -10 * math.log10(error)


def unit(person: Identity) -> torch.Tensor:
    """The face's vector as insightface's normed_embedding gives it."""
    return torch.from_numpy(person.embedding / np.linalg.norm(person.embedding))


CASES = {
    "style": (("style",), {"style": 1.0}, {"alpha": 1.0}, ""),
    "face": (("face",), {"face": 0.7}, {"prompt": WORDS, "identity_scale": 0.7}, WORDS),
    "both": (
        ("style", "face"),
        {"style": 0.5, "face": 1.0},
        {"prompt": WORDS, "alpha": 0.5},
        WORDS,
    ),
    "without cfg": (
        ("style", "face"),
        {"style": 0.5, "face": 1.0},
        {"prompt": WORDS, "alpha": 0.5, "guidance_scale": 1.0},
        WORDS,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_picture_is_diffusers_own(adapt, peer, picture, case):
    kinds, scales, options, prompt = CASES[case]
    person = make_person(1) if "face" in kinds else None
    style = picture(3, TINY.px, TINY.px)
    given = options | ({"style": style} if "style" in kinds else {})
    ours = draw(adapt(*kinds), person, **given)
    vector = None if person is None else unit(person)
    scale = options.get("guidance_scale", SCALE)
    theirs = peer(scales, prompt, style, vector, scale)
    assert psnr(ours, theirs) > 50
    assert psnr(ours, peer({}, prompt, style, vector, scale)) < 30  # without any adapter


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
    assert torch.equal(latents(both, [two, one], prompt=WORDS, regions=sides[::-1]), drawn)
    assert not torch.equal(latents(both, [two, one], **given), drawn)
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
        "facestudio.pipeline.load.load_identity_encoder", lambda _: UnknownEncoder()
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
