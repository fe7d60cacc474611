"""Reading a network tensor by tensor, so that it never lies in memory twice.

safetensors maps a whole file, and what was read of it stays resident beside the network's own
numbers until the file is closed. Here each tensor is read, cast, and let go.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError
from torch import Tensor, nn

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
MAX_HEADER = 100_000_000  # bytes, as safetensors has it


def read_streamed(kind: Any, folder: Path, dtype: torch.dtype) -> Any | None:
    """The network of class `kind` in a folder of diffusers' form, in `dtype` and in eval mode.

    None where names or shapes are not the network's own: diffusers knows older forms of files.
    Raises SafetensorError where a file is not what it says.
    """
    (path, *more) = sorted(folder.glob("*.safetensors"))
    with init_empty_weights():
        network = kind.from_config(kind.load_config(folder, local_files_only=True))
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    header = read_header(path)
    found = {name: torch.Size(entry["shape"]) for name, entry in header.items()}
    if more or found != wanted or any(entry["dtype"] not in DTYPES for entry in header.values()):
        return None
    for name, tensor in read_tensors(path, header):
        place(network, name, tensor.to(dtype))
    return network.eval()


def read_header(path: Path) -> dict[str, Any]:
    """What a safetensors file says of each of its tensors: dtype, shape, data_offsets."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size < MAX_HEADER:
            raise SafetensorError(f"{path.name} has a header of {size} bytes")
        header: dict[str, Any] = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return header


def read_tensors(path: Path, header: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a safetensors file, in the order in which they lie there."""
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
            tensor = torch.empty(math.prod(shape), dtype=dtype)
            file.seek(start + entry["data_offsets"][0])
            room = tensor.view(torch.uint8).numpy()
            if file.readinto(room.data) != len(room):
                raise SafetensorError(f"{path.name} ends within {name}")
            yield name, tensor.view(shape)


def place(network: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor where a parameter or buffer of that name has been left empty."""
    owner, _, leaf = name.rpartition(".")
    module = network.get_submodule(owner)
    if leaf in module._parameters:
        module._parameters[leaf] = nn.Parameter(tensor)
    else:
        module._buffers[leaf] = tensor
