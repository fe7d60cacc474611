"""The U-Net's trainer: who is paired with whom, what is dropped, canvases, learning, resume."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from facestudio.codec.patch import PatchCodec
from facestudio.errors import BadOption
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.settings import from_dict, load_settings
from facestudio.training.critic import hinge
from facestudio.training.loop import LoopSettings, Trainer
from facestudio.training.pairs import SamplePool, compose
from facestudio.training.unet import Settings, UNetTask, train
from facestudio.training.unet_settings import (
    CriticSettings,
    FaceMapSettings,
    GuidanceSettings,
    IdentityLossSettings,
    NoiseSettings,
    UNetSettings,
)
from tests.training.conftest import CELLS, CHANNELS, IDENTITY_DIM, STYLE_DIM


@pytest.fixture
def settings(prepared, tmp_path) -> Settings:
    return Settings(
        data=(prepared,),
        loop=LoopSettings(out=tmp_path / "run", steps=4, batch=6, lr=2e-3, warmup=1, save_every=2),
        unet=UNetSettings((8, 16), 1, heads=2, norm_num_groups=4),
        guidance=GuidanceSettings(3, 8),
    )


@pytest.fixture
def task(settings) -> UNetTask:
    return UNetTask(settings)


def test_batch_has_the_shapes_of_the_set(task, rng):
    batch = UNetTask(replace(task.settings, compose=0.0)).batch(rng, 5)
    assert batch["latents"].shape == (5, CHANNELS, CELLS, CELLS)
    assert batch["style"].shape == (5, 1, STYLE_DIM)
    assert batch["identity"].shape == (5, 1, IDENTITY_DIM)


def test_identity_is_a_photo_of_the_same_person(task, rng):
    records = task.data.records
    for target, face in task.pool.pick(rng, 200, 0.5):
        if records[target]["source"] == "scenes":
            assert face == target
            continue
        assert records[face]["person"] == records[target]["person"]
        assert records[face].get("kind") != "drawn"


@pytest.mark.parametrize(("same_photo", "wanted"), [(1.0, 1.0), (0.0, 0.0)])
def test_same_photo_says_how_often_it_is_the_very_photo(task, rng, same_photo, wanted):
    pairs = task.pool.pick(rng, 300, same_photo, only_photos=True)
    assert np.mean([target == face for target, face in pairs]) == wanted


def test_held_out_people_are_never_drawn(task, rng):
    people = {task.data.records[i].get("person") for i, _ in task.pool.pick(rng, 500, 0.5)}
    assert people == {"p0", "p1", "p2", None}


def test_source_weights_change_how_often(settings, rng):
    task = UNetTask(replace(settings, source_weights={"scenes": 0.0}))
    sources = {task.data.records[i]["source"] for i, _ in task.pool.pick(rng, 200, 0.5)}
    assert sources == {"toy"}


def test_unknown_source_is_refused(settings):
    with pytest.raises(BadOption, match="source_weights names laion"):
        UNetTask(replace(settings, source_weights={"laion": 2.0}))


def test_style_and_face_are_dropped_each_on_its_own(task, rng):
    told = {"style": torch.ones(4000, 2), "identity": torch.ones(4000, 2)}
    told = task._drop(told | {"faces": torch.ones(4000, 1, 2, 2)}, rng, people=1)
    style, no_map = told["style"], ~told["faces"].flatten(1).any(1)
    no_style, no_face = style.sum(1) == 0, told["identity"].sum(1) == 0
    assert bool(no_map[no_face].all())
    assert float(no_map.float().mean()) == pytest.approx(0.19, abs=0.02)
    assert float(no_style.float().mean()) == pytest.approx(0.64, abs=0.03)
    assert float(no_face.float().mean()) == pytest.approx(0.10, abs=0.02)
    assert float((no_style & no_face).float().mean()) == pytest.approx(0.064, abs=0.02)
    assert set(style.unique().tolist()) == {0.0, 1.0}


def test_canvas_puts_people_side_by_side_each_under_a_mask(rng):
    latents = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    style, identity = torch.ones(4, 3), torch.arange(4.0).view(4, 1) + 1
    told = {"latents": latents, "style": style, "identity": identity, "faces": 10 + latents}
    batch = compose(told, people=2)
    assert batch["faces"][1, 0, 0].tolist() == [12, 12, 13, 13]
    assert batch["latents"].shape == (2, 1, 2, 4)
    assert batch["latents"][1, 0, 0].tolist() == [2, 2, 3, 3]
    assert batch["masks"][:, 0].tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    assert batch["identity"][:, :, 0].tolist() == [[1, 2, 0], [3, 4, 0]]
    assert batch["style"].shape == (2, 3, 3)


def test_composed_batches_train(settings, rng):
    task = UNetTask(replace(settings, compose=1.0))
    batch = task.batch(rng, 6)
    assert batch["masks"].shape[0] in (2, 3)
    loss, _ = task.loss(task.model, batch)
    loss.backward()
    assert all(p.grad is not None for p in task.model.guidance.parameters())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_some_styles_are_of_the_whole_picture(settings, rng, share):
    task = UNetTask(replace(settings, compose=0.0, drop_style=0.0, whole_style=share))
    batch = task.batch(rng, 200)
    arrays = UNetTask(replace(settings, whole_style=1.0)).data.arrays
    whole = arrays["style_whole"][batch["index"]]
    hidden = arrays["style"][batch["index"]]
    styles = batch["style"][:, 0].numpy()
    is_whole = np.isclose(styles, whole).all(1)
    assert (is_whole ^ np.isclose(styles, hidden).all(1)).all()
    assert is_whole.mean() == pytest.approx(share, abs=0.12)


def test_a_batch_says_which_pictures_it_shows(settings, rng):
    task = UNetTask(replace(settings, compose=0.0))
    batch = task.batch(rng, 40)
    for latents, index, mirrored in zip(
        batch["latents"], batch["index"], batch["mirrored"], strict=True
    ):
        name = "latents_flipped" if mirrored else "latents"
        assert np.allclose(latents, task.data.arrays[name][int(index)])


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon", "sample"])
def test_target_is_what_the_scheduler_expects(settings, kind):
    task = UNetTask(replace(settings, noise=NoiseSettings(prediction_type=kind)))
    latents, noise = torch.randn(2, CHANNELS, CELLS, CELLS), torch.randn(2, CHANNELS, CELLS, CELLS)
    t = torch.tensor([10, 700])
    noisy = task.scheduler.add_noise(latents, noise, t)
    alpha = task.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    target = task._target(latents, noise, t)
    rebuilt = {
        "v_prediction": alpha.sqrt() * noisy - (1 - alpha).sqrt() * target,
        "epsilon": (noisy - (1 - alpha).sqrt() * target) / alpha.sqrt(),
        "sample": target,
    }[kind]
    assert torch.allclose(rebuilt, latents, atol=1e-3)


def test_overfits_one_batch(settings, rng):
    task = UNetTask(replace(settings, compose=0.0))
    batch = task.batch(rng, 6)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        torch.manual_seed(step % 4)
        loss, _ = task.loss(task.model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-8:]) < 0.6 * np.mean(losses[:8])


def test_killed_and_resumed_run_equals_a_whole_one(settings):
    train(settings)
    cut = replace(settings, loop=replace(settings.loop, out=settings.loop.out.with_name("cut")))
    train(
        replace(cut, loop=replace(cut.loop, steps=2, decay=0.15))
    )  # its rates are the whole one's
    train(cut)
    one, two = (
        UNet2DConditionModel.from_pretrained(s.loop.out / "export" / "unet").state_dict()
        for s in (settings, cut)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_export_starts_another_run(settings):
    folder = train(settings)
    task = UNetTask(replace(settings, init=folder))
    own = HybridGuidance.from_pretrained(folder / "guidance").state_dict()
    assert torch.equal(task.model.guidance.state_dict()["join.weight"], own["join.weight"])


def test_samples_are_a_row_of_pictures(settings, tmp_path):
    PatchCodec(channels=CHANNELS, widths=(4, 4, 4), blocks=1).save_pretrained(tmp_path / "codec")
    task = UNetTask(replace(settings, codec=tmp_path / "codec"))
    sheet = task.samples(task.model.eval())
    assert sheet.shape == (8 * CELLS, 2 * 8 * CELLS, 3)  # the two held-out photos
    assert sheet.dtype == np.uint8


def test_unknown_key_is_refused_and_the_nearest_named(tmp_path):
    path = tmp_path / "unet.toml"
    path.write_text('data = ["set"]\ndrop_stlye = 0.5\n[loop]\nout = "run"\n')
    with pytest.raises(BadOption, match="drop_style"):
        load_settings(Settings, path)


def test_defaults_are_the_papers(tmp_path):
    plain = from_dict(Settings, {"data": ["set"], "loop": {"out": "run"}})
    assert (plain.drop_style, plain.drop_face) == (0.64, 0.1)


def test_trainer_logs_finite_losses(settings):
    told = []
    trainer = Trainer(UNetTask(settings), replace(settings.loop, log_every=1), {})
    trainer.train(lambda step, figures: told.append(figures["loss"]))
    assert len(told) == 4
    assert np.isfinite(told).all()


def test_a_run_that_goes_on_is_not_fitted_again(mapped, monkeypatch):
    train(replace(mapped, loop=replace(mapped.loop, steps=2)))
    monkeypatch.setattr("facestudio.training.unet.set_first_guess", None)
    assert not UNetTask(mapped).model.unet.first_guess.weight.any()
    with pytest.raises(TypeError):
        UNetTask(replace(mapped, loop=replace(mapped.loop, resume=False)))


@pytest.fixture
def mapped(settings, tmp_path) -> Settings:
    """The same with a face map."""
    codec = PatchCodec(channels=CHANNELS, widths=(4, 4, 4), blocks=1)
    codec.save_pretrained(tmp_path / "codec")
    return replace(settings, codec=tmp_path / "codec", face_map=FaceMapSettings(3, 8))


def test_face_map_needs_the_codec(settings):
    with pytest.raises(BadOption, match="codec"):
        UNetTask(replace(settings, face_map=FaceMapSettings(3)))


def test_faces_are_the_latents_of_the_photo_that_gives_the_identity(mapped, rng):
    task = UNetTask(
        replace(mapped, compose=0.0, drop_face=0.0, face_map=FaceMapSettings(3, 8, 0.0))
    )
    batch = task.batch(rng, 6)
    arrays = task.data.arrays
    both = np.concatenate([arrays["latents"], arrays["latents_flipped"]])
    twice = np.concatenate([arrays["identity"], arrays["identity"]])
    for face, identity in zip(batch["faces"].numpy(), batch["identity"].numpy(), strict=True):
        if identity.any():
            index = int(np.abs(both - face).reshape(len(both), -1).sum(1).argmin())
            np.testing.assert_allclose(face, both[index], atol=1e-2)
            np.testing.assert_allclose(identity[0], twice[index], atol=1e-2)


def test_drawing_takes_the_photo_it_was_drawn_from(mapped, rng):
    task = UNetTask(mapped)
    records = task.data.records
    drawings = [i for i, r in enumerate(records) if r["key"] == "p0_a_ink"]
    record = records[drawings[0]] | {"style": "ink"}
    records[drawings[0]] = record
    pool = SamplePool(task.data, ("test",), {})
    assert records[pool._face(drawings[0], rng, 1.0)]["key"] == "p0_a"
    assert records[pool._face(drawings[0], rng, 0.0)]["key"] == "p0_b"


def test_only_portraits_in_layout_give_a_map(mapped, rng):
    task = UNetTask(mapped)
    seen = np.array([record["has_face"] for record in task.data.records])
    assert (task.pool.in_layout == seen).all()
    task.data.arrays["eyes"][:] += 20
    moved = SamplePool(task.data, ("test",), {})
    assert not moved.in_layout.any()


@pytest.mark.parametrize("compose_share", [0.0, 1.0])
def test_the_map_learns(mapped, rng, compose_share):
    task = UNetTask(replace(mapped, compose=compose_share))
    torch.nn.init.normal_(task.model.unet.conv_out.weight)
    loss, _ = task.loss(task.model, task.batch(rng, 6))
    loss.backward()
    assert float(task.model.mapper.first.weight.grad.abs().sum()) > 0
    assert task.model.mapper.project.weight.grad is None


def test_a_map_is_added_without_changing_the_unet(settings, mapped, rng):
    plain = train(settings)
    before = UNetTask(replace(settings, init=plain, compose=0.0))
    after = UNetTask(replace(mapped, init=plain, compose=0.0))
    batch = after.batch(rng, 4)
    told = (batch["style"], batch["identity"], None)
    noisy, t = torch.randn_like(batch["latents"]), torch.tensor([5, 300, 700, 999])
    torch.nn.init.zeros_(after.model.unet.first_guess.weight)
    with torch.no_grad():
        one = before.model(noisy, t, *told, None)
        two = after.model(noisy, t, *told, batch["faces"])
    torch.testing.assert_close(one, two)


def test_the_first_guess_lowers_the_loss_before_any_step(mapped, rng):
    task = UNetTask(replace(mapped, compose=0.0, drop_face=0.0, same_photo=1.0))
    assert task.model.unet.first_guess.weight.abs().sum() > 0
    batch = task.batch(rng, 60)
    batch["t"] = torch.full_like(batch["t"], 999)
    with torch.no_grad():
        fitted = task.loss(task.model, batch)[0]
        torch.nn.init.zeros_(task.model.unet.first_guess.weight)
        without = task.loss(task.model, batch)[0]
    assert fitted < without


def test_export_of_a_mapped_generator_starts_another_run(mapped, rng):
    folder = train(mapped)
    again = UNetTask(replace(mapped, init=folder))
    first = UNetTask(mapped).model.mapper
    assert again.model.mapper.features == 3
    assert torch.equal(again.model.mapper.project.weight, first.project.weight)


def test_identity_loss_is_added_at_low_noise_only(mapped, rng, recogniser_file):
    chosen = IdentityLossSettings(recogniser_file, weight=1.0, below=1000)
    task = UNetTask(replace(mapped, compose=0.0, drop_face=0.0, identity_loss=chosen))
    torch.nn.init.normal_(task.model.unet.conv_out.weight)
    batch = task.batch(rng, 6)
    loss, figures = task.loss(task.model, batch)
    assert loss.item() > figures["rebuilt"]
    assert 0 < figures["unlike"] < 2
    never = replace(task.settings, identity_loss=replace(chosen, below=0))
    assert "unlike" not in UNetTask(never).loss(task.model, batch)[1]


@pytest.fixture
def criticised(mapped) -> Settings:
    return replace(mapped, critic=CriticSettings(weight=0.5, width=8))


@pytest.mark.parametrize("compose", [0.0, 1.0])
def test_a_critic_pulls_as_hard_as_it_is_told(criticised, rng, compose, monkeypatch):
    monkeypatch.setattr("facestudio.training.unet.trust", lambda doubt: 0.25)
    task = UNetTask(replace(criticised, compose=compose))
    batch = task.batch(rng, 6)
    loss, figures = task.loss(task.model, batch)
    assert figures["doubt"] == pytest.approx(2, abs=1)
    assert batch["veil"].shape == batch["latents"].shape
    loss.backward()
    assert all(weight.grad is not None for weight in task.model.critic.parameters())
    predicted, noisy, _ = task.predict(task.model, batch)
    predicted = predicted.detach().requires_grad_()
    alpha = task.scheduler.alphas_cumprod[batch["t"]].view(-1, 1, 1, 1)
    direction = torch.ones_like(predicted) / predicted.numel() ** 0.5

    def pull(judged) -> float:
        clean = task.clean(predicted, noisy, alpha)
        given = (clean, predicted, 3.0 * (predicted * direction).sum(), judged)
        loss, _ = task._critic_loss(task.model.critic, *given)
        return float(torch.autograd.grad(loss, predicted)[0].norm())

    assert pull(batch) == pytest.approx(0.5 * 3.0, rel=1e-3)
    wish = batch | {"wished": torch.zeros(len(predicted), 1)}
    assert pull(wish) == pytest.approx(0.25 * 0.5 * 3.0, rel=1e-3)


def test_a_fresh_critic_learns_alone_before_the_first_step(criticised):
    first = train(criticised)
    taught = replace(criticised.critic, alone=30)
    go_on = replace(criticised, init=first, critic=taught, loop=replace(criticised.loop, steps=8))
    fresh = UNetTask(
        replace(go_on, critic=criticised.critic, loop=replace(go_on.loop, resume=False))
    )
    task = UNetTask(replace(go_on, loop=replace(go_on.loop, resume=False)))
    batch = task.rebuilding_batch(np.random.default_rng(9), 24)
    with torch.no_grad():
        made, real, style = task.portraits_of(task.made_of(batch), batch)
        critics = (fresh.model.critic, task.model.critic)
        doubts = [float(hinge(each(real, style), each(made, style))) for each in critics]
    assert doubts[1] < doubts[0] - 0.05
    for a, b in zip(fresh.model.unet.parameters(), task.model.unet.parameters(), strict=True):
        assert torch.equal(a, b)
    resumed = UNetTask(go_on)  # what a run learned is in its checkpoints
    for a, b in zip(
        fresh.model.critic.parameters(), resumed.model.critic.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_a_critic_learns_at_its_own_pace(criticised):
    faster = replace(criticised, critic=replace(criticised.critic, pace=4.0))
    trainer = Trainer(UNetTask(faster), faster.loop, {})
    trainer.advance()
    rates = {group["lr"]: len(group["params"]) for group in trainer.optimizer.param_groups}
    n_critic = len(list(trainer.task.model.critic.parameters()))
    assert rates[max(rates)] == n_critic
    assert max(rates) == pytest.approx(4 * min(rates))


def test_a_critic_is_trained_with_the_generator_and_not_exported(criticised):
    fresh = UNetTask(criticised)
    trained = Trainer(UNetTask(criticised), criticised.loop, {})
    trained.train()
    for before, after in zip(
        fresh.model.critic.parameters(), trained.plain_model.critic.parameters(), strict=True
    ):
        assert not torch.equal(before, after)
    exported = sorted(each.name for each in (criticised.loop.out / "export").iterdir())
    assert exported == ["face_map", "guidance", "scheduler", "unet"]


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon", "sample"])
def test_the_clean_latents_come_out_of_a_perfect_prediction(settings, kind):
    task = UNetTask(replace(settings, noise=NoiseSettings(prediction_type=kind)))
    latents, noise = torch.randn(2, CHANNELS, CELLS, CELLS), torch.randn(2, CHANNELS, CELLS, CELLS)
    t = torch.tensor([10, 400])
    noisy = task.scheduler.add_noise(latents, noise, t)
    alpha = task.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    clean = task.clean(task._target(latents, noise, t), noisy, alpha)
    torch.testing.assert_close(clean, latents, atol=1e-3, rtol=1e-3)
