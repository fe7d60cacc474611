"""CLIP's outputs as Stable Diffusion and IP-Adapter read them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor

from facestudio.encoders.stable_diffusion import PictureVector, WordTokens, middle_square
from facestudio.errors import MissingWeights
from tests.pipeline.sd15_files import TINY, make_base, make_vision

SIDE = TINY.vision["image_size"]


def make_picture(width: int, height: int) -> Image.Image:
    small = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def to_pixels(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture) / np.float32(127.5) - 1).permute(2, 0, 1)[None]


@pytest.mark.parametrize("size", [(SIDE, SIDE), (90, 90), (150, 80), (70, 111), (20, 24)])
@torch.no_grad()
def test_pictures_are_prepared_as_clip_does(size):
    picture, vision = make_picture(*size), make_vision(TINY)
    processor = CLIPImageProcessor(size=SIDE, crop_size=SIDE)
    theirs = vision(processor(picture, return_tensors="pt").pixel_values).image_embeds
    ours = PictureVector(vision)(to_pixels(picture))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.01 * float(theirs.abs().max()))


def test_the_middle_of_a_wide_picture_is_taken():
    pixels = torch.zeros(1, 3, 4, 8)
    pixels[..., 2:6] = 1
    assert middle_square(pixels, 4).min() == 1


@torch.no_grad()
def test_words_are_read_as_stable_diffusion_reads_them():
    base = make_base(TINY)
    words = WordTokens(base.text_encoder, base.tokenizer)
    texts = ["an ink drawing", ""]
    theirs, negative = base.encode_prompt(texts[0], "cpu", 1, True, texts[1])
    torch.testing.assert_close(words(texts), torch.cat([theirs, negative]))
    assert words(["x " * 200]).shape == (1, 77, words.text_dim)


@torch.no_grad()
def test_both_come_back_from_a_folder(tmp_path):
    base, vision = make_base(TINY), make_vision(TINY)
    words = WordTokens(base.text_encoder, base.tokenizer)
    pictures = PictureVector(vision, mean=(0.5, 0.5, 0.5))
    words.save(tmp_path)
    pictures.save(tmp_path)
    assert torch.equal(WordTokens.load(tmp_path)(["a hat"]), words(["a hat"]))
    pixels = to_pixels(make_picture(40, 40))
    assert torch.equal(PictureVector.load(tmp_path)(pixels), pictures(pixels))


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(MissingWeights, match="text_encoder"):
        WordTokens.load(tmp_path)
    with pytest.raises(MissingWeights, match="image_encoder"):
        PictureVector.load(tmp_path)
