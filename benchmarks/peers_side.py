"""One side of `benchmarks.peers`, in a process of its own: writes FOLDER/SIDE.json and pictures.

python -m benchmarks.peers_side FOLDER OPTIONS_AS_JSON
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

IDENTITY_DIM = 128  # dlib's, so that no licensed pack is needed; ArcFace's 512 costs as much
WORDS, AVOIDED, SCALE, SEED = "an ink drawing, smiling", "blurred", 7.5, 7
STYLE_WEIGHT = 0.5  # alpha of ours, the adapter's scale of theirs


class Nobody:
    """A detector that sees no face: neither side looks for one."""

    name, licence = "nobody", "none"

    def detect(self, image: Image.Image) -> list[Any]:
        return []


class Clock:
    """When each step of a picture ended; a callback of both sides."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def __call__(self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict:
        self.ends.append(time.time())
        return {}

    @property
    def step_s(self) -> float:
        """Median seconds from one step's end to the next."""
        return statistics.median(np.diff(self.ends))


def main() -> None:
    """Make the files, or measure one side."""
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    work = {"files": make_files, "ours": measure_ours, "theirs": measure_theirs}[options["side"]]
    figures = work(folder, options)
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
    base.save_pretrained(folder / "base")
    style = sd15_files.style_weights(base.unet, sizes)
    sd15_files.write_adapter(style, folder / "style" / "style.safetensors")
    face = sd15_files.face_weights(base.unet, sizes)
    sd15_files.write_adapter(face, folder / "face" / "face.bin")
    del base, style, face
    sd15_files.make_vision(sizes).save_pretrained(folder / "style" / IMAGE_ENCODER)
    settings = Sd15Settings(
        base=str(folder / "base"),
        adapter="both",
        identity="dlib",
        style_adapter=str(folder / "style" / "style.safetensors"),
        face_adapter=str(folder / "face" / "face.bin"),
        offline=True,
    )
    pipe = assemble_sd15(settings, folder / "ours")
    with torch.no_grad():
        np.save(folder / "style_vector.npy", pipe.style_vector(make_style(options["px"])).numpy())
    return {}


def measure_ours(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Our figures: cold start, pictures exact, bounded and of several people, a U-Net call."""
    from facestudio import FaceStudioPipeline
    from facestudio.faces.identity import Identity
    from facestudio.pipeline.speed import SPEEDS

    dtype = getattr(torch, options["dtype"])
    pipe = FaceStudioPipeline.from_pretrained(folder / "ours", torch_dtype=dtype, detector=Nobody())
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
        picture: np.ndarray = pipe(people[:count], **given | more).images[0]
        return picture

    clock = Clock()
    draw(callback_on_step_end=clock)
    speed = options["speed"]
    bounded = speed if speed in SPEEDS else json.loads(speed)
    figures = {
        "cold_start_s": clock.ends[0] - options["started"],
        "unet_call_s": clock.step_s,
        "unet_flop": count_flop(pipe.unet, draw),
    }
    works = {"exact": draw, "bounded": lambda: draw(speed=bounded)}
    works |= {f"people {n}": lambda n=n: draw(n) for n in range(1, options["people"] + 1)}
    return figures | {"seconds": take_turns("ours", works, folder, options["rounds"])}


def measure_theirs(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """diffusers' figures, its LoRA fused and its embeddings given."""
    from diffusers import StableDiffusionPipeline

    dtype = getattr(torch, options["dtype"])
    pipe = StableDiffusionPipeline.from_pretrained(folder / "base", torch_dtype=dtype)
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
        picture: np.ndarray = pipe(
            WORDS,
            negative_prompt=AVOIDED,
            num_inference_steps=options["steps"],
            guidance_scale=SCALE,
            generator=torch.Generator().manual_seed(SEED),
            height=options["px"],
            width=options["px"],
            ip_adapter_image_embeds=embeds,
            output_type="np",
            **more,
        ).images[0]
        return picture

    clock = Clock()
    draw(callback_on_step_end=clock)
    figures = {
        "cold_start_s": clock.ends[0] - options["started"],
        "unet_call_s": clock.step_s,
        "unet_flop": count_flop(pipe.unet, draw),
    }
    return figures | {"seconds": take_turns("theirs", {"exact": draw}, folder, options["rounds"])}


def take_turns(
    side: str, works: dict[str, Callable[[], np.ndarray]], folder: Path, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each work in each round, one after the other; keeps the last pictures."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            picture = work()
            seconds[name].append(time.perf_counter() - started)
            np.save(folder / f"{side}_{name}.npy", picture)
    return seconds


def count_flop(unet: Any, draw: Callable[[], Any]) -> int:
    """Floating-point operations of the U-Net's last call in a picture."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def count_attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    found = []
    forward = unet.forward

    def counted(*args: Any, **given: Any) -> Any:
        with FlopCounterMode(display=False, custom_mapping={attention: count_attention}) as counter:
            result = forward(*args, **given)
        found.append(counter.get_total_flops())
        return result

    unet.forward = counted
    try:
        draw()
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
