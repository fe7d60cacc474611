"""Where a model computes and in what number type, where nobody says so.

Only networks are told: latents, the scheduler's sums and classifier-free guidance stay in float32.
"""

from __future__ import annotations

import torch

from facestudio.errors import BadOption

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device() -> torch.device:
    """An NVIDIA or AMD card if torch can use one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(device: torch.device) -> torch.dtype:
    """The type in which networks run fastest on a device at hardly any loss.

    On a card bfloat16, or float16 where it has none. On a processor bfloat16 where it multiplies
    bf16 matrices (AMX, AVX-512 BF16), else float32; everything else, Apple's included, float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if device.type == "cpu" and multiplies_bf16() else torch.float32


def at_least_fp32(dtype: torch.dtype) -> torch.dtype:
    """float32, or a wider type as it is."""
    return torch.promote_types(dtype, torch.float32)


def multiplies_bf16() -> bool:
    """Whether this processor has instructions for products of bf16 matrices that torch uses."""
    able = torch.cpu.get_capabilities()
    return torch.backends.mkldnn.is_available() and bool(
        able.get("amx_bf16") or able.get("avx512_bf16")
    )


def read_dtype(given: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    """A type by name or as it is; None and "auto": the best for the device. Raises BadOption."""
    if given is None or given == "auto":
        return choose_dtype(device)
    if isinstance(given, str):
        if given not in DTYPES:
            raise BadOption(f"dtype={given!r}: give auto, {', '.join(DTYPES)}")
        return DTYPES[given]
    if given not in DTYPES.values() and given != torch.float64:
        raise BadOption(f"torch_dtype={given}: give a float type such as torch.bfloat16, or None")
    return given
