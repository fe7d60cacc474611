"""An autoencoder that is read when the first picture is decoded, or encoded.

The steps of a picture do without it: a command that starts cold takes its first step sooner, and
until the last has been taken its weights lie in no memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from torch import Tensor

from facestudio.codec.kl import KLCodec
from facestudio.errors import BadModel


class LateCodec:
    """Stands for a KLCodec whose weights are read once they are needed, and kept.

    read: what reads it. config: its `config.json`, which says its sizes.
    Raises BadModel where that file does not; and what `read` raises, then.
    """

    def __init__(self, read: Callable[[], KLCodec], config: Path) -> None:
        self._read, self._found, self._reading = read, None, Lock()
        try:
            sizes = json.loads(config.read_text("utf-8"))
            self.factor: int = 2 ** (len(sizes["block_out_channels"]) - 1)
            self.channels = int(sizes["latent_channels"])
        except (ValueError, KeyError, TypeError) as problem:
            message = f"{config} does not say the sizes of an autoencoder: {problem!r}"
            raise BadModel(message, file=str(config)) from problem

    _found: KLCodec | None

    @property
    def is_read(self) -> bool:
        """Whether the weights lie in memory."""
        return self._found is not None

    def read(self) -> KLCodec:
        """The codec itself."""
        with self._reading:
            if self._found is None:
                self._found = self._read()
            return self._found

    def encode(self, pixels: Tensor) -> Tensor:
        """As the codec's."""
        return self.read().encode(pixels)

    def decode(self, latents: Tensor, style: Tensor | None = None) -> Tensor:
        """As the codec's."""
        return self.read().decode(latents, style)
