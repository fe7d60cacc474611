"""How surely the watermark is found, how rarely by mistake, and what it costs; JSON and a table.

    python -m benchmarks.watermark [PICTURES…] --clean FOLDER --recogniser mobilefacenet.onnx:0..255

from the root of the checkout. PICTURES are files or folders of generated pictures without the
mark, measured as they are; where none are named, mini draws them: people of the clean folder in
the page's styles and in words. Pictures in the clean folder (photos named PERSON_0, PERSON_1, …)
are measured for false alarms; and, brought to 128 and 512 px and marked, for the loss of likeness
between the two photos of a person.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from facestudio import FaceStudioPipeline
from facestudio.errors import PictureError
from facestudio.evaluation.recognisers import find_central, load_detector
from facestudio.faces.align import align_face
from facestudio.faces.detect import Detector
from facestudio.faces.embed import IdentityEncoder
from facestudio.faces.load import load_identity_encoder
from facestudio.images import PICTURE_SUFFIXES, read_picture
from facestudio.pipeline.likeness import enlarge
from facestudio.provenance.watermark import THRESHOLD, add_watermark, find_watermark
from facestudio.web.swatches import read_swatches

Damage = Callable[[Image.Image], Image.Image]
PROMPTS = (
    "a portrait photo of a person", "a pencil drawing of a person", "an ink drawing of a person",
    "a cartoon of a person", "a painting of a person",
)  # fmt: skip
KEYS = 10  # wrong keys asked of every clean picture
SIDES = (128, 512)


def main() -> None:
    """Measure, write, print."""
    words = read_words()
    generated = (
        read_all(words.pictures, words.count)
        if words.pictures
        else draw_portraits(list_in(words.clean), words.count)
    )
    clean = read_all([words.clean], words.count)
    result: dict[str, Any] = {"threshold": THRESHOLD, "generated": judge_marks(generated)}
    photos = [resize(photo, SIDES[-1]) for photo in clean[::4]]
    result[f"photos at {SIDES[-1]} px"] = judge_marks(photos)
    result["clean"] = judge_clean(clean)
    if words.recogniser is not None:
        encoder = load_identity_encoder(words.recogniser)
        detector = load_detector(words.detector)
        pairs = find_pairs(words.clean)[: words.count]
        result["likeness of two photos"] = {
            f"{side} px": judge_likeness(pairs, side, encoder, detector) for side in SIDES
        }
    words.out.parent.mkdir(parents=True, exist_ok=True)
    words.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(json.dumps(result, indent=1))


def read_words() -> argparse.Namespace:
    """What to measure with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, nargs="*")
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--recogniser", help="as `load_identity_encoder` takes it")
    parser.add_argument("--detector", default="dlib", help="dlib, or a YuNet .onnx file")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/watermark.json"))
    return parser.parse_args()


def draw_portraits(photos: Sequence[Path], count: int) -> list[Image.Image]:
    """Portraits by mini without the mark: every look in turn, each of another photo."""
    pipe = FaceStudioPipeline.from_pretrained("mini")
    looks: list[dict[str, Any]] = [{"style": swatch.image} for swatch in read_swatches().values()]
    looks += [{"prompt": prompt} for prompt in PROMPTS]
    drawn: list[Image.Image] = []
    for photo in photos[:: max(1, len(photos) // (2 * count))]:
        look, seed = looks[len(drawn) % len(looks)], len(drawn)
        with suppress(PictureError):
            person = pipe.identity(photo, largest=True)
            drawn += pipe(person, **look, seed=seed, watermark=False).images
        if len(drawn) == count:
            break
    return drawn


def read_all(places: Iterable[Path], count: int) -> list[Image.Image]:
    """The first `count` pictures of files and folders, in the order of their names."""
    paths = [path for place in places for path in ([place] if place.is_file() else list_in(place))]
    return [read_picture(path) for path in paths[:count]]


def list_in(folder: Path) -> list[Path]:
    """Every picture file below the folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Photos _0 and _1 of each person."""
    firsts = [path for path in list_in(folder) if path.stem.endswith("_0")]
    pairs = [(path, path.with_stem(path.stem[:-1] + "1")) for path in firsts]
    return [pair for pair in pairs if pair[1].is_file()]


def judge_marks(pictures: Sequence[Image.Image]) -> dict[str, Any]:
    """Shares found after each damage, and the distance of marked pictures from unmarked ones."""
    marked = [add_watermark(picture) for picture in pictures]
    found = {name: judge_scores(map(damage, marked)) for name, damage in DAMAGES.items()}
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(pictures, marked, strict=True)]
    return {
        "pictures": len(pictures),
        "found": found,
        "psnr_db": spread([peak_signal_noise_ratio(*pair) for pair in pairs]),
        "ssim": spread([structural_similarity(*pair, channel_axis=2) for pair in pairs]),
    }


def judge_scores(pictures: Iterable[Image.Image]) -> dict[str, float]:
    """The share found, and the scores."""
    scores = [find_watermark(picture).score for picture in pictures]
    return {"share": float(np.mean(np.array(scores) > THRESHOLD)), **spread(scores)}


def judge_clean(pictures: Sequence[Image.Image]) -> dict[str, Any]:
    """False alarms in pictures without the mark: by the key, and by many other keys."""
    others = [
        find_watermark(picture, f"wrong {number}").score
        for picture in pictures
        for number in range(KEYS)
    ]
    return {
        "pictures": len(pictures),
        "false_alarms": {name: judge_scores(map(d, pictures)) for name, d in DAMAGES.items()},
        "wrong_keys": {"tries": len(others), "alarms": int(np.sum(np.array(others) > THRESHOLD))},
        "wrong_keys_scores": {"mean": float(np.mean(others)), "std": float(np.std(others))},
    }


def judge_likeness(
    pairs: Sequence[tuple[Path, Path]], side: int, encoder: IdentityEncoder, detector: Detector
) -> dict[str, Any]:
    """Cosines of a person's two photos, the first of them unmarked and marked."""
    plain, marked, kept = [], [], []
    for first, second in pairs:
        photo, other = resize(read_picture(first), side), enlarge(resize(read_picture(second), 512))
        face, other_face = (find_central(enlarge(p), detector, 40) for p in (photo, other))
        if face is None or other_face is None:
            continue
        crops = [align_face(enlarge(p), face.eyes) for p in (photo, add_watermark(photo))]
        before, after, there = encoder.embed(
            np.stack([*crops, align_face(other, other_face.eyes)])
        )[:, : encoder.compare_dim]
        plain.append(cosine(before, there))
        marked.append(cosine(after, there))
        kept.append(cosine(before, after))
    change = np.array(marked) - np.array(plain)
    return {
        "pairs": len(plain),
        "unmarked": float(np.mean(plain)),
        "marked": float(np.mean(marked)),
        "change": spread(change),
        "marked to unmarked": spread(kept),
    }


def resize(picture: Image.Image, side: int) -> Image.Image:
    """The picture as a square of `side` pixels."""
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def shrink(picture: Image.Image) -> Image.Image:
    """The picture at 75 %."""
    return picture.resize((picture.width * 3 // 4, picture.height * 3 // 4))


def recode(picture: Image.Image, quality: int = 80, kind: str = "JPEG") -> Image.Image:
    """The picture as a JPEG or WebP gives it back."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=quality)
    return Image.open(buffer).convert("RGB")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def spread(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Mean, smallest, largest."""
    array = np.asarray(values)
    return {"mean": float(array.mean()), "min": float(array.min()), "max": float(array.max())}


DAMAGES: dict[str, Damage] = {
    "none": lambda picture: picture,
    "JPEG 80": recode,
    "75 %": shrink,
    "JPEG 80, then 75 %": lambda picture: shrink(recode(picture)),
    "75 %, then JPEG 80": lambda picture: recode(shrink(picture)),
    "WebP 80": lambda picture: recode(picture, kind="WEBP"),
    "WebP 80, then 75 %": lambda picture: shrink(recode(picture, kind="WEBP")),
    "JPEG 60": lambda picture: recode(picture, 60),
    "50 %, then JPEG 80": lambda picture: recode(picture.reduce(2)),
    "1 % cut off each side": lambda picture: ImageOps.crop(picture, round(picture.width / 100)),
    "5 % cut off each side": lambda picture: ImageOps.crop(picture, picture.width // 20),
}


if __name__ == "__main__":
    main()
