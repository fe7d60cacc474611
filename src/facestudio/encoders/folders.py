"""Reading towers from a model folder, with refusals that name the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from facestudio.errors import BadModel, MissingWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel  # two seconds of imports, for whoever reads a tower

Model = TypeVar("Model", bound="PreTrainedModel")
HALVES = ("text_config", "vision_config")  # in the config of a whole CLIP model


def tower_folders(folder: Path, prefix: str) -> list[Path]:
    """The folders `<prefix>0`, `<prefix>1`, ...; raises MissingWeights if there is none."""
    found: list[Path] = []
    while (path := folder / f"{prefix}{len(found)}").is_dir():
        found.append(path)
    if not found:
        raise MissingWeights(
            f"no {prefix}0 in {folder}",
            file=folder,
            hint="a model folder holds one folder per tower; was the download complete?",
        )
    return found


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises MissingWeights or BadModel."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingWeights(f"{path.name} is missing in {path.parent}", file=path) from error
    except ValueError as error:
        raise BadModel(f"{path} is not JSON: {error}", file=path) from error
    if not isinstance(values, dict):
        raise BadModel(f"{path} holds {type(values).__name__}, wanted an object", file=path)
    return values


def read_size(folder: Path, name: str, kind: str) -> int:
    """A number in the config of a transformers model; raises MissingWeights or BadModel.

    What the file leaves out, or says of the halves of a whole CLIP model, `kind` knows: the name of
    transformers' class of such configs.
    """
    saved = read_json(folder / "config.json")
    if isinstance(size := saved.get(name), int) and not any(half in saved for half in HALVES):
        return size
    config = getattr(import_module("transformers"), kind).from_pretrained(folder)
    return int(getattr(config, name))


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill `network` from a safetensors file; raises MissingWeights or BadModel."""
    if not path.is_file():
        raise MissingWeights(f"{path.name} is missing in {path.parent}", file=path)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise BadModel(f"{path}: weights do not load: {error}", file=path) from error


def load_clip(kind: type[Model], folder: Path) -> Model:
    """A transformers model from its folder with every weight present, in eval mode.

    Raises MissingWeights without a weights file, BadModel where weights are absent or misshapen
    (transformers would fill them with noise and only warn).
    """
    try:
        with quiet_bars():
            loaded = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except OSError as error:
        raise MissingWeights(f"no weights in {folder}: {error}", file=folder) from error
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise BadModel(f"{folder}: weights do not load: {error}", file=folder) from error
    model, info = loaded
    if absent := sorted(info["missing_keys"]):
        message = f"{folder}: {len(absent)} weights are absent, the first is {absent[0]}"
        raise BadModel(message, file=folder)
    model.eval()
    return cast(Model, model)


@contextmanager
def quiet_bars(log: Any = None) -> Iterator[None]:
    """Hold back the bars over parts read in a second: transformers', or another `log`'s."""
    log = log or import_module("transformers.utils.logging")
    shown = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            log.enable_progress_bar()
