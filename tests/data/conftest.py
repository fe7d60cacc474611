"""A small WebDataset tar with people, a drawing, a scene and a damaged picture."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facestudio.codec.patch import PatchCodec
from facestudio.data.develop import DeveloperSettings
from facestudio.data.prepare import PrepareSettings, SourceSettings
from facestudio.faces.encoder_folder import NetworkConfig, save_network
from facestudio.faces.network import IdentityNetwork

ENCODER = NetworkConfig(widths=(4, 4, 4), depths=(1, 1, 1), pooled_dim=6, grid_dim=1)
EYES = ((0.375, 0.475), (0.625, 0.475))


def picture_bytes(seed: int, size: int = 48) -> bytes:
    small = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((size, size)).save(buffer, "png")
    return buffer.getvalue()


def write_tar(path: Path, samples: dict[str, tuple[bytes, dict]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for key, (picture, record) in samples.items():
            for suffix, data in (("png", picture), ("json", json.dumps(record).encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def people_tar(tmp_path) -> Path:
    """Three people with two photos each, and one picture that is cut off."""
    samples = {
        f"p{person}_{photo}": (
            picture_bytes(10 * person + photo),
            {"source": "toy", "person": f"p{person}", "split": "train", "attributes": ["Smiling"]},
        )
        for person in range(3)
        for photo in range(2)
    }
    samples["broken"] = (picture_bytes(99)[:60], {"source": "toy"})
    return write_tar(tmp_path / "people.tar.gz", samples)


@pytest.fixture
def scenes_tar(tmp_path) -> Path:
    """Two pictures without a person."""
    record = {"source": "scenes", "captions": ["a red ball on a table"], "split": "train"}
    return write_tar(
        tmp_path / "scenes.tar.gz", {f"s{i}": (picture_bytes(i), record) for i in (1, 2)}
    )


@pytest.fixture
def develop(tmp_path) -> DeveloperSettings:
    torch.manual_seed(0)
    PatchCodec(channels=4, widths=(4, 4, 4), blocks=1).save_pretrained(tmp_path / "codec")
    network = IdentityNetwork(**vars(ENCODER)).eval()
    save_network(network, ENCODER, tmp_path / "id", name="tiny", version="1", licence="CC0")
    return DeveloperSettings(
        codec=tmp_path / "codec", identity=str(tmp_path / "id"), size=32, style_dim=3, batch=4
    )


@pytest.fixture
def settings(tmp_path, people_tar, scenes_tar, develop) -> PrepareSettings:
    sources = (
        SourceSettings(people_tar, eyes=EYES, drawn=1.0),
        SourceSettings(scenes_tar, people=False),
    )
    return PrepareSettings(tmp_path / "set", sources, develop)
