"""`facestudio info`: what is installed here, or what a model is made of."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from facestudio import __version__
from facestudio.cli.console import print_json, print_table
from facestudio.errors import BadModel

MEGABYTE = 1_000_000
LIBRARIES = ("torch", "diffusers", "transformers")


def info(
    model: Annotated[
        str | None,
        typer.Argument(help="mini, a model folder, or a hub name.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell what is installed, or with MODEL what that model is made of and its terms."""
    facts = _describe_installation() if model is None else describe_model(model)
    if as_json:
        print_json({"ok": True, **facts})
    else:
        print_table(list(_rows(facts)))


def describe_model(name: str) -> dict[str, Any]:
    """Folder, parts, identity encoder and licence of a model, or of an encoder alone.

    Raises MissingWeights, BadModel.
    """
    from facestudio.faces.encoder_folder import read_description
    from facestudio.pipeline.folder import INDEX, find_model
    from facestudio.pipeline.origins import card_licence, read_origins

    folder = find_model(name)
    encoder = read_description(folder)
    index = _read_index(folder / INDEX)
    parts = {_part_name(path, folder): _describe_part(path) for path in _part_folders(folder)}
    return {
        "model": index.get("config", {}).get("name", name),
        "folder": str(folder),
        "parts": parts,
        "parameters": sum(part["parameters"] for part in parts.values()),
        "megabytes": round(sum(part["megabytes"] for part in parts.values()), 1),
        "identity": {
            "encoder": f"{encoder.name}@{encoder.version}",
            "numbers": encoder.dimension,
            "calibrated": encoder.calibration is not None,
            "licence": encoder.licence,
        },
        "licence": card_licence(folder),
        "origins": {part: vars(origin) for part, origin in read_origins(folder).items()},
    }


def _read_index(path: Path) -> dict[str, Any]:
    """The model's index; a folder with an identity encoder alone has none."""
    try:
        index = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except ValueError as problem:
        raise BadModel(f"{path} is not JSON: {problem}", file=path) from problem
    if not isinstance(index, dict):
        raise BadModel(f"{path} holds no table of parts", file=path)
    return index


def _part_folders(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.rglob("*.safetensors")})


def _part_name(part: Path, folder: Path) -> str:
    """The part's folder; the identity encoder lies beside them, not in one."""
    return "identity" if part == folder else part.name


def _describe_part(folder: Path) -> dict[str, Any]:
    """Parameters, number types and size of one part, from the headers of its files alone."""
    files = sorted(folder.glob("*.safetensors"))
    tensors = [entry for path in files for entry in _read_header(path)]
    return {
        "parameters": sum(math.prod(entry["shape"]) for entry in tensors),
        "dtypes": sorted({entry["dtype"] for entry in tensors}),
        "megabytes": round(sum(path.stat().st_size for path in files) / MEGABYTE, 1),
    }


def _read_header(path: Path) -> list[dict[str, Any]]:
    """Shape and number type of each tensor in a safetensors file."""
    with path.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return [entry for key, entry in header.items() if key != "__metadata__"]


def _describe_installation() -> dict[str, Any]:
    import torch

    from facestudio.identities.store import user_folder
    from facestudio.pipeline.folder import INDEX, SHIPPED

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "facestudio": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "device": device,
        "threads": torch.get_num_threads(),
        "models": sorted(path.parent.name for path in SHIPPED.glob(f"*/{INDEX}")),
        "user_folder": str(user_folder()),
    }


def _rows(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each fact on a line; facts inside facts by their joined names."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
