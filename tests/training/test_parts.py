"""The thin trainers: codec, towers, prior and identity encoder learn, and export what loads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facestudio.codec.patch import PatchCodec
from facestudio.data.develop import to_pixels
from facestudio.data.shards import PreparedSet
from facestudio.encoders.image_towers import ImageTowerConfig, ImageTowers
from facestudio.encoders.text_towers import TextTowerConfig, TextTowers
from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.faces.embed import NetworkEncoder
from facestudio.faces.encoder_folder import NetworkConfig
from facestudio.prior.prior import EmbeddingPrior
from facestudio.training import codec, encoder, prior, towers
from facestudio.training.loop import LoopSettings
from facestudio.training.sampling import WeightedPicker, pick_pictures

VIT = ImageTowerConfig("vit", 16, output_dim=4, width=8, layers=(1,), heads=2, patch=8)
TEXT = TextTowerConfig(output_dim=4, width=8, layers=1, heads=2, context_length=12)


@pytest.fixture
def loop(tmp_path) -> LoopSettings:
    return LoopSettings(out=tmp_path / "run", steps=3, batch=8, lr=3e-3, warmup=1, log_every=1)


def losses_of(module, settings) -> list[float]:
    told = []
    module.train(settings, lambda step, figures: told.append(figures["loss"]))
    return told


@pytest.fixture
def codec_settings(prepared, loop) -> codec.Settings:
    return codec.Settings(
        (prepared,), loop, channels=6, widths=(8, 8, 8), blocks=1, fit_pictures=64
    )


def test_codec_learns_and_keeps_its_encoder(codec_settings, loop):
    folder = codec.train(codec_settings)
    before = PatchCodec.from_pretrained(folder / "codec")
    longer = replace(
        codec_settings, init=folder / "codec", loop=replace(loop, steps=80, resume=False)
    )
    told = losses_of(codec, longer)
    after = PatchCodec.from_pretrained(folder / "codec")
    assert np.mean(told[-5:]) < 0.9 * np.mean(told[:5])
    assert torch.equal(before.basis, after.basis)


def test_codec_shows_pictures_above_reconstructions(codec_settings):
    task = codec.CodecTask(codec_settings)
    assert task.samples(task.model).shape == (64, 8 * 32, 3)


@pytest.fixture
def tower_folder(prepared, loop):
    return towers.train(towers.Settings((prepared,), loop, (VIT, VIT), (TEXT, TEXT)))


def test_towers_export_what_the_pipeline_loads(tower_folder):
    image, text = ImageTowers.load(tower_folder), TextTowers.load(tower_folder)
    assert image(torch.zeros(1, 3, 32, 32)).shape == (1, 8)
    assert text.encode(text.tokenize(["an ink drawing"])).shape == (1, 8)


def test_towers_start_from_others_and_keep_their_words(prepared, loop, tower_folder):
    settings = towers.Settings((prepared,), loop, (), (), init=tower_folder)
    model = towers.TowersTask(settings).model
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        ours = model.image.eval()(pixels)
        theirs = ImageTowers.load(tower_folder).eval()(pixels)
    torch.testing.assert_close(ours, theirs)
    assert (
        model.text.tokenize(["a hat"]).tolist()
        == TextTowers.load(tower_folder).tokenize(["a hat"]).tolist()
    )


def test_towers_learn_to_tell_captions_apart(prepared, loop):
    told = losses_of(
        towers,
        towers.Settings((prepared,), replace(loop, steps=60), (VIT,), (TEXT,), hidden_faces=0.0),
    )
    assert np.mean(told[-10:]) < 0.8 * np.mean(told[:5])


def test_extra_words_become_whole_words(prepared, loop, tmp_path):
    (tmp_path / "words.txt").write_text("cyberpunk")
    settings = towers.Settings(
        (prepared,), loop, (VIT,), (TEXT,), vocabulary_words=tmp_path / "words.txt"
    )
    assert towers.TowersTask(settings).model.text.explain("cyberpunk").unknown == ()


@pytest.mark.parametrize(
    ("caption", "neutral"),
    [
        ("a smiling woman wearing a hat", "a smiling person wearing a hat"),
        ("an old man, a pencil drawing", "an old person, a pencil drawing"),
        ("a snowman in a womanly coat", "a snowman in a womanly coat"),
    ],
)
def test_neutral_captions_say_person(caption, neutral):
    assert prior.neutral_caption(caption) == neutral


@pytest.mark.parametrize(
    ("caption", "brief"),
    [
        ("an oil painting of a young man with curly hair, smiling", "an oil painting of a man"),
        ("a pencil sketch of a good-looking woman", "a pencil sketch of a woman"),
        ("pop art of an old person", "pop art of a person"),
        ("a man with a beard, a comic", "a man with a beard, a comic"),
        ("a dog of a kind", "a dog of a kind"),
    ],
)
def test_brief_captions_say_the_look_alone(caption, brief):
    assert prior.brief_caption(caption) == brief


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_neutral_captions(prepared, loop, tower_folder, share):
    task = prior.PriorTask(prior.Settings((prepared,), tower_folder, loop, 8, 1, 2, neutral=share))
    words = {name: tuple(vector.tolist()) for name, vector in task.vectors.items()}
    gendered = {words["a photo of man 0"], words["a woman with hat 0"]}
    seen = {tuple(v.tolist()) for v in task.batch(np.random.default_rng(0), 200)["text"]}
    assert bool(seen & gendered) == (share == 0.0)


@pytest.mark.parametrize(("whole", "array"), [(True, "style_whole"), (False, "style")])
def test_the_prior_learns_pictures_whole_or_with_faces_hidden(
    prepared, loop, tower_folder, whole, array
):
    task = prior.PriorTask(prior.Settings((prepared,), tower_folder, loop, 8, 1, 2, whole=whole))
    wanted = PreparedSet([prepared], (array,)).arrays[array]
    assert np.allclose(task.style.numpy(), wanted)


def test_prior_trains_on_captions_and_exports(prepared, loop, tower_folder):
    settings = prior.Settings(
        (prepared,),
        tower_folder,
        replace(loop, out=loop.out / "prior", steps=40),
        width=16,
        layers=1,
        heads=2,
    )
    told = losses_of(prior, settings)
    exported = EmbeddingPrior.from_pretrained(settings.loop.out / "export" / "prior")
    assert exported.sample(torch.zeros(2, 8)).shape == (2, 8)
    assert np.mean(told[-10:]) < np.mean(told[:5])


def test_prior_starts_from_an_earlier_export(prepared, loop, tower_folder):
    loop = replace(loop, out=loop.out / "prior")
    first = prior.Settings((prepared,), tower_folder, loop, 16, 1, 2)
    export = prior.train(first)
    longer = replace(first, init=export, width=64, drop_text=0.5, loop=replace(loop, seed=9))
    model = prior.PriorTask(longer).model.prior
    earlier = EmbeddingPrior.from_pretrained(export / "prior")
    assert model.drop_text == 0.5
    found, wanted = model.state_dict(), earlier.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_prior_of_other_towers_or_of_none_is_refused(prepared, loop, tower_folder, tmp_path):
    settings = prior.Settings((prepared,), tower_folder, loop, 16, 1, 2, init=tmp_path)
    with pytest.raises(MissingWeights, match="prior is missing"):
        prior.PriorTask(settings)
    EmbeddingPrior(8, [4], width=8, layers=1, heads=2).save_pretrained(tmp_path / "prior")
    with pytest.raises(BadModel, match=r"towers of \(8, 4\) numbers, these have \(8, 4, 4\)"):
        prior.PriorTask(settings)


@pytest.fixture
def encoder_settings(prepared, loop) -> encoder.Settings:
    shape = NetworkConfig(widths=(4, 4, 8), depths=(1, 1, 1), pooled_dim=128, grid_dim=2)
    return encoder.Settings((prepared,), "dlib", replace(loop, batch=6), shape)


def test_encoder_learns_from_its_teacher_and_exports_a_calibrated_folder(encoder_settings, loop):
    settings = replace(encoder_settings, loop=replace(loop, steps=40))
    told = losses_of(encoder, settings)
    assert np.mean(told[-5:]) < 0.8 * np.mean(told[:3])
    exported = NetworkEncoder(settings.loop.out / "export")
    vectors = exported.embed(np.zeros((2, 112, 112, 3), np.uint8))
    assert vectors.shape == (2, 128 + 32)
    assert exported.calibration is not None


def test_encoder_remembers_what_the_teacher_said(encoder_settings):
    first = encoder.EncoderTask(encoder_settings).targets
    again = encoder.EncoderTask(replace(encoder_settings, teacher="no such file.onnx")).targets
    assert torch.equal(first, again)


def test_encoder_starts_from_another(encoder_settings):
    folder = encoder.train(replace(encoder_settings, arcface_weight=0.1))
    task = encoder.EncoderTask(replace(encoder_settings, init=folder))
    crops = np.full((1, 112, 112, 3), 90, np.uint8)
    own = task.model.network.eval()(to_pixels(crops))[:, 128:]
    assert np.allclose(own.detach(), NetworkEncoder(folder).embed(crops)[:, 128:], atol=1e-5)


def test_arcface_margin_makes_the_own_person_harder():
    cosines = torch.tensor([[0.8, 0.1], [0.2, 0.7]])
    people = torch.tensor([0, 1])
    plain = encoder.arcface_loss(cosines, people, 0.0, 10.0)
    assert torch.allclose(plain, torch.nn.functional.cross_entropy(10 * cosines, people), atol=1e-5)
    assert encoder.arcface_loss(cosines, people, 0.3, 10.0) > plain


def test_augmented_crops_stay_in_range_and_mirror():
    torch.manual_seed(0)
    crops = torch.rand(32, 3, 28, 28) * 2 - 1
    mirrored = torch.arange(32) % 2 == 0
    changed = encoder.augment(crops, mirrored)
    assert changed.shape == crops.shape
    assert float(changed.abs().max()) <= 1


def test_damaged_pictures_are_replaced_counted_and_named(prepared):
    data = PreparedSet([prepared], ("pictures",))
    _, begin, end = data._spans[0]
    data._bytes[0] = data._bytes[0].copy()
    data._bytes[0][begin:end] = 0
    picker = WeightedPicker(np.arange(len(data)) < 2, ["toy"] * len(data), {})
    with pytest.warns(UserWarning, match="p0_a left out"):
        indices, pictures = pick_pictures(data, picker, np.random.default_rng(0), 6)
    assert indices == [1] * 6
    assert len(pictures) == 6
    assert data.damaged == ["p0_a"]


def test_picker_follows_weights_and_refuses_nothing_left():
    rng = np.random.default_rng(0)
    picker = WeightedPicker(np.array([True, True, False]), ["a", "b", "b"], {"a": 3.0})
    share = np.mean(picker.pick(rng, 4000) == 0)
    assert share == pytest.approx(0.75, abs=0.03)
    with pytest.raises(BadOption, match="no sample is left"):
        WeightedPicker(np.array([False]), ["a"], {})
