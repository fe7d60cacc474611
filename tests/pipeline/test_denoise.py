"""The loop: where a run starts, what it holds on to, and that every scheduler fits."""

import diffusers
import pytest
import torch

from facestudio.errors import OutOfMemory
from facestudio.guidance import GuidanceContext, install_region_attention
from facestudio.pipeline.denoise import (
    Hold,
    denoise,
    draw_noise,
    plan_steps,
    predict,
    saying_what_would_fit,
    shift_times,
    start_run,
)

SCHEDULERS = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
]
SHAPE = (6, 8, 8)

# diffusers multiplies numpy and torch in two of them
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")


@pytest.fixture
def unet(unet):
    install_region_attention(unet)
    return unet


def make_scheduler(name="EulerAncestralDiscreteScheduler", **config):
    return getattr(diffusers, name)(num_train_timesteps=100, **config)


def seeds(*numbers):
    return [torch.Generator().manual_seed(number) for number in numbers]


def make_context(batch, seed=0):
    random = torch.Generator().manual_seed(seed)
    return GuidanceContext(torch.randn(batch, 1, 3, 16, generator=random))


def draw(generators):
    return draw_noise(SHAPE, generators, torch.zeros(1))


@torch.no_grad()
def run(unet, generators, *, scheduler=None, context=None, clean=None, strength=None, **options):
    scheduler = scheduler or make_scheduler()
    noise = draw(generators)
    start = start_run(scheduler, 4, noise, clean, strength)
    context = context or make_context(len(noise))
    return denoise(unet, start, context, 2.0, generators, **options)


@pytest.mark.parametrize(
    ("steps", "strength", "planned", "taken"),
    [
        (25, None, 25, 25),
        (25, 0.6, 25, 15),
        (25, 0.01, 25, 1),
        (2, 0.3, 4, 1),
        (2, 0.5, 2, 1),
        (2, 0.8, 3, 2),
        (2, 1.0, 2, 2),
        (4, 0.0, 4, 1),
    ],
)
def test_few_steps_start_from_the_noise_that_strength_means(steps, strength, planned, taken):
    assert plan_steps(steps, strength) == (planned, taken)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_draws_and_is_left_as_it_was(unet, name):
    scheduler = make_scheduler(name)
    before = str(vars(scheduler))
    latents = run(unet, seeds(1, 2), scheduler=scheduler)
    assert latents.shape == (2, *SHAPE)
    assert latents.isfinite().all()
    assert str(vars(scheduler)) == before


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_starts_from_a_picture(unet, name):
    clean = torch.ones(1, *SHAPE)
    latents = run(unet, seeds(1, 2), scheduler=make_scheduler(name), clean=clean, strength=0.5)
    assert latents.isfinite().all()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_batch_equals_each_alone(unet, name):
    context = make_context(2)
    both = run(unet, seeds(7, 8), scheduler=make_scheduler(name), context=context)
    for index, seed in enumerate((7, 8)):
        one = GuidanceContext(context.tokens[index : index + 1])
        alone = run(unet, seeds(seed), scheduler=make_scheduler(name), context=one)
        torch.testing.assert_close(both[index : index + 1], alone, rtol=1e-4, atol=1e-4)


def test_noise_is_each_generators_own():
    both = draw(seeds(1, 2))
    assert torch.equal(both[1:], draw(seeds(2)))
    assert both.std() == pytest.approx(1, abs=0.1)


def test_a_weak_start_takes_few_steps_and_stays_near(unet):
    clean = draw(seeds(5)).clamp(-1, 1)
    noise = draw(seeds(1))
    steps = [
        len(start_run(make_scheduler(), 10, noise, clean, s).timesteps) for s in (0.01, 0.3, 1)
    ]
    assert steps == [1, 3, 10]
    near, far = (run(unet, seeds(1), clean=clean, strength=s) for s in (0.25, 1.0))
    assert (near - clean).square().mean() < (far - clean).square().mean()


def test_a_start_is_the_clean_latents_noised_to_its_first_step():
    scheduler = make_scheduler("DDIMScheduler")
    clean, noise = torch.ones(1, *SHAPE), draw(seeds(1))
    start = start_run(scheduler, 4, noise, clean, 0.5)
    known = scheduler.add_noise(clean, noise, start.timesteps[:1])
    assert torch.equal(start.latents, known)


def test_classifier_free_guidance_moves_away_from_the_unconditional(unet):
    tokens = make_context(2).tokens
    x, t, scheduler = draw(seeds(1)), torch.tensor(50), make_scheduler("DDIMScheduler")
    with torch.no_grad():
        without, given = (
            predict(unet, scheduler, x, t, GuidanceContext(tokens[i : i + 1]), 3.0) for i in (0, 1)
        )
        guided = predict(unet, scheduler, x, t, GuidanceContext(tokens), 3.0)
    known = without + 3.0 * (given - without)
    torch.testing.assert_close(guided, known, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "DDIMScheduler"])
def test_held_positions_end_clean_and_free_ones_are_drawn(unet, name):
    free = torch.zeros(8, 8)
    free[:, 4:] = 1
    clean = draw(seeds(5))
    hold = Hold(clean, draw(seeds(1)), free)
    latents = run(unet, seeds(1), scheduler=make_scheduler(name), hold=hold)
    assert torch.equal(latents[..., :4], clean[..., :4])
    assert (latents[..., 4:] - clean[..., 4:]).abs().min() > 0


def test_held_positions_have_each_steps_noise(unet):
    clean, noise = torch.full((1, *SHAPE), 3.0), draw(seeds(1))
    seen = []

    def watch(step, timestep, latents):
        seen.append(latents)
        return latents

    hold = Hold(clean, noise, torch.zeros(8, 8))
    scheduler = make_scheduler()
    run(unet, seeds(1), scheduler=scheduler, hold=hold, on_step_end=watch)
    start = start_run(scheduler, 4, noise, None, None)
    known = [clean + sigma * noise for sigma in start.scheduler.sigmas[1:]]
    torch.testing.assert_close(torch.cat(seen), torch.cat(known))


def test_shifted_times_hold_more_noise():
    plain, shifted = (make_scheduler(timestep_spacing="trailing") for _ in range(2))
    for scheduler in (plain, shifted):
        scheduler.set_timesteps(2)
    shift_times(shifted, 2.0)
    assert plain.timesteps.tolist() == [99, 49]
    assert shifted.timesteps.tolist() == [99, 66]  # 1/2 becomes 2/3
    kept = plain.alphas_cumprod[66]
    assert float(shifted.sigmas[1]) == pytest.approx(float(((1 - kept) / kept).sqrt()), rel=1e-5)
    torch.testing.assert_close(shifted.sigmas[[0, 2]], plain.sigmas[[0, 2]])
    assert shifted.timesteps.dtype == plain.timesteps.dtype
    assert shifted.sigmas.dtype == plain.sigmas.dtype
    shift_times(plain, 1.0)
    assert plain.timesteps.tolist() == [99, 49]


def test_a_run_from_noise_is_shifted_and_one_from_a_picture_is_not(unet):
    noise = draw(seeds(1))
    plain = start_run(make_scheduler(), 4, noise, None, None)
    shifted = start_run(make_scheduler(), 4, noise, None, None, time_shift=3.0)
    assert (shifted.timesteps >= plain.timesteps).all()
    assert (shifted.timesteps > plain.timesteps).any()
    runs = [start_run(make_scheduler(), 4, noise, noise, 0.5, shift) for shift in (1.0, 3.0)]
    torch.testing.assert_close(*[each.timesteps for each in runs])
    latents = denoise(unet, shifted, make_context(1), 1.0, seeds(1))
    assert latents.isfinite().all()
    ddim = [start_run(make_scheduler("DDIMScheduler"), 4, noise, None, None, s) for s in (1.0, 3.0)]
    torch.testing.assert_close(*[each.timesteps for each in ddim])


def test_the_callback_sees_every_step_and_may_change_it(unet):
    steps = []

    def stop(step, timestep, latents):
        steps.append((step, float(timestep)))
        return torch.zeros_like(latents) if step == 3 else latents

    latents = run(unet, seeds(1), on_step_end=stop)
    assert [step for step, _ in steps] == [0, 1, 2, 3]
    assert [t for _, t in steps] == sorted((t for _, t in steps), reverse=True)
    assert not latents.any()


@pytest.mark.parametrize(
    ("error", "count", "hint"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), 4, "2 at a time"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "smaller height"),
        (MemoryError(), 2, "1 at a time"),
    ],
)
def test_running_out_of_memory_says_what_would_fit(error, count, hint):
    with pytest.raises(OutOfMemory, match=hint), saying_what_would_fit(count, 64, 32):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), saying_what_would_fit(1, 64, 32):
        raise RuntimeError("shapes differ")
