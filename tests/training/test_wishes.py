"""Readers and wishes: what a reader learns, what is wished for, and what is made of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from facestudio.codec.patch import PatchCodec
from facestudio.data.shards import write_json, write_shard
from facestudio.encoders.text_towers import TextTowerConfig, TextTowers
from facestudio.encoders.wordpiece import build_vocabulary, make_tokenizer
from facestudio.errors import BadOption
from facestudio.prior.prior import EmbeddingPrior
from facestudio.training import decoder, reader, unet
from facestudio.training.decoder import tones_of
from facestudio.training.loop import LoopSettings
from facestudio.training.reader import PortraitReader
from facestudio.training.unet_settings import (
    CriticSettings,
    FaceMapSettings,
    GuidanceSettings,
    IdentityLossSettings,
    UNetSettings,
)
from facestudio.training.wishes import WishSettings, glance, weigh_attributes
from tests.training.conftest import CHANNELS, STYLE_DIM, make_sample

STYLES = {"photo": ("photo",), "ink": ("ink", "line")}
ATTRIBUTES = {"hat": ("Wearing_Hat",), "black_hair": ("Black_Hair",), "smiling": ("Smiling",)}


@pytest.fixture
def labelled(tmp_path):
    """A set of eight photos, half of them of smiling people with hats, and a drawing of each."""
    samples = []
    for person in range(8):
        own = ["Wearing_Hat", "Smiling"] if person % 2 else ["Black_Hair"]
        shared = {"person": f"p{person}", "captions": ["a person"], "attributes": own}
        samples.append(make_sample(f"p{person}", person, **shared))
        samples.append(
            make_sample(f"p{person}_ink", 50 + person, kind="drawn", style="ink", **shared)
        )
    folder = tmp_path / "labelled"
    folder.mkdir()
    write_json(folder / "dataset.json", {"format": 1})
    write_shard(folder, "000-00000", samples)
    return folder


@pytest.fixture
def loop(tmp_path) -> LoopSettings:
    return LoopSettings(out=tmp_path / "run", steps=2, batch=6, lr=2e-3, warmup=1, log_every=1)


@pytest.fixture
def reading(labelled, loop) -> reader.Settings:
    return reader.Settings((labelled,), loop, STYLES, ATTRIBUTES, width=8)


@pytest.fixture
def wishing(reading, tmp_path) -> WishSettings:
    """Wishes by pictures and by words, judged by a reader of a step."""
    exported = reader.train(replace(reading, loop=replace(reading.loop, out=tmp_path / "reader")))
    small = {"output_dim": STYLE_DIM // 2, "width": 8, "layers": 1, "heads": 2}
    known = ("a", "photo", "drawing", "of", "person", "with", "hat")
    words = make_tokenizer(build_vocabulary([], known), 12)
    text = TextTowers.from_config((TextTowerConfig(context_length=12, **small),) * 2, words)
    text.save(tmp_path / "towers")
    prior = EmbeddingPrior(text.text_dim, (STYLE_DIM // 2,) * 2, width=8, layers=1, heads=2)
    prior.save_pretrained(tmp_path / "prior")
    return WishSettings(
        reader=exported / "reader",
        prior=tmp_path / "prior",
        towers=tmp_path / "towers",
        media={"ink": ("a drawing",), "photo": ("a photo",)},
        attributes={"hat": ("a {} with a hat",)},
        share=1.0,
        draws=40,
        prior_steps=2,
    )


@pytest.fixture
def settings(labelled, loop, wishing, tmp_path, recogniser_file) -> unet.Settings:
    PatchCodec(channels=CHANNELS, widths=(8, 8, 8), blocks=1, style_dim=STYLE_DIM).save_pretrained(
        tmp_path / "codec"
    )
    return unet.Settings(
        data=(labelled,),
        loop=loop,
        unet=UNetSettings((8, 16), 1, heads=2, norm_num_groups=4),
        guidance=GuidanceSettings(3, 8),
        codec=tmp_path / "codec",
        face_map=FaceMapSettings(3, 8),
        identity_loss=IdentityLossSettings(recogniser_file),
        critic=CriticSettings(0.5, width=8),
        wishes=wishing,
    )


def test_a_reader_learns_styles_and_attributes(reading, rng):
    """In these pictures drawings differ from photos by nothing but their seed: learnt by heart."""
    task = reader.ReaderTask(replace(reading, softened=(0.01, 0.02), grain=0.0))
    batch = task.batch(rng, 24)
    task.model.train()
    steps = torch.optim.Adam(task.model.parameters(), 3e-3)
    figures = []
    for _ in range(80):
        loss, told = task.loss(task.model, batch)
        steps.zero_grad()
        loss.backward()
        steps.step()
        figures.append(told)
    assert figures[-1]["style_right"] > 0.9 > 0.8 > figures[0]["style_right"]
    assert figures[-1]["attributes_right"] > 0.9


def test_every_style_and_attribute_comes_up_and_unknown_ones_are_named(reading, rng):
    batch = reader.ReaderTask(reading).batch(rng, 100)
    assert batch["pixels"].shape == (100, 3, 32, 32)
    assert batch["style"].unique().tolist() == [0, 1]
    assert all(batch["attributes"][:, k].sum() > 20 for k in range(3))
    with pytest.raises(BadOption, match="attribute tie"):
        reader.ReaderTask(replace(reading, attributes={"tie": ("Wearing_Necktie",)}))


def test_a_reader_comes_back_from_its_folder(reading):
    exported = reader.train(reading)
    found = PortraitReader.from_pretrained(exported / "reader")
    assert (found.words_of, found.attributes) == (STYLES, tuple(ATTRIBUTES))
    look, seen = found(torch.zeros(2, 3, 64, 64))
    assert (look.shape, seen.shape) == ((2, 2), (2, 3))


def test_softening_keeps_what_is_flat_and_spreads_what_is_not():
    flat, dot = torch.ones(3, 16, 16), torch.zeros(3, 16, 16)
    dot[:, 8, 8] = 1
    torch.testing.assert_close(reader.soften(flat, 1.2), flat)
    soft = reader.soften(dot, 1.0)
    assert 0.1 < float(soft[0, 8, 8]) < 0.2
    assert float(soft[0].sum()) == pytest.approx(1, abs=1e-4)


def test_wishes_show_pictures_or_speak(settings, rng):
    task = unet.UNetTask(settings)
    batch = task.batch(rng, 200)
    assert batch["style"].shape == batch["shown"].shape == (200, 1, STYLE_DIM)
    spoken = (batch["style"] != batch["shown"]).any(-1)[:, 0]
    assert 70 < int(spoken.sum()) < 130
    hat = batch["wished"][:, 0] == 1
    assert bool((batch["wished"][~spoken] == -1).all())
    assert 30 < int(hat.sum()) < int(spoken.sum())
    assert batch["wished_style"].unique().tolist() == [0, 1]
    assert 70 < int(batch["turn"].sum()) < 130
    everybody = {tuple(face) for face in batch["identity"][:, 0].tolist()}
    assert len(everybody) == 8  # photos alone


def test_real_pictures_of_a_wish_are_in_its_style(settings, rng):
    wishes = unet.UNetTask(settings).wishes
    batch = wishes.batch(rng, 60)
    latents = wishes.data.arrays["latents"]
    drawn = [i for i, r in enumerate(wishes.data.records) if r.get("kind") == "drawn"]
    known = {np.asarray(latents[i], np.float32).tobytes() for i in drawn}
    seen = np.array([each.numpy().tobytes() in known for each in batch["latents"]])
    assert (seen == (batch["wished_style"].numpy() == 1)).all()


def test_what_was_asked_for_counts_and_the_rest_stays_as_in_the_photo():
    wished = torch.tensor([[1.0, -1, -1], [-1, -1, 1], [-1, -1, -1]])
    asked, kept = weigh_attributes(wished, tuple(ATTRIBUTES))
    assert asked.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert kept.tolist() == [[0, 0, 1], [1, 1, 0], [1, 1, 1]]


def test_a_step_starts_from_what_the_one_before_made(settings, rng):
    settings = replace(settings, wishes=replace(settings.wishes, steps=3))
    task = unet.UNetTask(settings)
    assert task.wishes.times.tolist() == [999, 666, 332]
    batch = task.batch(rng, 12)
    noisy, t = task.begin_wish(batch)
    turn = batch["turn"]
    assert turn.unique().tolist() == [0, 1, 2]
    assert torch.equal(t, task.wishes.times[turn])
    assert torch.equal(noisy[turn == 0], batch["noise"][turn == 0])
    for k in (1, 2):
        before, at = task.begin_wish({**batch, "turn": torch.full_like(turn, k - 1)})
        _, clean = task._draw(task.model, before, at, batch)
        wanted = task.scheduler.add_noise(clean, batch["more_noise"][:, k - 1], t)
        torch.testing.assert_close(noisy[turn == k], wanted[turn == k])


def test_judges_pull_the_generator_and_its_critic_learns(settings, rng):
    task = unet.UNetTask(settings)
    loss, figures = task.loss(task.model, task.batch(rng, 6))
    loss.backward()
    assert {"wish_unlike", "wish_styled", "wish_granted", "wish_doubt"} <= figures.keys()
    parts = (task.model.unet, task.model.guidance, task.model.mapper, task.model.critic)
    for part in parts:
        assert any(w.grad is not None and w.grad.abs().sum() > 0 for w in part.parameters())
    assert all(weight.grad is None for weight in task.wishes.reader.parameters())
    assert all(weight.grad is None for weight in task.wishes.codec.parameters())


class Brightness(torch.nn.Module):
    """A reader to whom light pictures are of the second style."""

    attributes = tuple(ATTRIBUTES)

    def forward(self, pixels):
        light = 20 * pixels.mean((1, 2, 3))
        return torch.stack([-light, light], 1), torch.zeros(len(pixels), 3)


def test_a_generator_learns_to_please_its_reader(settings, rng):
    chosen = replace(settings.wishes, likeness_weight=0.0, kept_weight=0.0, style_weight=1.0)
    task = unet.UNetTask(replace(settings, wishes=chosen, critic=CriticSettings(0.0)))
    task.wishes.reader = Brightness()
    batch = task.batch(rng, 12) | {"wished_style": torch.ones(12, dtype=torch.long)}
    steps = torch.optim.Adam(task.model.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss, _ = task.loss(task.model, batch)
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"media": {"oil": ("an oil painting",)}}, "oil"), ({"media": {}}, "media"),
     ({"attributes": {"tie": ("a {} with a tie",)}}, "tie"), ({"towers": None}, "text towers"),
     ({"weights": {"photo": 0.0, "ink": 0.0}}, "style")],
)  # fmt: skip
def test_wishes_that_cannot_be_are_refused(settings, change, message):
    with pytest.raises(BadOption, match=message):
        unet.UNetTask(replace(settings, wishes=replace(settings.wishes, **change)))


def test_wishes_need_a_recogniser(settings):
    with pytest.raises(BadOption, match="recogniser"):
        unet.UNetTask(replace(settings, identity_loss=IdentityLossSettings()))


def test_a_decoder_and_its_critic_learn_from_wishes(
    settings, labelled, loop, recogniser_file, rng, tmp_path
):
    generator = unet.train(settings)
    chosen = decoder.Settings(
        (labelled,), settings.codec, generator, replace(loop, out=tmp_path / "decoder"),
        critic_width=8, tone_weight=0.5, wish_detail_weight=0.1,
        identity=decoder.DecoderIdentitySettings(recogniser_file), wishes=settings.wishes,
    )  # fmt: skip
    task = decoder.DecoderTask(chosen)
    batch = task.batch(rng, 4)
    assert bool((batch["turn"] == settings.wishes.steps - 1).all())
    loss, figures = task.loss(task.model, batch)
    loss.backward()
    assert {"wish_styled", "wish_detail", "wish_doubt"} <= figures.keys()
    assert any(w.grad is not None and w.grad.abs().sum() > 0 for w in task.model.codec.parameters())
    assert any(weight.grad.abs().sum() > 0 for weight in task.model.critic.parameters())
    before = load_file(settings.codec / "diffusion_pytorch_model.safetensors")
    decoder.train(chosen)
    after = load_file(chosen.loop.out / "export/codec/diffusion_pytorch_model.safetensors")
    assert torch.equal(before["basis"], after["basis"])
    assert not torch.equal(before["refine.stem.weight"], after["refine.stem.weight"])


def test_a_reader_sees_pictures_grained():
    grey = torch.zeros(2, 3, 16, 16)
    torch.manual_seed(0)
    assert torch.equal(glance(grey, 0.0), grey)
    assert float(glance(grey, 0.1).std()) == pytest.approx(0.1, rel=0.1)


def test_tones_count_wherever_they_lie():
    black_and_white = torch.tensor([0.0, 1, 0, 1]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    turned = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert torch.equal(tones_of(black_and_white), tones_of(turned))
    grey = torch.full((1, 3, 2, 2), 0.5)
    assert float((tones_of(grey) - tones_of(turned)).abs().mean()) == 0.5
