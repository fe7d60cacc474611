"""One side of `benchmarks.peers`, in a process of its own: writes FOLDER/SIDE.json and pictures.

python -m benchmarks.peers_side FOLDER OPTIONS_AS_JSON
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import CLOCKS

IDENTITY_DIM = 128  # dlib's, so that no licensed pack is needed; ArcFace's 512 costs as much
WORDS, AVOIDED, SCALE, SEED = "an ink drawing, smiling", "blurred", 7.5, 7
WARM_STEPS = 3  # of the picture that warms up and times a U-Net call, and of several people's
PEOPLE_ROUNDS = 3  # at least: what a further person costs is little beside what a machine wavers
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
STYLE_WEIGHT = 0.5  # alpha of ours, the adapter's scale of theirs


class Nobody:
    """A detector that sees no face: neither side looks for one."""

    name, licence = "nobody", "none"

    def detect(self, image: Image.Image) -> list[Any]:
        return []


class Clock:
    """When each step of a picture ended, by the clock asked for; a callback of both sides."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.now = CLOCKS[options["clock"]]
        self.ends: list[float] = []

    def __call__(self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict:
        self.ends.append(self.now())
        return {}

    @property
    def step_s(self) -> float:
        """Median seconds from one step's end to the next."""
        return statistics.median(np.diff(self.ends))


def main() -> None:
    """Make the files, or measure one side."""
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    works = {
        "files": make_files,
        "ours": measure_ours,
        "theirs": measure_theirs,
        "cold-ours": start_ours,
        "cold-theirs": start_theirs,
    }
    figures = works[options["side"]](folder, options) | {"dtype": options["dtype_reason"]}
    figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (folder / f"{options['side']}.json").write_text(json.dumps(figures))


def make_files(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """A base, its adapters and our model of them, all from the same random weights."""
    from facestudio.encoders.stable_diffusion import IMAGE_ENCODER
    from facestudio.pipeline.sd15 import Sd15Settings, assemble_sd15
    from tests.pipeline import sd15_files

    sizes = {"tiny": sd15_files.TINY, "full": sd15_files.FULL}[options["shape"]]
    sizes = replace(sizes, identity_dim=IDENTITY_DIM)
    base = sd15_files.make_base(sizes)
    base.to(getattr(torch, options["dtype"])).save_pretrained(folder / "base")
    style = sd15_files.style_weights(base.unet, sizes)
    sd15_files.write_adapter(style, folder / "style" / "style.safetensors")
    face = sd15_files.face_weights(base.unet, sizes)
    sd15_files.write_adapter(face, folder / "face" / "face.bin")
    write_told(base, folder)
    del base, style, face
    sd15_files.make_vision(sizes).save_pretrained(folder / "style" / IMAGE_ENCODER)
    settings = Sd15Settings(
        base=str(folder / "base"),
        adapter="both",
        identity="dlib",
        style_adapter=str(folder / "style" / "style.safetensors"),
        face_adapter=str(folder / "face" / "face.bin"),
        offline=True,
        half=options["dtype"] != "float32",
        half_type="bfloat16",  # as the base is stored
    )
    pipe = assemble_sd15(settings, folder / "ours")
    with torch.no_grad():
        np.save(folder / "style_vector.npy", pipe.style_vector(make_style(options["px"])).numpy())
    return {}


def write_told(base: Any, folder: Path) -> None:
    """The text encoder's tokens of the words to avoid, of none, and of the prompt: (3, L, W)."""
    from facestudio.encoders.stable_diffusion import WordTokens

    with torch.no_grad():
        told = WordTokens(base.text_encoder, base.tokenizer)([AVOIDED, "", WORDS])
    np.save(folder / "told.npy", told.float().numpy())


Draw = Callable[..., np.ndarray]


def load_ours(folder: Path, options: dict[str, Any]) -> tuple[Any, Draw]:
    """Our pipeline with its encoders let go after use, and what draws a picture with it."""
    from facestudio import FaceStudioPipeline
    from facestudio.faces.identity import Identity

    dtype = getattr(torch, options["dtype"])
    pipe = FaceStudioPipeline.from_pretrained(
        folder / "ours", torch_dtype=dtype, detector=Nobody(), keep_encoders=False
    )
    people = [
        Identity.from_photos(face_vector(i), pipe.identity_encoder)
        for i in range(options["people"])
    ]
    style = make_style(options["px"])

    def draw(count: int = 1, **more: Any) -> np.ndarray:
        given = {
            "prompt": WORDS, "negative_prompt": AVOIDED, "style": style, "alpha": STYLE_WEIGHT,
            "guidance_scale": SCALE, "num_inference_steps": options["steps"], "seed": SEED,
            "height": options["px"], "width": options["px"], "output_type": "np",
            "watermark": False,
        }  # fmt: skip
        if count > 1:
            given["regions"] = [(i / count, 0, (i + 1) / count, 1) for i in range(count)]
        return as_numbers(pipe(people[:count], **given | more).images[0])

    return pipe, draw


def start_ours(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds from a new process to the end of its first step, what encoders made being known."""
    from facestudio.pipeline.embed_cache import hash_picture

    pipe, draw = load_ours(folder, options)
    like = pipe.like
    known = {
        ("style", hash_picture(make_style(options["px"]))): ("image_towers", "style_vector"),
        ("words", (AVOIDED, "", WORDS)): ("text_towers", "told"),
    }
    for key, (maker, file) in known.items():
        vector = torch.from_numpy(np.load(folder / f"{file}.npy")).to(like)
        made_by = (getattr(pipe, maker),)
        pipe.embed_cache.get((*key, like.dtype, like.device), made_by, lambda v=vector: v)
    return time_first_step(draw, options)


def start_theirs(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The same of diffusers, which loads no text encoder."""
    avoided, _, words = torch.from_numpy(np.load(folder / "told.npy"))[:, None]
    pipe, draw = load_theirs(folder, options, text_encoder=None, tokenizer=None)
    given = {"prompt_embeds": words, "negative_prompt_embeds": avoided}
    given = {name: tokens.to(pipe.unet.dtype) for name, tokens in given.items()}
    figures = time_first_step(lambda **more: draw(**given, **more), options)
    return figures | choose_layout(pipe, lambda **more: draw(**given, **more), options)


def choose_layout(pipe: Any, draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    """Which layout of memory is the faster one for diffusers, by the seconds of a step."""
    steps: dict[str, float] = {}
    for name in LAYOUTS:
        arrange(pipe, name)
        clock = Clock(options)
        draw(callback_on_step_end=clock, num_inference_steps=WARM_STEPS, output_type="latent")
        steps[name] = clock.step_s
    return {"layout": min(steps, key=steps.__getitem__), "unet_call_s_by_layout": steps}


def time_first_step(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds from the start of the process to the end of the first step."""
    ended: list[float] = []

    def note(*_: Any) -> dict[str, Any]:
        wall = options["clock"] == "wall"
        ended.append(time.time() - options["started"] if wall else time.process_time())
        return {}

    draw(callback_on_step_end=note, num_inference_steps=1, output_type="latent")
    return {"cold_start_s": ended[0]}


def measure_ours(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Our figures: pictures exact, bounded and of several people, a U-Net call."""
    pipe, draw = load_ours(folder, options)
    figures = measure_call(pipe, draw, options)
    works = {"exact": draw} | {name: partial(draw, speed=name) for name in options["speeds"]}
    few = {"num_inference_steps": WARM_STEPS, "output_type": "latent"}
    counts = range(1, options["people"] + 1)
    people = {f"people {n}": partial(draw, n, **few) for n in counts}
    seconds = take_turns("ours", works, folder, options)
    often = options | {"rounds": max(options["rounds"], PEOPLE_ROUNDS)}
    return figures | {"seconds": seconds | take_turns("ours", people, folder, often)}


def measure_call(pipe: Any, draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds and operations of a U-Net call, once warm, and what a product of matrices does."""
    clock = Clock(options)
    draw(callback_on_step_end=clock, num_inference_steps=WARM_STEPS, output_type="latent")
    return {
        "unet_call_s": clock.step_s,
        "unet_flop": count_flop(pipe.unet, draw),
        "matrix_peak": options["peak"],
    }


def load_theirs(folder: Path, options: dict[str, Any], **parts: Any) -> tuple[Any, Draw]:
    """diffusers' pipeline, its LoRA fused, and what draws a picture with it."""
    from diffusers import StableDiffusionPipeline

    dtype = getattr(torch, options["dtype"])
    pipe = StableDiffusionPipeline.from_pretrained(folder / "base", torch_dtype=dtype, **parts)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(
        [str(folder / "style"), str(folder / "face")],
        subfolder="",
        weight_name=["style.safetensors", "face.bin"],
        image_encoder_folder=None,
    )
    pipe.set_ip_adapter_scale([STYLE_WEIGHT, 1.0])
    pipe.fuse_lora()
    embeds = [with_nothing(vector).to(dtype) for vector in (style_vector(folder), face_vector(0))]

    def draw(**more: Any) -> np.ndarray:
        words = {} if parts else {"prompt": WORDS, "negative_prompt": AVOIDED}
        given = words | {
            "num_inference_steps": options["steps"], "guidance_scale": SCALE,
            "generator": torch.Generator().manual_seed(SEED), "height": options["px"],
            "width": options["px"], "ip_adapter_image_embeds": embeds, "output_type": "np",
        }  # fmt: skip
        return as_numbers(pipe(**given | more).images[0])

    return pipe, draw


def measure_theirs(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """diffusers' figures, in the layout that its cold stage found to be the faster one."""
    layout = json.loads((folder / "cold-theirs.json").read_text())["layout"]
    pipe, draw = load_theirs(folder, options)
    arrange(pipe, layout)
    figures = measure_call(pipe, draw, options)
    return figures | {"seconds": take_turns("theirs", {"exact": draw}, folder, options)}


def arrange(pipe: Any, layout: str) -> None:
    """Lay the weights of diffusers' U-Net and autoencoder out."""
    for network in (pipe.unet, pipe.vae):
        network.to(memory_format=LAYOUTS[layout])


def take_turns(
    side: str, works: dict[str, Callable[[], np.ndarray]], folder: Path, options: dict[str, Any]
) -> dict[str, list[float]]:
    """Seconds of each work in each round, one after the other; keeps the last pictures."""
    now = CLOCKS[options["clock"]]
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options["rounds"]):
        for name, work in works.items():
            started = now()
            picture = work()
            seconds[name].append(now() - started)
            np.save(folder / f"{side}_{name}.npy", picture)
            print(f"{side}, {name}: {seconds[name][-1]:.1f} s", flush=True)
    return seconds


def as_numbers(picture: Any) -> np.ndarray:
    """A picture, or latents in any type, as numpy has them."""
    return torch.as_tensor(picture).float().numpy()


def count_flop(unet: Any, draw: Callable[[], Any]) -> int:
    """Floating-point operations of the U-Net's last call in a picture."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def count_attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    def count_convolution(x: Any, *more: Any, out_shape: Any, **_: Any) -> int:
        weight = next(shape for shape in reversed(more[:2]) if len(shape or ()) == 4)
        return 2 * math.prod(out_shape) * math.prod(weight[1:])

    def count_linear(x: Any, *_: Any, out_shape: Any, **__: Any) -> int:
        return 2 * math.prod(out_shape) * int(x[-1])

    counts = {
        attention: count_attention,
        torch.ops.mkldnn._convolution_pointwise: count_convolution,
        torch.ops.mkldnn._linear_pointwise: count_linear,
    }

    found = []
    forward = unet.forward

    def counted(*args: Any, **given: Any) -> Any:
        with FlopCounterMode(display=False, custom_mapping=counts) as counter:
            result = forward(*args, **given)
        found.append(counter.get_total_flops())
        return result

    unet.forward = counted
    try:
        draw(num_inference_steps=1, output_type="latent")
    finally:
        del unet.forward
    return int(found[-1])


def face_vector(seed: int) -> np.ndarray:
    """Somebody's vector (1, IDENTITY_DIM) of length 1, who does not exist."""
    vector = np.random.default_rng(seed).standard_normal((1, IDENTITY_DIM)).astype(np.float32)
    return vector / np.linalg.norm(vector)


def make_style(px: int) -> Image.Image:
    """A picture of smooth random colours."""
    small = np.random.default_rng(3).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((px, px), Image.Resampling.BICUBIC)


def style_vector(folder: Path) -> np.ndarray:
    """The style picture's vector, as our side saved it."""
    vector: np.ndarray = np.load(folder / "style_vector.npy")
    return vector


def with_nothing(vector: np.ndarray) -> torch.Tensor:
    """An adapter's vector (2, 1, dim) under classifier-free guidance: zeros first."""
    given = torch.from_numpy(vector).reshape(1, 1, -1)
    return torch.cat([torch.zeros_like(given), given])


if __name__ == "__main__":
    main()
