"""Image towers: a picture becomes one vector, the outputs of several CLIP towers side by side.

Source: FaceStudio (arXiv 2312.02663), section 3.1: `e_h = CLIP_V(I_h)` with ViT-L/14, RN101 and
ViT-B/32. Sizes are configuration (`presets.py` holds the paper's). On disk each tower is a folder
`image_encoder_0`, `image_encoder_1`, ... with `config.json`, `model.safetensors` and
`preprocessor_config.json`, as transformers writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.encoders.clip_resnet import TOTAL_STRIDE, ModifiedResNet
from facestudio.encoders.folders import (
    load_clip,
    load_weights,
    quiet_bars,
    read_json,
    tower_folders,
)
from facestudio.encoders.vectors import to_unit_rms
from facestudio.errors import BadModel, BadOption
from facestudio.settings import from_dict, to_dict

if TYPE_CHECKING:
    from transformers import CLIPVisionConfig

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
PREFIX = "image_encoder_"
RESNET_CLASS = "ModifiedResNet"


@dataclass(frozen=True)
class ImageTowerConfig:
    """Sizes of one image tower.

    `layers` is `(depth,)` for a ViT and the blocks of the four stages for a ResNet; `patch` is a
    ViT's alone. `width` is a ViT's token width or the ResNet's first stage. Pictures in 0...1 are
    normalised by `mean` and `std`.
    """

    kind: Literal["vit", "resnet"]
    input_px: int
    output_dim: int
    width: int
    layers: tuple[int, ...]
    heads: int
    patch: int = 16
    act: str = "quick_gelu"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise BadOption(f"image tower: {'; '.join(problems)}")


class ImageTower(nn.Module):
    """One tower with its own input size and normalisation: pixels (B, 3, H, W) -> (B, output_dim).

    Pixels are in -1...1 and of any size and aspect; they are resized to a square. The vectors have
    RMS 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ImageTowerConfig, network: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.network = network
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(config.mean).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).reshape(shape), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        vectors = self.network(self._prepare(pixels).to(dtype))
        if self.config.kind == "vit":
            vectors = vectors.image_embeds
        return to_unit_rms(vectors)

    def _prepare(self, pixels: Tensor) -> Tensor:
        """The square, normalised picture the network reads, float32."""
        pixels = pixels.float()
        size = (self.config.input_px, self.config.input_px)
        if pixels.shape[-2:] != size:
            resized = F.interpolate(pixels, size, mode="bicubic", antialias=True)
            pixels = resized.clamp(-1, 1)  # bicubic overshoots at edges; a picture file cannot
        return ((pixels + 1) / 2 - self.mean.float()) / self.std.float()


class ImageTowers(nn.Module):
    """Several towers over one picture: pixels (B, 3, H, W) in -1...1 -> vectors (B, embed_dim).

    Each tower's part has RMS 1.
    """

    def __init__(self, towers: Sequence[ImageTower]) -> None:
        super().__init__()
        if not towers:
            raise BadOption("image towers: the list of towers is empty; give at least one")
        self.towers = nn.ModuleList(towers)
        self.configs = tuple(tower.config for tower in towers)
        self.tower_dims = tuple(config.output_dim for config in self.configs)
        self.embed_dim = sum(self.tower_dims)

    @classmethod
    def from_config(cls, towers: Sequence[Mapping[str, Any] | ImageTowerConfig]) -> ImageTowers:
        """Towers with fresh weights out of a list of configs or of mappings (one TOML table each).

        Raises BadOption on an unknown or impossible setting.
        """
        configs = [
            from_dict(ImageTowerConfig, tower, "image_towers")
            if isinstance(tower, Mapping)
            else tower
            for tower in towers
        ]
        return cls([ImageTower(config, build_network(config)) for config in configs])

    @classmethod
    def load(cls, folder: str | Path) -> ImageTowers:
        """The towers in `image_encoder_0`, `image_encoder_1`, ... of a model folder, in eval mode.

        Raises MissingWeights or BadModel.
        """
        return cls([load_image_tower(path) for path in tower_folders(Path(folder), PREFIX)]).eval()

    @classmethod
    def measure(cls, folder: str | Path) -> int:
        """The `embed_dim` of the towers in a model folder; raises MissingWeights, BadModel."""
        paths = tower_folders(Path(folder), PREFIX)
        return sum(_read_config(path).output_dim for path in paths)

    def save(self, folder: str | Path) -> None:
        """Write each tower as `image_encoder_<n>` under `folder`."""
        for index, tower in enumerate(self.towers):
            assert isinstance(tower, ImageTower)
            _save(tower, Path(folder) / f"{PREFIX}{index}")

    def embed_each(self, pixels: Tensor) -> list[Tensor]:
        """One batch of vectors (B, tower_dims[i]) of RMS 1 per tower."""
        return [tower(pixels) for tower in self.towers]

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.cat(self.embed_each(pixels), dim=-1)


def _problems(config: ImageTowerConfig) -> list[str]:
    """What is wanted and what was found, for every setting that cannot be built."""
    vit = config.kind == "vit"
    width = config.width if vit else config.width * TOTAL_STRIDE
    cell = config.patch if vit else TOTAL_STRIDE
    checks = [
        (config.kind in ("vit", "resnet"), "kind must be vit or resnet", config.kind),
        (len(config.layers) == (1 if vit else 4), "layers: 1 number (vit) or 4", config.layers),
        (config.input_px % cell == 0, f"input_px must divide by {cell}", config.input_px),
        (width % config.heads == 0, f"heads must divide {width}", config.heads),
        (config.output_dim > 0, "output_dim must be over 0", config.output_dim),
    ]
    return [f"{wanted}, found {found}" for right, wanted, found in checks if not right]


def build_network(config: ImageTowerConfig) -> nn.Module:
    """The tower's network with fresh weights: CLIPVisionModelWithProjection or ModifiedResNet."""
    if config.kind == "vit":
        from transformers import CLIPVisionModelWithProjection

        return CLIPVisionModelWithProjection(_vit_config(config))
    return ModifiedResNet(
        config.layers, config.output_dim, config.heads, config.input_px, config.width
    )


def _vit_config(config: ImageTowerConfig) -> CLIPVisionConfig:
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(
        hidden_size=config.width,
        intermediate_size=config.width * 4,
        projection_dim=config.output_dim,
        num_hidden_layers=config.layers[0],
        num_attention_heads=config.heads,
        image_size=config.input_px,
        patch_size=config.patch,
        hidden_act=config.act,
    )


def _save(tower: ImageTower, folder: Path) -> None:
    config = tower.config
    folder.mkdir(parents=True, exist_ok=True)
    if config.kind == "vit":
        with quiet_bars():
            tower.network.save_pretrained(folder)  # type: ignore[operator]
    else:
        sizes = {"_class_name": RESNET_CLASS, **to_dict(config)}
        (folder / "config.json").write_text(json.dumps(sizes, indent=2) + "\n")
        save_file(tower.network.state_dict(), folder / "model.safetensors", {"format": "pt"})
    size = {"height": config.input_px, "width": config.input_px}
    pre = {"image_mean": config.mean, "image_std": config.std, "size": size, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(pre, indent=2) + "\n")


def _read_config(folder: Path) -> ImageTowerConfig:
    """A tower's sizes from its folder; without `preprocessor_config.json` it is OpenAI's."""
    saved = read_json(folder / "config.json")
    if saved.pop("_class_name", None) == RESNET_CLASS:
        return from_dict(ImageTowerConfig, saved, folder.name)
    path = folder / "preprocessor_config.json"
    pre = read_json(path) if path.is_file() else {}
    from transformers import CLIPVisionConfig

    vit = CLIPVisionConfig.from_pretrained(folder)
    sizes = {
        "kind": "vit",
        "input_px": vit.image_size,
        "output_dim": vit.projection_dim,
        "width": vit.hidden_size,
        "layers": [vit.num_hidden_layers],
        "heads": vit.num_attention_heads,
        "patch": vit.patch_size,
        "act": vit.hidden_act,
        "mean": pre.get("image_mean", CLIP_MEAN),
        "std": pre.get("image_std", CLIP_STD),
    }
    return from_dict(ImageTowerConfig, sizes, folder.name)


def load_image_tower(folder: Path) -> ImageTower:
    """The tower in one folder; of a whole CLIP model's folder its image half.

    Raises MissingWeights or BadModel.
    """
    try:
        config = _read_config(folder)
    except BadOption as error:
        raise BadModel(f"{folder} is not an image tower: {error}", file=folder) from error
    if config.kind == "vit":
        from transformers import CLIPVisionModelWithProjection

        return ImageTower(config, load_clip(CLIPVisionModelWithProjection, folder))
    network = build_network(config)
    load_weights(network, folder / "model.safetensors")
    return ImageTower(config, network)
