"""Train an identity encoder of our own: small, and taught by a stronger recogniser.

The pooled head learns the teacher's vectors (distillation), drawn halfway to the mean over the
person's photos so that what differs between photos of one person counts less, and the teacher's
similarities within a batch. With `arcface_weight` it also learns to tell the people apart (ArcFace,
arXiv 1801.07698). The grid head learns what a face looks like: a linear map of it must redraw
another photo of the person, small.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.data.develop import to_pixels
from facestudio.data.shards import PreparedSet
from facestudio.errors import BadOption, PictureError
from facestudio.faces.align import align_face
from facestudio.faces.calibration import Calibration, calibrate
from facestudio.faces.embed import NetworkEncoder
from facestudio.faces.encoder_folder import NetworkConfig, load_network, save_network
from facestudio.faces.load import load_identity_encoder
from facestudio.faces.network import CROP_PX, IdentityNetwork
from facestudio.settings import to_dict
from facestudio.training.loop import LoopSettings, Report, train_task

REDRAWN_PX = 28
LICENCE = "for non-commercial research, as the pictures it was trained on"


@dataclass(frozen=True)
class Settings:
    """All that `facestudio train encoder` needs."""

    data: tuple[Path, ...]
    teacher: str  # an identity encoder: an ONNX file, a folder, "dlib"
    loop: LoopSettings
    network: NetworkConfig = field(default_factory=NetworkConfig)
    name: str = "mini-face"
    version: str = "1"
    relation_weight: float = 2.0
    redraw_weight: float = 0.5
    arcface_weight: float = 0.0
    arcface_margin: float = 0.3  # radians
    arcface_scale: float = 32.0
    held_out: tuple[str, ...] = ("test",)
    calibration_people: int = 1000
    init: Path | None = None  # folder of an encoder of the same shape to start from


class Student(nn.Module):
    """The network with the heads that only training needs."""

    def __init__(self, network: IdentityNetwork, people: int) -> None:
        super().__init__()
        self.network = network
        self.redraw = nn.Linear(network.grid_norm.num_features, 3 * REDRAWN_PX**2)
        self.centres = nn.Parameter(torch.randn(people, network.pooled_dim) * 0.05)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unit vectors (B, pooled_dim) and the redrawn faces (B, 3, 28, 28)."""
        vectors = self.network(crops)
        pooled, grid = vectors.split([self.network.pooled_dim, self.redraw.in_features], dim=-1)
        return pooled, self.redraw(grid).unflatten(-1, (3, REDRAWN_PX, REDRAWN_PX))


class EncoderTask:
    """Aligned crops with the teacher's vectors and another photo of the same person."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = PreparedSet(settings.data, ("pictures", "eyes"))
        photos = (i for i in range(len(self.data)) if self._is_photo(i))
        crops = {i: crop for i in photos if (crop := self._crop(i)) is not None}
        if not crops:
            raise BadOption("the data has no photos of faces to train on")
        self.indices = list(crops)
        self.crops = np.stack(list(crops.values()))
        _, self.person = np.unique([self._person(i) for i in self.indices], return_inverse=True)
        held = [self.data.records[i].get("split") in settings.held_out for i in self.indices]
        self.trained = np.flatnonzero(~np.array(held))
        if not len(self.trained):
            raise BadOption("the data has no photos of faces outside held_out to train on")
        self.targets = self._targets()
        self.photos: dict[int, list[int]] = defaultdict(list)
        for index in self.trained:
            self.photos[int(self.person[index])].append(int(index))
        torch.manual_seed(settings.loop.seed)
        shape = settings.network
        network = IdentityNetwork(shape.widths, shape.depths, shape.pooled_dim, shape.grid_dim)
        if settings.init is not None:
            network.load_state_dict(load_network(settings.init, shape).state_dict())
        self.model = Student(network, int(self.person.max()) + 1)

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return augmented crops, target vectors, person numbers, and the photo to redraw."""
        chosen = rng.choice(self.trained, size)
        others = [int(rng.choice(self.photos[int(self.person[i])])) for i in chosen]
        mirrored = torch.from_numpy(rng.random(size) < 0.5)
        redrawn = F.interpolate(to_pixels(self.crops[others]), REDRAWN_PX, mode="area")
        redrawn[mirrored] = redrawn[mirrored].flip(-1)
        return {
            "crops": augment(to_pixels(self.crops[chosen]), mirrored),
            "targets": self.targets[chosen],
            "people": torch.from_numpy(self.person[chosen]),
            "redrawn": redrawn,
        }

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted sum of the losses; logs each of them."""
        settings = self.settings
        pooled, redrawn = model(batch["crops"])
        cosine = (pooled * batch["targets"]).sum(-1).mean()
        relation = (pooled @ pooled.T - batch["targets"] @ batch["targets"].T).square().mean()
        redraw = F.mse_loss(redrawn, batch["redrawn"])
        total = 1 - cosine + settings.relation_weight * relation + settings.redraw_weight * redraw
        if settings.arcface_weight:
            centres = F.normalize(_student(model).centres, dim=-1)
            total = total + settings.arcface_weight * arcface_loss(
                pooled @ centres.T, batch["people"], settings.arcface_margin, settings.arcface_scale
            )
        return total, {"cosine": cosine.item(), "redraw": redraw.item()}

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Return crops above their small redrawn faces."""
        crops = to_pixels(self.crops[self.trained[:8]])
        with torch.no_grad():
            redrawn = F.interpolate(model(crops)[1], CROP_PX)
        sheet = torch.cat([torch.cat(list(r), dim=-1) for r in (crops, redrawn)], dim=-2)
        return ((sheet.clamp(-1, 1).permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the folder of the encoder, with a calibration from people not trained on."""
        self._save(_student(model).network, folder, None)
        encoder = NetworkEncoder(folder)
        some = self._calibration_crops()
        calibration = calibrate(encoder, encoder.embed(self.crops[some]), list(self.person[some]))
        self._save(_student(model).network, folder, calibration)

    def _save(
        self, network: IdentityNetwork, folder: Path, calibration: Calibration | None
    ) -> None:
        settings = self.settings
        save_network(
            network,
            settings.network,
            folder,
            name=settings.name,
            version=settings.version,
            licence=LICENCE,
            calibration=calibration,
        )

    def _calibration_crops(self) -> np.ndarray:
        held = np.setdiff1d(np.arange(len(self.indices)), self.trained)
        pool = held if len(set(self.person[held])) > 1 else self.trained
        return pool[: 3 * self.settings.calibration_people]

    def _targets(self) -> Tensor:
        """Return unit vectors (N, D): the teacher's, halfway to the mean of the person's."""
        path = self.settings.loop.out / "teacher.npy"
        if path.is_file() and len(known := np.load(path)) == len(self.crops):
            own = known
        else:
            own = load_identity_encoder(self.settings.teacher).embed(self.crops)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, own)
        unit = F.normalize(torch.from_numpy(own), dim=-1)
        sums = torch.zeros(int(self.person.max()) + 1, unit.shape[1])
        sums.index_add_(0, torch.from_numpy(self.person), unit)
        return F.normalize(unit + F.normalize(sums, dim=-1)[self.person], dim=-1)

    def _is_photo(self, index: int) -> bool:
        record = self.data.records[index]
        seen = not np.isnan(self.data.arrays["eyes"][index]).any()
        return seen and record.get("kind", "photo") == "photo"

    def _person(self, index: int) -> str:
        record = self.data.records[index]
        return str(record.get("person") or record["key"])

    def _crop(self, index: int) -> np.ndarray | None:
        """Return the recogniser's crop, or None where the picture is damaged."""
        try:
            image = Image.fromarray(self.data.picture(index))
        except PictureError as problem:
            self.data.leave_out(self.data.records[index]["key"], str(problem))
            return None
        return align_face(image, self.data.arrays["eyes"][index])


def arcface_loss(cosines: Tensor, people: Tensor, margin: float, scale: float) -> Tensor:
    """Return ArcFace's loss of cosines (B, people): the own angle must win by `margin` radians."""
    own = cosines.gather(1, people[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    harder = (own.acos() + margin).clamp(max=math.pi).cos()
    return F.cross_entropy(scale * cosines.scatter(1, people[:, None], harder), people)


def augment(crops: Tensor, mirrored: Tensor) -> Tensor:
    """Return crops (B, 3, H, W) slightly moved, recoloured, some grey or blurred; never past ±1."""
    moved = F.grid_sample(
        crops,
        F.affine_grid(_small_moves(mirrored), list(crops.shape), align_corners=False),
        padding_mode="border",
        align_corners=False,
    )
    count = len(crops)
    gain = 1 + (torch.rand(count, 1, 1, 1) - 0.5) * 0.5
    shift = (torch.rand(count, 3, 1, 1) - 0.5) * 0.15 + (torch.rand(count, 1, 1, 1) - 0.5) * 0.3
    coloured = moved * gain + shift
    grey = torch.rand(count) < 0.12
    coloured[grey] = coloured[grey].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    blurred = torch.rand(count) < 0.2
    if blurred.any():
        small = F.interpolate(coloured[blurred], scale_factor=0.4, mode="bilinear", antialias=True)
        coloured[blurred] = F.interpolate(small, crops.shape[-2:], mode="bilinear")
    return coloured.clamp(-1, 1)


def _small_moves(mirrored: Tensor) -> Tensor:
    """Return affine matrices (B, 2, 3): turned up to 6°, scaled 8 %, shifted 5 % of half a side."""
    count = len(mirrored)
    angle, scale = (torch.rand(count) - 0.5) * 0.2, 1 + (torch.rand(count) - 0.5) * 0.16
    x, y = (torch.rand(2, count) - 0.5) * 0.1
    flip = torch.where(mirrored, -1.0, 1.0)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cosine * flip, -sine, x], 1), torch.stack([sine * flip, cosine, y], 1)]
    return torch.stack(rows, 1)


def _student(model: nn.Module) -> Student:
    inner = getattr(model, "module", model)  # as DistributedDataParallel wraps it
    assert isinstance(inner, Student)
    return inner


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the encoder's folder."""
    return train_task(EncoderTask(settings), settings.loop, to_dict(settings), report)
