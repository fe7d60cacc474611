"""Portraits of a person in any style, from one photo: FaceStudio (arXiv 2312.02663).

    from facestudio import FaceStudioPipeline

    pipe = FaceStudioPipeline.from_pretrained("mini")
    pipe("anna.jpg", prompt="an ink drawing, smiling").images[0].save("anna.png")

Names load on first use: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from facestudio._garbage import leaving_garbage

if TYPE_CHECKING:
    from facestudio.client import Client
    from facestudio.errors import (
        FaceStudioError,
        MachineError,
        ModelError,
        OptionError,
        PictureError,
    )
    from facestudio.faces.identity import Identity, load_identity, mix_identities
    from facestudio.pipeline.output import FaceStudioOutput
    from facestudio.pipeline.pipeline import FaceStudioPipeline

__version__ = "0.1.0"

_HOMES = {
    "Client": "facestudio.client",
    "FaceStudioPipeline": "facestudio.pipeline.pipeline",
    "FaceStudioOutput": "facestudio.pipeline.output",
    "Identity": "facestudio.faces.identity",
    "load_identity": "facestudio.faces.identity",
    "mix_identities": "facestudio.faces.identity",
    "FaceStudioError": "facestudio.errors",
    "OptionError": "facestudio.errors",
    "PictureError": "facestudio.errors",
    "ModelError": "facestudio.errors",
    "MachineError": "facestudio.errors",
}

__all__ = [
    "Client",
    "FaceStudioError",
    "FaceStudioOutput",
    "FaceStudioPipeline",
    "Identity",
    "MachineError",
    "ModelError",
    "OptionError",
    "PictureError",
    "__version__",
    "load_identity",
    "mix_identities",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'facestudio' has no attribute {name!r}")
    with leaving_garbage():
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
