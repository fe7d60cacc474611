"""The pipeline's tiny parts, and photos that its detector sees a face in."""

from __future__ import annotations

from pathlib import Path

import pytest

from facestudio.identities.store import IdentityStore
from tests.pipeline.conftest import anna, ben, encoder, make_picture, picture, pipe, seeing

__all__ = ["anna", "ben", "encoder", "picture", "pipe", "seeing"]


@pytest.fixture
def store(tmp_path) -> IdentityStore:
    return IdentityStore(tmp_path / "people")


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    """Two pictures of 256 px, in each of which the tiny detector sees a face of 64."""
    paths = [tmp_path / f"photo-{number}.png" for number in (1, 2)]
    for number, path in enumerate(paths):
        make_picture(number, 256, 256).save(path)
    return paths
