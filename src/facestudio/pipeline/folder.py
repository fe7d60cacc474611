"""Where a model folder lies, and what its index says: all that needs no torch.

`load.py` makes a pipeline of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import facestudio
from facestudio.errors import BadModel, MissingWeights
from facestudio.pipeline.hub import HUB_NAME, fetch_folder

INDEX = "model_index.json"
SHIPPED = Path(facestudio.__file__).parent / "models"
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.md", "*.onnx"]


def find_model(name: str | Path) -> Path:
    """The folder of a model: shipped by name, on this machine, or else fetched from the hub.

    Raises MissingWeights saying where it was looked for.
    """
    shipped = SHIPPED / str(name)
    if "/" not in str(name) and (shipped / INDEX).is_file():
        return shipped
    if Path(name).is_dir():
        return Path(name)
    if HUB_NAME.fullmatch(str(name)):
        return fetch_folder(str(name), HUB_FILES)
    raise MissingWeights(
        f"no model {str(name)!r}: neither shipped in {SHIPPED} nor a folder here",
        file=str(name),
        hint='give "mini", a model folder (`facestudio init` makes one) or owner/name on the hub',
    )


def read_index(folder: Path) -> dict[str, Any]:
    """What `model_index.json` says; raises MissingWeights, BadModel."""
    path = folder / INDEX
    if not path.is_file():
        raise MissingWeights(
            f"{folder} is no model folder: {INDEX} is missing",
            file=str(path),
            hint="was the copy or download complete? `facestudio init` makes a folder",
        )
    try:
        index = json.loads(path.read_text("utf-8"))
    except ValueError as problem:
        raise BadModel(f"{path} is not JSON: {problem}", file=str(path)) from problem
    if not isinstance(index, dict):
        raise BadModel(f"{path} holds no table of parts", file=str(path))
    return index
