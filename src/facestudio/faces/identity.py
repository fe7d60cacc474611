"""Who someone is: one embedding out of photos, mixed with others, kept in a file.

An embedding's first `compare_dim` numbers are the recogniser's vector (root mean square 1);
the rest, if any, says how the face looks, place by place. A file holds embeddings only, never a
photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facestudio.errors import BadModel, BadOption, EncoderMismatch, MissingFile
from facestudio.faces.calibration import unit_rms
from facestudio.faces.embed import IdentityEncoder, encoder_id
from facestudio.images import check_output, write_bytes

__all__ = ["Identity", "load_identity", "mix_identities"]

FORMAT = "facestudio-identity"


@dataclass(frozen=True, eq=False)
class Identity:
    """A person, as one encoder sees them.

    `embedding` is float32 (dim,); `encoder` is "name@version"; `photos` is float32 (n, dim),
    the embeddings that went in.
    """

    embedding: np.ndarray
    encoder: str
    compare_dim: int
    photos: np.ndarray

    @classmethod
    def from_photos(cls, vectors: np.ndarray, encoder: IdentityEncoder) -> Identity:
        """One person out of the embeddings (n, dim) or (dim,) of their photos.

        The recogniser's vector is their mean. What an encoder says beyond it lies in places, where
        faces that look elsewhere would blur each other: it is of the photo nearest to the mean.
        """
        photos = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
        if not len(photos) or photos.shape[1] != encoder.dimension:
            wanted = f"(n, {encoder.dimension}) from {encoder_id(encoder)}"
            raise BadOption(f"embeddings have the shape {photos.shape}; wanted {wanted}")
        compared = photos[:, : encoder.compare_dim]
        mean = compared.mean(axis=0)
        lengths = np.linalg.norm(compared, axis=1).clip(1e-12)
        nearest = int((compared @ mean / lengths).argmax())
        whole = np.concatenate([mean, photos[nearest, encoder.compare_dim :]])
        embedding = _renormalised(whole, encoder.compare_dim)
        return cls(embedding, encoder_id(encoder), encoder.compare_dim, photos)

    @property
    def compared(self) -> np.ndarray:
        """The recogniser's vector alone, (compare_dim,)."""
        return self.embedding[: self.compare_dim]

    def mix(self, other: Identity, weight: float = 0.5) -> Identity:
        """One face out of two; `weight` in 0...1 is the other's share."""
        if not 0 <= weight <= 1:
            raise BadOption(f"weight is {weight}; it must be in 0...1")
        return mix_identities([self, other], [1 - weight, weight])

    def require_encoder(self, encoder: str) -> None:
        """Raise EncoderMismatch unless this identity was made by `encoder` ("name@version")."""
        if self.encoder != encoder:
            message = f"the identity was made by {self.encoder}; {encoder} is needed"
            raise EncoderMismatch(message, hint="make it again from the photos with this model")

    def save(
        self,
        path: str | Path,
        tensors: Mapping[str, np.ndarray] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Write a .safetensors file, all or nothing; more tensors and notes may lie beside.

        Raises BadOutput, NoSpace.
        """
        from safetensors.numpy import save

        check_output(path, [".safetensors"])
        metadata = {
            **(notes or {}),
            "format": FORMAT,
            "encoder": self.encoder,
            "compare_dim": str(self.compare_dim),
        }
        stored = {
            **(tensors or {}),
            "embedding": np.ascontiguousarray(self.embedding, dtype=np.float32),
            "photos": np.ascontiguousarray(self.photos, dtype=np.float32),
        }
        write_bytes(path, save(stored, metadata))


def mix_identities(identities: Sequence[Identity], weights: Sequence[float]) -> Identity:
    """One face out of several: the weighted mean, weights brought to a sum of 1.

    The recogniser's part is brought back to root mean square 1 (the paper, section 3.2, leaves
    both open). The photos of all that have a share are kept. Raises BadOption, EncoderMismatch.
    """
    shares = np.asarray(weights, dtype=np.float64)
    if not identities or len(identities) != len(shares):
        raise BadOption(f"{len(shares)} weights for {len(identities)} identities; one each")
    if not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum() > 0:
        raise BadOption(f"weights are {list(weights)}; none may be negative, one must be over 0")
    first = identities[0]
    for identity in identities[1:]:
        identity.require_encoder(first.encoder)
    shares /= shares.sum()
    embedding = (shares @ np.stack([i.embedding for i in identities])).astype(np.float32)
    used = [i.photos for i, share in zip(identities, shares, strict=True) if share > 0]
    embedding = _renormalised(embedding, first.compare_dim)
    return Identity(embedding, first.encoder, first.compare_dim, np.concatenate(used))


def load_identity(path: str | Path) -> Identity:
    """The identity in a file that `save` wrote. Raises MissingFile, BadModel."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise MissingFile(f"no identity file at {path}", file=path, hint="check the name")
    try:
        with safe_open(path, framework="numpy") as stored:
            metadata = stored.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise BadModel(f"{path} holds no identity", file=path)
            embedding, photos = stored.get_tensor("embedding"), stored.get_tensor("photos")
            compare_dim = int(metadata["compare_dim"])
            return Identity(embedding, metadata["encoder"], compare_dim, photos)
    except (SafetensorError, OSError, KeyError, ValueError) as problem:
        raise BadModel(f"{path} is no identity file: {problem}", file=path) from problem


def _renormalised(embedding: np.ndarray, compare_dim: int) -> np.ndarray:
    compared = unit_rms(embedding[:compare_dim])
    return np.concatenate([compared, embedding[compare_dim:]]).astype(np.float32)
