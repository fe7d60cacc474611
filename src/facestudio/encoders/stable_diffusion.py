"""What Stable Diffusion and its adapters read: CLIP's outputs as CLIP gives them.

The paper's towers give one vector of RMS 1 (`image_towers.py`, `text_towers.py`). Stable Diffusion
1.5 reads every token of its text encoder instead, and IP-Adapter the picture's vector at its own
length. On disk they are `text_encoder`, `tokenizer` and `image_encoder`, as diffusers has them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.encoders.folders import load_clip, quiet_bars, read_json, read_size
from facestudio.encoders.image_towers import CLIP_MEAN, CLIP_STD
from facestudio.encoders.text_towers import TOKENIZER, load_tokenizer

if TYPE_CHECKING:
    from transformers import (
        CLIPTextModel,
        CLIPVisionModelWithProjection,
        PreTrainedTokenizerBase,
    )

TEXT_ENCODER, IMAGE_ENCODER = "text_encoder", "image_encoder"
LEVELS = 255 / 2  # from -1...1 to the steps of an 8-bit picture


class WordTokens(nn.Module):
    """Texts of a batch become text tokens (B, L, text_dim), padded to the encoder's length L."""

    def __init__(self, network: CLIPTextModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.text_dim = int(network.config.hidden_size)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The text encoder and the tokenizer of a model folder; raises MissingWeights, BadModel."""
        from transformers import CLIPTextModel

        root = Path(folder)
        network = load_clip(CLIPTextModel, root / TEXT_ENCODER)
        return cls(network, load_tokenizer(root / TOKENIZER)).eval()

    @classmethod
    def measure(cls, folder: str | Path) -> int:
        """The `text_dim` of the text encoder in a model folder; raises MissingWeights, BadModel."""
        return read_size(Path(folder) / TEXT_ENCODER, "hidden_size", "CLIPTextConfig")

    def save(self, folder: str | Path) -> None:
        """Write `text_encoder` and `tokenizer` under `folder`."""
        self.tokenizer.save_pretrained(Path(folder) / TOKENIZER)
        with quiet_bars():
            self.network.save_pretrained(Path(folder) / TEXT_ENCODER)

    def forward(self, texts: Sequence[str]) -> Tensor:
        length = self.network.config.max_position_embeddings
        limits = {"padding": "max_length", "truncation": True, "max_length": length}
        ids = self.tokenizer(list(texts), **limits)["input_ids"]
        tokens = torch.tensor(ids, device=self.network.device)
        result: Tensor = self.network(input_ids=tokens).last_hidden_state
        return result


class PictureVector(nn.Module):
    """Pixels (B, 3, H, W) in -1...1 become CLIP's projected vector (B, embed_dim), unscaled.

    As CLIP's own preparation does: the shorter side is resized to the network's input, the middle
    is cut out, in steps of an 8-bit picture.
    """

    def __init__(
        self,
        network: CLIPVisionModelWithProjection,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
    ) -> None:
        super().__init__()
        self.network = network
        self.input_px = int(network.config.image_size)
        self.embed_dim = int(network.config.projection_dim)
        self.mean, self.std = tuple(mean), tuple(std)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The image encoder of a model folder; raises MissingWeights, BadModel."""
        return cls.read(Path(folder) / IMAGE_ENCODER)

    @classmethod
    def read(cls, root: Path) -> Self:
        """The image encoder in a folder of its own; raises MissingWeights, BadModel."""
        from transformers import CLIPVisionModelWithProjection

        network = load_clip(CLIPVisionModelWithProjection, root)
        path = root / "preprocessor_config.json"
        pre = read_json(path) if path.is_file() else {}
        mean, std = pre.get("image_mean", CLIP_MEAN), pre.get("image_std", CLIP_STD)
        return cls(network, mean, std).eval()

    @classmethod
    def measure(cls, folder: str | Path) -> int:
        """The `embed_dim` of the image encoder in a folder; raises MissingWeights, BadModel."""
        return read_size(Path(folder) / IMAGE_ENCODER, "projection_dim", "CLIPVisionConfig")

    def save(self, folder: str | Path) -> None:
        """Write `image_encoder` under `folder`."""
        root = Path(folder) / IMAGE_ENCODER
        with quiet_bars():
            self.network.save_pretrained(root)
        pre = {"image_mean": self.mean, "image_std": self.std, "size": self.input_px, "resample": 3}
        (root / "preprocessor_config.json").write_text(json.dumps(pre, indent=2) + "\n")

    def forward(self, pixels: Tensor) -> Tensor:
        square = middle_square(pixels.float(), self.input_px)
        mean, std = (square.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        ready = ((square + 1) / 2 - mean) / std
        result: Tensor = self.network(ready.to(self.network.dtype)).image_embeds
        return result


def middle_square(pixels: Tensor, side: int) -> Tensor:
    """The middle (B, 3, side, side) of pixels (B, 3, H, W) whose shorter side is made `side`."""
    height, width = pixels.shape[-2:]
    shorter = min(height, width)
    if shorter != side:
        size = (height * side // shorter, width * side // shorter)
        pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(-1, 1)
        pixels = (((pixels + 1) * LEVELS).round() / LEVELS) - 1
    top, left = (pixels.shape[-2] - side) // 2, (pixels.shape[-1] - side) // 2
    return pixels[..., top : top + side, left : left + side]
