"""The public call: every shape of it, the same again, one of many, and what it refuses."""

import inspect
import warnings
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from facestudio.errors import BadModel, BadOption, BadRegion, EncoderMismatch, NoFace, SeveralFaces
from facestudio.faces.identity import Identity
from facestudio.guidance import RegionAttention
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.pipeline.scene import to_pixels
from facestudio.provenance.content import ContentWarning
from facestudio.provenance.watermark import find_watermark
from tests.pipeline.conftest import assert_alike

LEFT, RIGHT = (0, 0, 0.5, 1), (0.5, 0, 1, 1)


def latents_of(pipe, people, **options):
    options = {"seed": 1, "output_type": "latent"} | options
    return pipe(people, **options).images


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.fixture
def photo(tmp_path, picture):
    path = tmp_path / "anna.png"
    picture(7, 256, 256).save(path)
    return path


def test_every_call_shape_draws_a_picture(pipe, anna, ben, picture, photo, seeing):
    style = picture(4)
    calls = [
        {"identity": anna, "prompt": "an ink drawing, smiling"},
        {"identity": anna, "style": style},
        {"identity": anna, "prompt": "smiling", "style": style, "alpha": 0.5},
        {"identity": anna.mix(ben, 0.3), "style": style},
        {"identity": [anna, ben], "prompt": "a hat", "regions": [LEFT, RIGHT]},
        {"identity": anna, "image": style, "strength": 0.6, "prompt": "a hat"},
        {"identity": None, "prompt": "a hat"},
        {"identity": photo, "prompt": "a hat"},
        {"identity": str(photo), "prompt": "a hat"},
        {"identity": Image.open(photo), "prompt": "a hat"},
        {"identity": np.asarray(Image.open(photo)), "prompt": "a hat"},
    ]
    for call in calls:
        out = pipe(**call)
        assert [image.size for image in out.images] == [(32, 32)]
        assert len(out.seeds) == 1
    pipe.detector = seeing(0.25, 0.75)
    out = pipe([anna, ben], style=style)
    assert len(out.likeness[0]) == 2


def test_a_model_of_portraits_draws_one_for_each_of_several_people(pipe, anna, ben, picture):
    pipe.config = replace(pipe.config, portrait=True)
    for options in ({"style": picture(4)}, {"prompt": "a hat"}):
        out = pipe([anna, ben], **options, seed=1)
        assert out.images[0].size == (64, 32)
        assert out.settings["regions"] == [list(LEFT), list(RIGHT)]
        again = pipe([anna, ben], **options, seed=1, width=64, regions=[LEFT, RIGHT])
        assert_alike(out.images[0], again.images[0])
    assert pipe([anna, ben], prompt="a hat", width=32).images[0].size == (32, 32)


def test_the_same_seed_gives_the_same_picture_and_another_does_not(pipe, anna):
    one, again, other = (latents_of(pipe, anna, prompt="a hat", seed=s) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_without_a_seed_one_is_chosen_and_told(pipe, anna):
    out = pipe(anna, prompt="a hat", output_type="latent")
    close(latents_of(pipe, anna, prompt="a hat", seed=out.seeds[0]), out.images)


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "a hat"},
        {"prompt": "a hat", "style": "picture", "alpha": 0.5, "negative_prompt": "words"},
        {"style": "picture", "image": "picture"},
        {"prompt": "a hat", "regions": [LEFT], "background": "random"},
        {"style": "picture", "regions": [LEFT], "background": "fixed"},
    ],
)
@pytest.mark.parametrize("scheduler", ["EulerAncestralDiscreteScheduler", "DDPMScheduler"])
def test_a_batch_equals_each_alone(pipe, anna, picture, options, scheduler):
    pipe.scheduler = getattr(diffusers, scheduler)(num_train_timesteps=100)
    options = {k: picture(4) if v == "picture" else v for k, v in options.items()}
    out = pipe(anna, num_images_per_prompt=3, seed=5, output_type="latent", **options)
    assert out.seeds == [5, 6, 7]
    for index, seed in enumerate(out.seeds):
        close(latents_of(pipe, anna, seed=seed, **options), out.images[index : index + 1])


def test_generators_do_what_seeds_do(pipe, anna):
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    options = {"prompt": "a hat", "num_images_per_prompt": 2, "output_type": "latent"}
    out = pipe(anna, generator=generators, **options)
    assert out.seeds == [5, 6]
    assert torch.equal(out.images, pipe(anna, seed=5, **options).images)


def test_one_generator_serves_several_pictures(pipe, anna):
    options = {"prompt": "a hat", "num_images_per_prompt": 2, "output_type": "latent"}
    images = pipe(anna, generator=torch.Generator().manual_seed(5), **options).images
    assert not torch.equal(images[0], images[1])


def test_identity_style_words_and_alpha_each_matter(pipe, anna, ben, picture):
    base = {"prompt": "a hat", "style": picture(4), "alpha": 0.5}
    calls = [
        (anna, {}),
        (ben, {}),
        (None, {}),
        (anna, {"prompt": "a woman"}),
        (anna, {"style": picture(5)}),
        (anna, {"alpha": 0.6}),
        (anna, {"identity_scale": 0.5}),
        (anna, {"style_scale": 0.5}),
        (anna, {"guidance_scale": 5.0}),
        (anna, {"negative_prompt": "words"}),
    ]
    results = [latents_of(pipe, who, **(base | options)) for who, options in calls]
    for index, one in enumerate(results):
        assert not any(torch.equal(one, other) for other in results[:index])


def test_identity_scale_0_is_nobody(pipe, anna, picture):
    close(
        latents_of(pipe, anna, style=picture(4), identity_scale=0),
        latents_of(pipe, None, style=picture(4)),
    )


def test_alpha_1_needs_no_prior_and_alpha_0_no_style(pipe, anna, picture):
    one = latents_of(pipe, anna, prompt="a hat", style=picture(4), alpha=1)
    zero = latents_of(pipe, anna, prompt="a hat", style=picture(4), alpha=0)
    assert torch.equal(zero, latents_of(pipe, anna, prompt="a hat"))
    pipe.prior = pipe.text_towers = None
    assert torch.equal(one, latents_of(pipe, anna, style=picture(4)))


def test_a_list_of_one_person_is_that_person(pipe, anna):
    assert torch.equal(
        latents_of(pipe, [anna], prompt="a hat"), latents_of(pipe, anna, prompt="a hat")
    )


def test_one_person_with_the_whole_picture_is_the_plain_path_exactly(pipe, anna, picture):
    plain = latents_of(pipe, anna, style=picture(4))
    assert torch.equal(latents_of(pipe, anna, style=picture(4), regions=[(0, 0, 1, 1)]), plain)


def test_the_order_of_people_with_their_regions_changes_nothing(pipe, anna, ben, picture):
    one = latents_of(pipe, [anna, ben], style=picture(4), regions=[LEFT, RIGHT])
    two = latents_of(pipe, [ben, anna], style=picture(4), regions=[RIGHT, LEFT])
    torch.testing.assert_close(one, two)  # some processors round rows of a product by their place
    swapped = latents_of(pipe, [ben, anna], style=picture(4), regions=[LEFT, RIGHT])
    assert not torch.allclose(one, swapped, atol=1e-2)


def test_a_fixed_background_is_the_picture_as_it_is(pipe, anna, picture):
    latents = latents_of(pipe, anna, style=picture(4), regions=[LEFT], background="fixed")
    with torch.no_grad():
        clean = pipe.codec.encode(to_pixels(picture(4)))
    assert torch.equal(latents[..., 4:], clean[..., 4:])
    assert not torch.equal(latents[..., :4], clean[..., :4])


@pytest.mark.parametrize("background", ["style", "random", "fixed"])
def test_backgrounds_differ(pipe, anna, picture, background):
    options = {"style": picture(4), "regions": [LEFT]}
    latents = latents_of(pipe, anna, background=background, **options)
    others = {"style", "random", "fixed"} - {background}
    assert not any(
        torch.equal(latents, latents_of(pipe, anna, background=o, **options)) for o in others
    )


def test_weak_image_to_image_stays_near_the_image(pipe, anna, picture):
    with torch.no_grad():
        clean = pipe.codec.encode(to_pixels(picture(4)))
    options = {"image": picture(4), "prompt": "a hat", "num_inference_steps": 20}
    weak, strong = (latents_of(pipe, anna, strength=s, **options) for s in (0.05, 1.0))
    assert (weak - clean).square().mean() < (strong - clean).square().mean()


@pytest.mark.parametrize(("height", "width"), [(32, 64), (24, 40), (8, 8)])
def test_sizes_other_than_the_models_own(pipe, anna, height, width):
    (image,) = pipe(anna, prompt="a hat", height=height, width=width).images
    assert image.size == (width, height)


def test_output_types(pipe, anna):
    outs = {
        kind: pipe(anna, prompt="a hat", seed=1, output_type=kind) for kind in ("pil", "np", "pt")
    }
    assert isinstance(outs["pil"].images[0], Image.Image)
    assert outs["np"].images.shape == (1, 32, 32, 3)
    assert outs["pt"].images.shape == (1, 3, 32, 32)
    pil = np.asarray(outs["pil"].images[0]) / 255
    np.testing.assert_allclose(outs["np"].images[0], pil, atol=0.003)
    assert len({str(out.likeness) for out in outs.values()}) == 1


def test_likeness_is_one_number_for_each_person_in_each_picture(pipe, anna, ben, seeing):
    pipe.detector = seeing(0.25)
    out = pipe([anna, ben], prompt="a hat", regions=[LEFT, RIGHT], num_images_per_prompt=2)
    assert [[value is None for value in row] for row in out.likeness] == [[False, True]] * 2
    assert pipe(None, prompt="a hat").likeness == [[None]]
    assert pipe(anna, prompt="a hat", output_type="latent").likeness == [[None]]


def test_the_callback_gets_the_pipeline_and_may_change_latents(pipe, anna):
    calls = []

    def callback(pipeline, step, timestep, tensors):
        calls.append((pipeline, step))
        return {"latents": torch.zeros_like(tensors["latents"])} if step == 2 else None

    latents = latents_of(pipe, anna, prompt="a hat", callback_on_step_end=callback)
    assert calls == [(pipe, 0), (pipe, 1), (pipe, 2)]
    assert not latents.any()


def test_an_error_in_the_callback_ends_the_call(pipe, anna):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe(anna, prompt="a hat", callback_on_step_end=stop)
    assert pipe(anna, prompt="a hat").images


def test_a_call_inside_a_call_changes_nothing(pipe, anna, ben):
    """Nothing of a request is kept on the modules: another may run between two steps."""
    inner = []

    def callback(pipeline, step, timestep, tensors):
        inner.append(latents_of(pipeline, ben, prompt="a woman", seed=9))

    alone = latents_of(pipe, ben, prompt="a woman", seed=9)
    plain = latents_of(pipe, anna, prompt="a hat")
    nested = latents_of(pipe, anna, prompt="a hat", callback_on_step_end=callback)
    assert torch.equal(plain, nested)
    assert all(torch.equal(alone, one) for one in inner)


def test_keys_and_values_are_computed_once_a_picture(pipe, anna):
    calls = []
    attn = pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2
    attn.to_k.register_forward_hook(lambda *_: calls.append(1))
    pipe(anna, prompt="a hat", num_inference_steps=5)
    assert len(calls) == 1


def test_no_gradients_are_kept(pipe, anna):
    assert not latents_of(pipe, anna, prompt="a hat").requires_grad


def test_several_photos_make_one_identity(pipe, photo, picture):
    one = pipe.identity(photo)
    both = pipe.identity(photo, picture(8, 256, 256))
    assert isinstance(one, Identity)
    assert one.encoder == "tiny@1"
    assert both.photos.shape == (2, pipe.guidance.identity_dim)
    np.testing.assert_allclose(both.photos[0], one.photos[0], atol=1e-5)


def test_photos_without_a_face_or_with_several_are_refused_by_name(pipe, photo, seeing):
    pipe.detector = seeing()
    with pytest.raises(NoFace, match=r"anna\.png"):
        pipe.identity(photo)
    pipe.detector = seeing(0.25, 0.75)
    with pytest.raises(SeveralFaces, match=r"anna\.png"):
        pipe(photo, prompt="a hat")
    assert pipe.identity(photo, largest=True)


def test_a_saved_identity_stands_for_a_photo(pipe, anna, tmp_path):
    anna.save(tmp_path / "anna.safetensors")
    close(
        latents_of(pipe, tmp_path / "anna.safetensors", prompt="a hat"),
        latents_of(pipe, anna, prompt="a hat"),
    )


def test_no_photo_at_all_is_refused(pipe):
    with pytest.raises(BadOption, match="no photo"):
        pipe.identity()


def test_an_identity_of_another_encoder_is_refused(pipe, anna):
    other = Identity(anna.embedding, "dlib@v1", anna.compare_dim, anna.photos)
    with pytest.raises(EncoderMismatch, match=r"dlib@v1.*tiny@1"):
        pipe(other, prompt="a hat")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, BadOption, "prompt=None"),
        ({"prompt": "  "}, BadOption, "prompt='  '"),
        ({"prompt": "a hat", "height": 33}, BadOption, "height=33: give a multiple of 8"),
        ({"prompt": "a hat", "num_inference_steps": 101}, BadOption, "from 1 to 100"),
        ({"prompt": "a hat", "regions": [(0, 0, 2, 1)]}, BadRegion, "outside"),
        ({"prompt": "a hat", "regions": []}, BadRegion, "0 regions for 1 people"),
    ],
)
def test_bad_calls_are_refused_before_any_work(pipe, anna, seeing, options, error, text):
    pipe.detector = seeing()
    pipe.detector.detect = pipe.image_towers = pipe.text_towers = None
    with pytest.raises(error, match=text):
        pipe(anna, **options)


def test_the_call_has_diffusers_names():
    names = inspect.signature(FaceStudioPipeline.__call__).parameters
    wanted = ["num_inference_steps", "guidance_scale", "negative_prompt", "generator"]
    wanted += ["num_images_per_prompt", "height", "width", "output_type", "callback_on_step_end"]
    assert set(wanted) <= set(names)


def test_defaults_are_the_models(pipe):
    limits = pipe.limits
    assert (limits.height, limits.width, limits.multiple) == (32, 32, 8)
    assert (limits.num_inference_steps, limits.max_steps) == (3, 100)


def test_attention_by_region_is_installed_once(pipe):
    processors = pipe.unet.attn_processors.values()
    assert all(isinstance(p, RegionAttention) for p in processors)
    assert not any(isinstance(p.inner, RegionAttention) for p in processors)


def test_moving_to_a_dtype_moves_every_network(pipe, anna):
    assert pipe.to(torch.float64) is pipe
    dtypes = {p.dtype for network in pipe.networks().values() for p in network.parameters()}
    assert dtypes == {torch.float64}
    assert pipe.device == torch.device("cpu")
    assert latents_of(pipe, anna, prompt="a hat").dtype == torch.float64


@pytest.mark.parametrize(
    ("part", "change", "text"),
    [
        ("image_towers", {"embed_dim": 9}, "embed_dim is 9 and the guidance's style_dim 8"),
        ("identity_encoder", {"dimension": 7}, "dimension is 7"),
        ("guidance", {"width": 5}, "width 5"),
        ("codec", {"channels": 4}, "the codec has 4"),
    ],
)
def test_parts_that_do_not_fit_are_refused(pipe, part, change, text, monkeypatch):
    names = [
        "unet",
        "codec",
        "scheduler",
        "guidance",
        "image_towers",
        "identity_encoder",
        "detector",
    ]
    parts = {name: getattr(pipe, name) for name in names}
    for name, value in change.items():
        monkeypatch.setattr(parts[part], name, value)
    with pytest.raises(BadModel, match=text):
        FaceStudioPipeline(**parts)


def test_pictures_are_marked_as_generated(pipe, anna):
    """Small ones have no room; those that have are found again, however they are asked for."""
    call = {"prompt": "a hat", "height": 64, "width": 96, "seed": 1}
    (drawn,) = pipe(anna, **call).images
    assert find_watermark(drawn).found
    array = pipe(anna, **call, output_type="np").images[0]
    np.testing.assert_allclose(array * 255, np.asarray(drawn), atol=0.51)


def test_the_mark_can_be_left_out(pipe, anna):
    call = {"prompt": "a hat", "height": 64, "width": 96, "seed": 1}
    out = pipe(anna, **call, watermark=False)
    assert not find_watermark(out.images[0]).found
    assert out.settings["watermark"] is False
    assert out.settings["generated"] is True


def test_each_pictures_mark_is_its_own(pipe, anna):
    call = {"prompt": "a hat", "height": 64, "width": 96}
    both = pipe(anna, **call, seed=1, num_images_per_prompt=2).images
    for number, picture in enumerate(both):
        (alone,) = pipe(anna, **call, seed=1 + number).images
        apart = np.asarray(picture).astype(float) - np.asarray(alone)
        assert np.abs(apart).mean() < 0.5


def test_a_watermark_is_on_or_off(pipe, anna):
    with pytest.raises(BadOption, match="watermark"):
        pipe(anna, prompt="a hat", watermark="yes")


class GivenChecker:
    """Calls the pictures explicit that it is told, in turn."""

    name = "given"

    def __init__(self, *answers: bool) -> None:
        self.answers = iter(answers)

    def is_explicit(self, picture: Image.Image) -> bool:
        return next(self.answers)


def test_explicit_pictures_come_out_grey(pipe, anna):
    pipe.content_checker = GivenChecker(False, True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ContentWarning)
        out = pipe(anna, prompt="a hat", seed=1, num_images_per_prompt=2)
    said = [str(each.message) for each in told if each.category is ContentWarning]
    assert said == ["1 of 2 pictures withheld as explicit by given"]
    assert out.withheld == [False, True]
    shown, hidden = (np.asarray(picture) for picture in out.images)
    assert np.ptp(shown) > 20
    assert np.ptp(hidden) == 0


def test_pictures_that_pass_are_as_without_a_checker(pipe, anna):
    plain = pipe(anna, prompt="a hat", seed=1).images[0]
    pipe.content_checker = GivenChecker(False)
    np.testing.assert_array_equal(pipe(anna, prompt="a hat", seed=1).images[0], plain)
