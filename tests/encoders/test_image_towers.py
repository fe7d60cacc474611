"""Image towers: shapes and scale, resizing and normalisation, folders, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from facestudio.encoders.image_towers import (
    CLIP_MEAN,
    CLIP_STD,
    ImageTower,
    ImageTowerConfig,
    ImageTowers,
)
from facestudio.encoders.presets import PAPER_IMAGE_TOWERS
from facestudio.errors import BadModel, BadOption, MissingWeights

VIT = ImageTowerConfig("vit", 32, output_dim=8, width=16, layers=(1,), heads=2, patch=8)


def make_pixels(height: int = 40, width: int = 56) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, height, width, generator=generator) * 2 - 1


class Reveal(nn.Module):
    """Stands in for a network and hands out what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))
        self.seen = torch.zeros(0)

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen = pixels
        return pixels.flatten(1)[:, :8]


def reveal(pixels: Tensor, mean: float = 0.5, std: float = 0.5) -> Tensor:
    config = ImageTowerConfig("resnet", 32, 8, 4, (1, 1, 1, 1), 4, mean=(mean,) * 3, std=(std,) * 3)
    network = Reveal()
    ImageTower(config, network)(pixels)
    return network.seen


def test_shape_and_rms_per_tower(image_towers: ImageTowers) -> None:
    vectors = image_towers(make_pixels())
    assert vectors.shape == (2, image_towers.embed_dim) == (2, 20)
    for part in vectors.split(image_towers.tower_dims, dim=-1):
        torch.testing.assert_close(part.square().mean(-1), torch.ones(2))


def test_each_tower_alone_is_its_part(image_towers: ImageTowers) -> None:
    pixels = make_pixels()
    torch.testing.assert_close(torch.cat(image_towers.embed_each(pixels), -1), image_towers(pixels))


def test_a_batch_is_its_pictures_one_by_one(image_towers: ImageTowers) -> None:
    pixels = make_pixels()
    alone = torch.cat([image_towers(pixel[None]) for pixel in pixels])
    torch.testing.assert_close(image_towers(pixels), alone, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_weight_and_the_picture(image_towers: ImageTowers) -> None:
    pixels = make_pixels().requires_grad_()
    image_towers.train()(pixels)[:, ::2].sum().backward()
    assert pixels.grad is not None
    assert all(p.grad is not None for p in image_towers.parameters() if p.requires_grad)


def test_runs_in_bfloat16(image_towers: ImageTowers) -> None:
    vectors = image_towers.to(torch.bfloat16)(make_pixels().bfloat16())
    assert vectors.dtype == torch.bfloat16
    assert vectors.isfinite().all()


def test_a_picture_of_the_right_size_is_only_normalised() -> None:
    pixels = make_pixels(32, 32)
    seen = reveal(pixels, mean=0.4, std=0.2)
    torch.testing.assert_close(seen, ((pixels + 1) / 2 - 0.4) / 0.2)


def test_resizing_is_pillows_antialiased_bicubic() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    expected = Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
    seen = (reveal(pixels)[0].permute(1, 2, 0) + 1) * 127.5
    assert np.abs(seen.numpy() - np.asarray(expected, dtype=np.float32)).max() < 1.5


def test_resizing_never_leaves_the_range() -> None:
    edge = torch.ones(1, 3, 70, 70)
    edge[..., 35:] = -1
    seen = reveal(edge)
    assert seen.min() >= -1
    assert seen.max() <= 1


def test_vit_equals_transformers_with_its_own_processor(tmp_path: Path) -> None:
    towers = ImageTowers.from_config([VIT]).eval()
    towers.save(tmp_path)
    picture = Image.effect_mandelbrot((96, 96), (-3, -2.5, 2, 2.5), 100).convert("RGB")
    processor = CLIPImageProcessorPil.from_pretrained(
        tmp_path / "image_encoder_0", do_center_crop=False
    )
    read = processor(picture, return_tensors="pt")["pixel_values"]
    oracle = CLIPVisionModelWithProjection.from_pretrained(tmp_path / "image_encoder_0")
    expected = oracle(pixel_values=read).image_embeds
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    assert torch.cosine_similarity(towers(pixels), expected) > 0.9999


def test_folders_hold_the_same_towers(image_towers: ImageTowers, tmp_path: Path) -> None:
    image_towers.save(tmp_path)
    again = ImageTowers.load(tmp_path)
    assert again.configs == image_towers.configs
    assert not again.training
    assert torch.equal(again(make_pixels()), image_towers(make_pixels()))
    names = {path.name for path in (tmp_path / "image_encoder_1").iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json"}


def test_a_public_vit_folder_has_openais_normalisation(tmp_path: Path) -> None:
    ImageTowers.from_config([VIT]).save(tmp_path)
    (tmp_path / "image_encoder_0" / "preprocessor_config.json").unlink()
    config = ImageTowers.load(tmp_path).configs[0]
    assert (config.mean, config.std) == (CLIP_MEAN, CLIP_STD)


def test_the_papers_towers_are_expressible() -> None:
    with torch.device("meta"):
        towers = ImageTowers.from_config(PAPER_IMAGE_TOWERS)
    assert towers.tower_dims == (768, 512, 512)
    assert towers.embed_dim == 1792
    millions = [sum(p.numel() for p in tower.parameters()) // 10**6 for tower in towers.towers]
    assert millions == [303, 56, 87]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"input_px": 30}, "input_px must divide by 8, found 30"),
        ({"layers": [1, 1]}, "layers"),
        ({"heads": 3}, "heads must divide 16"),
        ({"output_dim": 0}, "output_dim"),
        ({"kind": "swin"}, "kind"),
        ({"widht": 16}, "nearest is image_towers.width"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], named: str) -> None:
    good = {"kind": "vit", "input_px": 32, "output_dim": 8, "width": 16, "layers": [1]}
    with pytest.raises(BadOption, match=named):
        ImageTowers.from_config([good | {"heads": 2, "patch": 8} | change])


def test_no_towers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="at least one"):
        ImageTowers.from_config([])
    with pytest.raises(MissingWeights, match="image_encoder_0"):
        ImageTowers.load(tmp_path)


@pytest.mark.parametrize("index", [0, 1])
def test_missing_weights_are_refused(image_towers: ImageTowers, tmp_path: Path, index: int) -> None:
    image_towers.save(tmp_path)
    (tmp_path / f"image_encoder_{index}" / "model.safetensors").unlink()
    with pytest.raises(MissingWeights):
        ImageTowers.load(tmp_path)


@pytest.mark.parametrize("index", [0, 1])
def test_a_weight_too_few_is_refused(image_towers: ImageTowers, tmp_path: Path, index: int) -> None:
    image_towers.save(tmp_path)
    path = tmp_path / f"image_encoder_{index}" / "model.safetensors"
    weights = load_file(path)
    weights.pop(sorted(weights)[0])
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(BadModel):
        ImageTowers.load(tmp_path)


@pytest.mark.parametrize("index", [0, 1])
def test_a_damaged_file_is_refused(image_towers: ImageTowers, tmp_path: Path, index: int) -> None:
    image_towers.save(tmp_path)
    (tmp_path / f"image_encoder_{index}" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(BadModel):
        ImageTowers.load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"_class_name": "ModifiedResNet", "colour": 1}'])
def test_a_damaged_config_is_refused(image_towers: ImageTowers, tmp_path: Path, text: str) -> None:
    image_towers.save(tmp_path)
    (tmp_path / "image_encoder_1" / "config.json").write_text(text)
    with pytest.raises(BadModel):
        ImageTowers.load(tmp_path)


def test_config_file_is_plain_json(image_towers: ImageTowers, tmp_path: Path) -> None:
    image_towers.save(tmp_path)
    saved = json.loads((tmp_path / "image_encoder_1" / "config.json").read_text())
    assert saved["layers"] == [1, 2, 1, 1]
    assert saved["_class_name"] == "ModifiedResNet"
