"""Which codec a folder holds: ours, or Stable Diffusion's autoencoder."""

from __future__ import annotations

import json
from pathlib import Path

from facestudio.codec.kl import KLCodec
from facestudio.codec.patch import PatchCodec
from facestudio.errors import BadModel, MissingWeights


def load_codec(folder: Path) -> PatchCodec | KLCodec:
    """The codec in a folder that diffusers wrote, in eval mode.

    Raises MissingWeights where there is none, BadModel where it is of another kind.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise MissingWeights(
            f"{folder} holds no codec: it has no config.json",
            file=folder,
            hint="train one (facestudio train codec), or give the folder vae of a model",
        )
    kind = json.loads(config.read_text()).get("_class_name")
    if kind == "PatchCodec":
        return PatchCodec.from_pretrained(folder).eval()
    if kind == "AutoencoderKL":
        from diffusers import AutoencoderKL

        return KLCodec(AutoencoderKL.from_pretrained(folder).eval())
    raise BadModel(f"{folder} holds a {kind}; a codec is a PatchCodec or an AutoencoderKL")
