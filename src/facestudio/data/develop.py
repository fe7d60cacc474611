"""One picture to one training sample: find the face, crop, embed, encode.

Pictures are read one by one (`Developer.read`, `Developer.draw`) and then embedded and encoded
in batches (`Developer.finish`).
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from facestudio.data.captions import captions_of
from facestudio.data.codecs import load_codec
from facestudio.data.drawing import STYLES
from facestudio.data.shards import Sample
from facestudio.data.sources import RawSample
from facestudio.encoders.image_towers import ImageTowers
from facestudio.errors import FaceTooSmall, NoFace
from facestudio.faces.align import (
    align_face,
    align_portrait,
    face_mask,
    hide_face,
    portrait_eyes,
)
from facestudio.faces.detect import DlibDetector, find_face
from facestudio.faces.embed import encoder_id
from facestudio.faces.load import load_identity_encoder
from facestudio.images import cover, decode_picture

RECORD_KEYS = (
    "source",
    "person",
    "kind",
    "split",
    "attributes",
    "style",
    "age",
    "gender",
    "ethnicity",
    "smile",
)
MASK_CELL_PX = 8


@dataclass(frozen=True)
class DeveloperSettings:
    """The parts that turn pictures into samples, and the sizes they work at."""

    codec: Path | None = None  # folder of a PatchCodec or an AutoencoderKL; none: no latents yet
    identity: str | None = None  # "dlib", a folder of an identity encoder, an ONNX file; none: zero
    towers: Path | None = None  # folder of the image towers; none: styles are zero
    style_dim: int = 1  # of the zero styles where no towers are given
    size: int = 128  # px, square
    min_face_px: int = 40
    detect_px: int = 0  # search once, at this longer side: faster; 0 searches as for a user's photo
    mask_margin: float = 1.0
    quality: int = 90  # webp, of the pictures kept in the shard
    batch: int = 32
    bf16: bool = False  # towers and identity encoder in bf16: faster where the processor has it


@dataclass(frozen=True)
class Negative:
    """A picture that has been read and cropped but not yet embedded or encoded."""

    image: Image.Image  # size × size
    eyes: np.ndarray | None  # (2, 2) in pixels of `image`
    crop: np.ndarray | None  # (112, 112, 3) uint8: the recogniser's view
    record: dict[str, Any]
    encoded: bytes | None = None  # the picture as a file, where that is at hand

    @property
    def is_photo(self) -> bool:
        """Whether it is a photograph of a person whose face was found."""
        return self.crop is not None and self.record.get("kind", "photo") == "photo"


class Developer:
    """Turns raw samples into prepared ones; load it once a process."""

    def __init__(self, settings: DeveloperSettings) -> None:
        self.settings = settings
        side = settings.detect_px
        self.detector = DlibDetector(((side, 0.0),)) if side else DlibDetector()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.codec = load_codec(settings.codec).to(self.device) if settings.codec else None
        self.encoder = load_identity_encoder(settings.identity) if settings.identity else None
        self.towers = ImageTowers.load(settings.towers).to(self.device) if settings.towers else None

    @property
    def encoder_id(self) -> str | None:
        """`name@version` of the identity encoder; None without one."""
        return None if self.encoder is None else encoder_id(self.encoder)

    def read(
        self, raw: RawSample, eyes: Any = None, reframe: bool = False, people: bool = True
    ) -> Negative:
        """Return the cropped picture of a raw sample.

        `eyes`: where they are, as fractions of the picture; None looks for them. Raises
        NotAPicture or TooLarge.
        """
        image = decode_picture(raw.picture, raw.key)
        found = self._known_eyes(raw, image, eyes) if people else None
        record = self._record(raw, has_face=found is not None)
        if found is None:
            return Negative(
                cover(image, self.settings.size, self.settings.size), None, None, record
            )
        crop = align_face(image, found)
        framed, eyes_px = self._frame(image, found, reframe)
        return Negative(framed, eyes_px, crop, record, raw.picture if framed is image else None)

    def draw(self, negative: Negative) -> Negative:
        """Return the same picture in a drawn look chosen by its key, with the photo's identity."""
        key = negative.record["key"]
        chooser = random.Random(f"{key} drawn")
        style = chooser.choice(sorted(STYLES))
        rng = np.random.default_rng(chooser.getrandbits(32))
        image = Image.fromarray(STYLES[style](np.asarray(negative.image), rng))
        record = {**negative.record, "key": f"{key}_{style}", "kind": "drawn", "style": style}
        labels = {name: value for name, value in negative.record.items() if name != "captions"}
        record["captions"] = captions_of(labels, None, look=style)
        return replace(negative, image=image, record=record, encoded=None)

    def finish(self, negatives: Sequence[Negative]) -> list[Sample]:
        """Return prepared samples, embedding and encoding them together."""
        if not negatives:
            return []
        identities = self._identities(negatives)
        arrays = self._encode(negatives)
        samples = []
        for index, negative in enumerate(negatives):
            own = {name: array[index] for name, array in arrays.items()}
            own |= {"identity": identities[index], **self._geometry(negative)}
            picture = negative.encoded or _webp(negative.image, self.settings.quality)
            samples.append(Sample(own, picture, negative.record))
        return samples

    def _known_eyes(self, raw: RawSample, image: Image.Image, eyes: Any) -> np.ndarray | None:
        """Return the eyes in pixels: as prepared before, as the source's layout says, or found."""
        if "prepared_eyes" in raw.record:
            known: np.ndarray = raw.record["prepared_eyes"]
            return None if np.isnan(known).any() else known
        return self._find_eyes(image, eyes)

    def _find_eyes(self, image: Image.Image, eyes: Any) -> np.ndarray | None:
        if eyes is not None:
            return np.array(eyes, np.float32) * np.array([image.width, image.height], np.float32)
        try:
            face = find_face(
                image,
                self.detector,
                largest=True,
                min_px=self.settings.min_face_px,
                retry=not self.settings.detect_px,
            )
        except (NoFace, FaceTooSmall):
            return None
        return np.asarray(face.eyes)

    def _frame(
        self, image: Image.Image, eyes: np.ndarray, reframe: bool
    ) -> tuple[Image.Image, np.ndarray]:
        size = self.settings.size
        if reframe:
            return align_portrait(image, eyes, size), portrait_eyes(size).astype(np.float32)
        if image.size == (size, size):
            return image, eyes
        scale = size / min(image.width, image.height)
        shift = (np.array([image.width, image.height]) * scale - size) / 2
        return cover(image, size, size), (eyes * scale - shift).astype(np.float32)

    def _record(self, raw: RawSample, has_face: bool) -> dict[str, Any]:
        record = {key: raw.record[key] for key in RECORD_KEYS if key in raw.record}
        prepared = "prepared_eyes" in raw.record
        captions = raw.record["captions"] if prepared else captions_of(raw.record, raw.caption)
        record.setdefault("source", "pictures")
        return {"key": raw.key, **record, "captions": captions, "has_face": has_face}

    def _identities(self, negatives: Sequence[Negative]) -> np.ndarray:
        """Return (N, D): the encoder's vectors, zero where there is no face."""
        if self.encoder is None:
            return np.zeros((len(negatives), 1), np.float32)
        vectors = np.zeros((len(negatives), self.encoder.dimension), np.float32)
        crops = {i: n.crop for i, n in enumerate(negatives) if n.crop is not None}
        if crops:
            with self._precision():
                vectors[list(crops)] = self.encoder.embed(np.stack(list(crops.values())))
        return vectors

    @torch.no_grad()
    def _encode(self, negatives: Sequence[Negative]) -> dict[str, np.ndarray]:
        pixels = to_pixels([negative.image for negative in negatives]).to(self.device)
        styles = self._styles(negatives, pixels)
        if self.codec is None:
            return styles
        return {
            "latents": self.codec.encode(pixels).cpu().numpy(),
            "latents_flipped": self.codec.encode(pixels.flip(-1)).cpu().numpy(),
            **styles,
        }

    def _styles(self, negatives: Sequence[Negative], pixels: torch.Tensor) -> dict[str, np.ndarray]:
        """Return the towers' view with faces hidden and of the whole; the same without a face."""
        if self.towers is None:
            nothing = np.zeros((len(negatives), self.settings.style_dim), np.float32)
            return {"style": nothing, "style_whole": nothing}
        with_face = [i for i, negative in enumerate(negatives) if negative.eyes is not None]
        with self._precision():
            whole = self.towers(pixels).float().cpu().numpy()
            styles = whole.copy()
            if with_face:
                hidden = to_pixels([self._hidden(negatives[i]) for i in with_face])
                styles[with_face] = self.towers(hidden.to(self.device)).float().cpu().numpy()
        return {"style": styles, "style_whole": whole}

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16)

    def _hidden(self, negative: Negative) -> Image.Image:
        if negative.eyes is None:
            return negative.image
        return hide_face(negative.image, negative.eyes, self.settings.mask_margin)

    def _geometry(self, negative: Negative) -> dict[str, np.ndarray]:
        """Return eyes, box and the mask at the latents' size."""
        size, cells = self.settings.size, self.settings.size // MASK_CELL_PX
        if negative.eyes is None:
            nothing = np.float32("nan")
            return {
                "eyes": np.full((2, 2), nothing),
                "box": np.full(4, nothing),
                "mask": np.zeros((cells, cells), np.uint8),
            }
        mask = face_mask(size, size, negative.eyes, self.settings.mask_margin)
        rows, columns = np.nonzero(mask)
        box = (
            [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0] * 4
        )
        share = mask.reshape(cells, MASK_CELL_PX, cells, MASK_CELL_PX).mean((1, 3))
        return {
            "eyes": negative.eyes,
            "box": np.array(box, np.float32),
            "mask": (share >= 0.5).astype(np.uint8),
        }


def to_pixels(images: Sequence[Image.Image | np.ndarray] | np.ndarray) -> torch.Tensor:
    """Return float pixels (N, 3, H, W) in -1...1 of pictures of one size."""
    stacked = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1


def _webp(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=quality, method=1)
    return buffer.getvalue()
