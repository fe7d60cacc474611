"""What a codec keeps: PSNR and likeness of its reconstructions of held-out photos.

    python -m benchmarks.codec_quality CODEC PREPARED_SET RECOGNISER.onnx [COUNT]

Prints one JSON object: decibels (mean over pictures) with and without the learned decoder, and the
recogniser's cosine between a photo and its reconstruction.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facestudio.codec.patch import PatchCodec
from facestudio.data.develop import to_pixels
from facestudio.data.shards import PreparedSet
from facestudio.faces.align import align_face
from facestudio.faces.embed import OnnxEncoder

BATCH = 50


def main(codec_folder: str, prepared: str, recogniser: str, count: int = 500) -> None:
    """Measure and print."""
    codec = PatchCodec.from_pretrained(codec_folder).eval()
    data = PreparedSet([Path(prepared)], ("pictures", "eyes"))
    chosen = [i for i in range(len(data)) if is_held_out_photo(data, i)][:count]
    encoder = OnnxEncoder(recogniser, value_range="0..255")
    figures: dict[str, list[float]] = {"psnr_db": [], "psnr_linear_db": [], "likeness": []}
    for start in range(0, len(chosen), BATCH):
        part = chosen[start : start + BATCH]
        pixels = to_pixels([data.picture(i) for i in part])
        with torch.no_grad():
            latents = codec.encode(pixels)
            rebuilt = codec.decode(latents)
            linear = codec.decode_linear(latents).clamp(-1, 1)
        figures["psnr_db"] += psnr(rebuilt, pixels)
        figures["psnr_linear_db"] += psnr(linear, pixels)
        eyes = data.arrays["eyes"][part]
        own, other = (encoder.embed(crops(batch, eyes)) for batch in (pixels, rebuilt))
        figures["likeness"] += ((own * other).mean(1)).tolist()  # vectors of RMS 1
    means = {name: round(float(np.mean(values)), 3) for name, values in figures.items()}
    print(json.dumps({"pictures": len(chosen), **means}))


def is_held_out_photo(data: PreparedSet, index: int) -> bool:
    """Whether it is a photo of somebody who was not trained on."""
    record = data.records[index]
    held_out = record.get("split") == "test" and record.get("kind", "photo") == "photo"
    return held_out and bool(record["has_face"]) and record["source"] == "celeba"


def psnr(a: torch.Tensor, b: torch.Tensor) -> list[float]:
    """Decibels of each picture (B, 3, H, W) in -1...1."""
    return (10 * torch.log10(4 / (a - b).square().mean((1, 2, 3)))).tolist()


def crops(pixels: torch.Tensor, eyes: np.ndarray) -> np.ndarray:
    """The recogniser's view of each picture."""
    bytes_ = ((pixels + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    pairs = zip(bytes_, eyes, strict=True)
    return np.stack([align_face(Image.fromarray(image), own) for image, own in pairs])


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
