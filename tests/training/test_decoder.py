"""The decoder for a generator: the critic, what each learns from, and what is exported."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facestudio.codec.patch import PatchCodec
from facestudio.data.develop import to_pixels
from facestudio.data.shards import write_json, write_shard
from facestudio.encoders.looks import LookReader
from facestudio.training import decoder, unet
from facestudio.training.critic import LatentCritic, PatchCritic, hinge, map_distance, trust
from facestudio.training.loop import LoopSettings
from facestudio.training.unet_settings import (
    FaceMapSettings,
    GuidanceSettings,
    UNetSettings,
)
from tests.training.conftest import CHANNELS, STYLE_DIM, make_sample


@pytest.fixture
def loop(tmp_path) -> LoopSettings:
    return LoopSettings(out=tmp_path / "decoder", steps=3, batch=6, lr=3e-3, warmup=1, log_every=1)


@pytest.fixture
def settings(prepared, tmp_path, loop) -> decoder.Settings:
    """For a tiny generator with a face map; the set's pictures are 32 px, its latents 4 x 4."""
    codec = PatchCodec(channels=CHANNELS, widths=(8, 8, 8), blocks=1)
    codec.save_pretrained(tmp_path / "codec")
    generator = unet.train(
        unet.Settings(
            data=(prepared,),
            loop=replace(loop, out=tmp_path / "unet", steps=1),
            unet=UNetSettings((8, 16), 1, heads=2, norm_num_groups=4),
            guidance=GuidanceSettings(3, 8),
            codec=tmp_path / "codec",
            face_map=FaceMapSettings(3, 8),
        )
    )
    return decoder.Settings((prepared,), tmp_path / "codec", generator, loop, critic_width=8)


def test_verdicts_stand_at_the_latents_places():
    critic = PatchCritic(CHANNELS, STYLE_DIM, width=8)
    told = torch.zeros(2, CHANNELS, 8, 4), torch.zeros(2, STYLE_DIM)
    verdict, maps = critic(torch.zeros(2, 3, 64, 32), *told)
    assert verdict.shape == (2, 1, 8, 4)
    assert [m.shape[-1] for m in maps] == [16, 8, 4, 4]


def test_a_judge_gives_gradients_to_the_pixels_alone():
    critic = PatchCritic(CHANNELS, STYLE_DIM, width=8).eval()
    pixels = torch.randn(1, 3, 32, 32, requires_grad=True)
    told = torch.randn(1, CHANNELS, 4, 4), torch.randn(1, STYLE_DIM)
    verdict, _ = critic.judge(pixels, *told)
    verdict.sum().backward()
    assert pixels.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in critic.parameters())
    torch.testing.assert_close(verdict, critic(pixels, *told)[0])
    other = critic(pixels, told[0], -told[1])[0]
    assert not torch.allclose(verdict, other)


def test_a_critic_of_latents_judges_at_three_scales_and_minds_the_style():
    critic = LatentCritic(CHANNELS, STYLE_DIM, width=8).eval()
    latents = torch.randn(2, CHANNELS, 8, 8, requires_grad=True)
    style = torch.randn(2, STYLE_DIM)
    verdict = critic.judge(latents, style)
    assert verdict.shape == (2, 64 + 16 + 4)
    verdict.sum().backward()
    assert latents.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in critic.parameters())
    torch.testing.assert_close(verdict, critic(latents, style))
    assert not torch.allclose(verdict, critic(latents, -style))


def test_hinge_and_map_distance_at_known_points():
    assert float(hinge(torch.zeros(3), torch.zeros(3))) == 2
    assert float(hinge(torch.ones(3), -torch.ones(3))) == 0
    one = [torch.full((1, 2), 2.0)]
    assert float(map_distance(one, one)) == 0
    assert float(map_distance(one, [torch.full((1, 2), 3.0)])) == pytest.approx(0.5, rel=1e-4)


def test_a_critic_counts_as_far_as_it_knows():
    doubts = torch.tensor([2.3, 2.0, 1.75, 1.5, 0.4])
    assert trust(doubts).tolist() == [0, 0, 0.5, 1, 1]


def test_the_critic_of_latents_learns_to_tell():
    torch.manual_seed(0)
    critic = LatentCritic(CHANNELS, STYLE_DIM, width=8)
    steps = torch.optim.Adam(critic.parameters(), 3e-3)
    style = torch.zeros(8, STYLE_DIM)
    doubts = []
    for _ in range(40):
        real, made = (
            torch.randn(8, CHANNELS, 8, 8),
            torch.randn(8, CHANNELS, 1, 1).expand(-1, -1, 8, 8),
        )
        doubt = hinge(critic(real, style), critic(made, style))
        steps.zero_grad()
        doubt.backward()
        steps.step()
        doubts.append(float(doubt.detach()))
    assert doubts[-1] < 0.7 * doubts[0]


def test_the_critic_learns_to_tell():
    torch.manual_seed(0)
    critic = PatchCritic(CHANNELS, STYLE_DIM, width=8)
    style = torch.zeros(4, STYLE_DIM)
    steps = torch.optim.Adam(critic.parameters(), 3e-3)
    doubts = []
    for _ in range(25):
        latents = torch.randn(4, CHANNELS, 4, 4)
        real, made = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32) * 0.2
        doubt = hinge(critic(real, latents, style)[0], critic(made, latents, style)[0])
        steps.zero_grad()
        doubt.backward()
        steps.step()
        doubts.append(float(doubt.detach()))
    assert doubts[-1] < 0.5 * doubts[0]


def test_what_a_critic_sees_is_veiled(settings, rng):
    for noise, most in ((0.0, 0.0), (0.1, 0.12)):
        task = decoder.DecoderTask(replace(settings, critic_noise=noise))
        veil = task.batch(rng, 40)["veil"]
        assert veil.shape == (40, 3, 32, 32)
        strength = veil.flatten(1).std(1)
        assert float(strength.max()) <= most
        assert noise == 0 or float(strength.std()) > 0.02


def test_the_critic_sees_that_faint_detail_is_missing():
    torch.manual_seed(0)
    critic = PatchCritic(CHANNELS, STYLE_DIM)
    style = torch.zeros(8, STYLE_DIM)
    steps = torch.optim.Adam(critic.parameters(), 1e-3)
    for _ in range(50):
        shared = torch.rand(8, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
        grained = shared + 0.06 * torch.randn_like(shared)
        latents = torch.randn(8, CHANNELS, 4, 4)
        doubt = hinge(critic(grained, latents, style)[0], critic(shared, latents, style)[0])
        steps.zero_grad()
        doubt.backward()
        steps.step()
    assert float(doubt.detach()) < 0.5


def test_the_decoder_learns_to_draw(settings, loop):
    told = []
    alone = {"exact": 1.0, "edge_weight": 0.0, "map_weight": 0.0, "critic_weight": 0.0}
    longer = replace(settings, loop=replace(loop, steps=150, lr=1e-2), **alone)
    decoder.train(longer, lambda step, figures: told.append(figures["error"]))
    assert np.mean(told[-10:]) < 0.9 * np.mean(told[:10])


def test_the_critic_learns_alone_before_the_first_step(settings):
    fresh = decoder.DecoderTask(settings)
    taught = decoder.DecoderTask(replace(settings, critic_alone=30))
    doubts = []
    for task in (fresh, taught):
        _, figures = task.loss(task.model, task.batch(np.random.default_rng(9), 12))
        doubts.append(figures["doubt"])
    assert doubts[1] < doubts[0] - 0.05
    before, after = (task.model.codec.state_dict() for task in (fresh, taught))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_codec_that_learns_styles_draws_as_before_at_first():
    torch.manual_seed(0)
    codec = PatchCodec(channels=CHANNELS, widths=(8, 8, 8), blocks=1)
    torch.nn.init.normal_(codec.refine.stages[-2].weight)
    told = decoder.tell_style(codec, STYLE_DIM, 4)
    latents = torch.randn(2, CHANNELS, 4, 4)
    style = torch.randn(2, STYLE_DIM)
    assert torch.equal(told.decode(latents, style), codec.decode(latents))
    assert (told.style_dim, told.config.fine_width) == (STYLE_DIM, 4)


def test_drawings_in_greys_are_told_from_pictures_in_colours():
    grey = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, axis=2)
    assert not decoder.is_coloured(grey)
    assert decoder.is_coloured(grey + np.array([0, 0, 9], np.uint8))


def test_gates_learn_which_styles_have_flat_parts(settings, tmp_path):
    samples = [make_sample(f"photo{n}", n, person=f"p{n}") for n in range(4)]
    samples += [make_sample(f"oil{n}", 20 + n, kind="drawn", style="oil") for n in range(4)]
    folder = tmp_path / "looks"
    folder.mkdir()
    write_json(folder / "dataset.json", {"format": 1})
    write_shard(folder, "000-00000", samples)
    told = {"flat": ("photo", "ink"), "whole_style": 0.0}
    task = decoder.DecoderTask(replace(settings, data=(folder,), **told))
    styles = torch.from_numpy(np.stack([sample.arrays["style"] for sample in samples])).float()
    shares = task.model.codec.flat.share(styles).flatten()
    assert shares[:4].min() > 0.8
    assert shares[4:].max() < 0.2
    again = decoder.tell_style(task.model.codec, STYLE_DIM, settings.fine_width)
    assert torch.equal(again.flat.weight, task.model.codec.flat.weight)


def test_gates_learn_styles_as_a_look_reader_pulls_them(settings, tmp_path):
    torch.manual_seed(0)
    reader = LookReader((("photo", ("photo",)), ("paint", ("oil",))), STYLE_DIM)
    reader.means.copy_(torch.randn(2, STYLE_DIM))
    reader.save_pretrained(tmp_path / "reader")
    task = decoder.DecoderTask(settings)
    style = torch.randn(3, STYLE_DIM)
    assert task._ways_to_give(style, [0, 1, 2])[0] is style
    task.settings = replace(settings, look_reader=tmp_path / "reader")
    plain, settled = task._ways_to_give(style, [0, 1, 2])
    shown = to_pixels([task.generator.data.picture(index) for index in range(3)])
    torch.testing.assert_close(settled, reader.eval().settle(style, shown))
    assert (plain - settled).abs().max() > 0.1
    decoder.DecoderTask(replace(task.settings, flat=("photo",)))


def test_a_record_names_one_look_or_none():
    looks = [
        {"person": "p"},
        {"kind": "photo", "style": "sketch 1"},
        {"kind": "drawn", "style": "oil"},
        {"kind": "drawn"},
        {"style": ["Painting", "Oil"]},
        {"has_face": False},
    ]
    found = [decoder.look_of(record) for record in looks]
    assert found == ["photo", "photo", "oil", None, None, None]


def test_the_amount_of_detail_is_that_of_bends_wherever_they_lie():
    flat = torch.zeros(1, 3, 32, 32)
    checks = flat.clone()
    checks[..., ::2, ::2] = 1
    moved = checks.roll(1, -1)
    amounts = [decoder.amount_of_detail(each) for each in (flat, checks, moved)]
    assert float(amounts[0].max()) == pytest.approx(decoder.FAINT)
    assert amounts[1].min() > 0.5
    torch.testing.assert_close(amounts[1], amounts[2])


def test_pictures_are_those_of_the_latents_mirrored_with_them(settings, rng):
    task = decoder.DecoderTask(settings)
    batch = task.batch(rng, 12)
    for pixels, index, mirrored in zip(
        batch["pixels"], batch["index"], batch["mirrored"], strict=True
    ):
        picture = task.generator.data.picture(int(index))
        shown = picture[:, ::-1] if mirrored else picture
        assert np.allclose((pixels.permute(1, 2, 0) + 1) * 127.5, shown, atol=1e-3)


@pytest.mark.parametrize("exact", [0.0, 1.0])
def test_latents_are_softened_by_the_generator_or_the_encoders_own(settings, rng, exact):
    task = decoder.DecoderTask(replace(settings, exact=exact))
    batch = task.batch(rng, 6)
    assert torch.equal(task._soften(batch), batch["latents"]) == bool(exact)
    low, high = settings.times
    assert bool(((batch["t"] >= low) & (batch["t"] < high)).all())


def test_the_export_keeps_the_encoder_and_the_generator_stays(settings, recogniser_file):
    known = decoder.DecoderIdentitySettings(recogniser_file, 0.5)
    folder = decoder.train(replace(settings, identity=known))
    before = PatchCodec.from_pretrained(settings.codec)
    after = PatchCodec.from_pretrained(folder / "codec")
    assert torch.equal(before.basis, after.basis)
    assert not torch.equal(before.refine.stem.weight, after.refine.stem.weight)
    task = decoder.DecoderTask(replace(settings, identity=known))
    _, figures = task.loss(task.model, task.batch(np.random.default_rng(0), 6))
    assert 0 <= figures["unlike"] <= 2
    assert not any(p.requires_grad for p in task.generator.model.parameters())


def test_samples_stand_below_their_pictures(settings):
    task = decoder.DecoderTask(settings)
    assert task.samples(task.model).shape == (64, 8 * 32, 3)
