"""Reading a network from its file as it is mapped, so that it never lies in memory twice.

safetensors maps a whole file too, and what was read of it stays resident beside the network's own
numbers until the file is closed. Here each tensor is cast as it is copied out of the map, or packed
at once (`packed.py`), and its pages are let go.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor, nn

from facestudio.guidance.attention import install_region_attention
from facestudio.pipeline.packed import pack

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
MAX_HEADER = 100_000_000  # bytes, as safetensors has it


def read_streamed(kind: Any, folder: Path, dtype: torch.dtype, packed: bool = False) -> Any | None:
    """The network of class `kind` in a folder of diffusers' form, in `dtype` and in eval mode.

    packed: with its layers laid out for this processor, which needs no room beside them.
    None where names or shapes are not the network's own: diffusers knows older forms of files; and
    where the network has numbers that are in no file.
    Raises SafetensorError where a file is not what it says.
    """
    (path, *more) = sorted(folder.glob("*.safetensors"))
    with torch.device("meta"):
        network = kind.from_config(kind.load_config(folder, local_files_only=True))
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    unsaved = any(module._non_persistent_buffers_set for module in network.modules())
    header = read_header(path)
    found = {name: torch.Size(entry["shape"]) for name, entry in header.items()}
    unread = any(entry["dtype"] not in DTYPES for entry in header.values())
    if more or unsaved or unread or found != wanted:
        return None
    file = MappedFile(path, header)
    for name, tensor in file.tensors():
        place(network, name, tensor)
    if packed:
        if isinstance(network, UNet2DConditionModel):
            install_region_attention(network)  # what packs attention must know which it is
        pack(network, lambda layer: file.cast(layer, dtype))
    file.settle(network, dtype)
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


class MappedFile:
    """A safetensors file in the address space: nothing is read before it is looked at."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.name, self.header = path.name, header
        with path.open("rb") as file:
            self.start = 8 + int.from_bytes(file.read(8), "little")
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        first = torch.frombuffer(self.map, dtype=torch.uint8, count=1).data_ptr()
        self.places = range(first, first + len(self.map))

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors, which lie in the map."""
        for name, entry in self.header.items():
            dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
            first, last = (self.start + offset for offset in entry["data_offsets"])
            count = math.prod(shape)
            if last > len(self.map) or last - first != count * dtype.itemsize:
                raise SafetensorError(f"{self.name} ends within {name}")
            empty = torch.empty(0, dtype=dtype)
            flat = torch.frombuffer(self.map, dtype=dtype, count=count, offset=first)
            yield name, (flat if count else empty).view(shape)

    def cast(self, module: nn.Module, dtype: torch.dtype) -> None:
        """Give the module its tensors in `dtype`; those that are in it stay in the map."""
        self._own(module, dtype, copy=False)

    def settle(self, module: nn.Module, dtype: torch.dtype) -> None:
        """Give the module what of its tensors lies in the map as tensors of its own, in `dtype`."""
        self._own(module, dtype, copy=True)

    def _own(self, module: nn.Module, dtype: torch.dtype, copy: bool) -> None:
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.data_ptr() in self.places:
                tensor.data = tensor.to(dtype, copy=copy)
        if hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)  # what was read of it need not stay in memory


def place(network: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor where a parameter or buffer of that name has been left empty."""
    owner, _, leaf = name.rpartition(".")
    module = network.get_submodule(owner)
    if leaf in module._parameters:
        module._parameters[leaf] = nn.Parameter(tensor)
    else:
        module._buffers[leaf] = tensor
