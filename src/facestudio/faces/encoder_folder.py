"""The folder that an identity encoder is kept in.

`identity.json` describes it; beside it lie the weights where they are not part of a package:
`identity.safetensors` (our own network) or `identity.onnx`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.faces.calibration import Calibration
from facestudio.images import write_bytes
from facestudio.settings import from_dict, to_dict

if TYPE_CHECKING:
    from facestudio.faces.network import IdentityNetwork

__all__ = [
    "DESCRIPTION",
    "FACE_MAP",
    "NETWORK_WEIGHTS",
    "ONNX_WEIGHTS",
    "EncoderDescription",
    "NetworkConfig",
    "ValueRange",
    "load_network",
    "read_description",
    "save_network",
    "write_description",
]

DESCRIPTION = "identity.json"
NETWORK_WEIGHTS = "identity.safetensors"
ONNX_WEIGHTS = "identity.onnx"
FACE_MAP = "face_map"

ValueRange = Literal["0..255", "-1..1"]


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of an IdentityNetwork."""

    widths: tuple[int, ...] = (48, 96, 192)
    depths: tuple[int, ...] = (2, 3, 2)
    pooled_dim: int = 512
    grid_dim: int = 32


@dataclass(frozen=True)
class EncoderDescription:
    """What identity.json holds."""

    kind: Literal["dlib", "network", "onnx", "insightface"]
    name: str
    version: str
    dimension: int
    compare_dim: int
    licence: str
    calibration: dict[str, Any] | None = None
    network: NetworkConfig | None = None
    value_range: ValueRange | None = None
    face_map: bool | None = None  # a FaceMapper lies in the folder FACE_MAP beside

    def read_calibration(self) -> Calibration | None:
        """The calibration, if one was measured. Raises BadModel."""
        return Calibration.from_dict(self.calibration) if self.calibration else None


def read_description(folder: str | Path) -> EncoderDescription:
    """What the folder's identity.json says. Raises MissingWeights, BadModel."""
    path = Path(folder) / DESCRIPTION
    try:
        described = from_dict(EncoderDescription, json.loads(path.read_text("utf-8")))
    except OSError as problem:
        hint = "give a folder with identity.json, a path to an .onnx file, or dlib"
        message = f"no identity encoder in {folder}: {DESCRIPTION} cannot be read"
        raise MissingWeights(message, file=path, hint=hint) from problem
    except (ValueError, BadOption) as problem:
        raise BadModel(f"{path} cannot be used: {problem}", file=path) from problem
    described.read_calibration()
    return described


def write_description(folder: str | Path, described: EncoderDescription) -> None:
    """Write identity.json; keys that say nothing are left out."""
    plain = {key: value for key, value in to_dict(described).items() if value is not None}
    write_bytes(Path(folder) / DESCRIPTION, (json.dumps(plain, indent=1) + "\n").encode())


def save_network(
    network: IdentityNetwork,
    config: NetworkConfig,
    folder: str | Path,
    *,
    name: str,
    version: str,
    licence: str,
    calibration: Calibration | None = None,
) -> None:
    """Write a trained network as the folder that `NetworkEncoder` reads."""
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    write_bytes(folder / NETWORK_WEIGHTS, save(state))
    described = EncoderDescription(
        kind="network",
        name=name,
        version=version,
        dimension=config.pooled_dim + _grid_numbers(network),
        compare_dim=config.pooled_dim,
        licence=licence,
        calibration=calibration.to_dict() if calibration else None,
        network=config,
    )
    write_description(folder, described)


def load_network(folder: str | Path, config: NetworkConfig) -> IdentityNetwork:
    """The folder's network in evaluation mode, float32. Raises MissingWeights, BadModel."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from facestudio.faces.network import IdentityNetwork

    path = Path(folder) / NETWORK_WEIGHTS
    if not path.is_file():
        raise MissingWeights(f"{path} is missing", file=path, hint="copy the whole model folder")
    try:
        network = IdentityNetwork(config.widths, config.depths, config.pooled_dim, config.grid_dim)
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, ValueError) as problem:
        raise BadModel(f"{path} does not fit {DESCRIPTION}: {problem}", file=path) from problem
    return network.requires_grad_(False).eval()


def _grid_numbers(network: IdentityNetwork) -> int:
    return int(network.grid_norm.num_features)
