"""What an evaluation is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facestudio.errors import BadOption, MissingFile

ValueRange = Literal["0..255", "-1..1"]
DLIB = Path("dlib")
Half = Literal["tune", "report", "all"]


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of `facestudio evaluate`.

    model: a name, a model folder or a hub's name. people: a tar, or a folder with a folder a
    person; two photos each at least. out: folder for the report and every picture made.

    recogniser: an ArcFace-style ONNX file that had no part in training, or "dlib";
    recogniser_range: the pixel values an ONNX file takes.
    detector: "dlib", or the path of a YuNet ONNX file (needs OpenCV). min_face_px: smaller faces
    count as none. half: "tune" while choosing, "report" once for the final figures; the halves
    share nobody.

    prompts, styles: each prompt and each style picture is a condition of its own; own_style adds
    the reference photo, face hidden, as style. without_identity: every condition once more with
    the identity left out, from the same noise. num_inference_steps, guidance_scale: the model's
    own where None.

    against: prepared training sets; people in them (similarity of `near` or more by the model's
    encoder, 0 strangers to 1 same picture) are left out. false_accepts: the rate that sets the
    threshold of "verified".
    """

    people: Path
    out: Path
    model: str = "mini"
    recogniser: Path | None = None
    recogniser_range: ValueRange = "0..255"
    detector: str = "dlib"
    min_face_px: int = 24
    half: Half = "all"
    n_people: int | None = None
    seed: int = 0
    prompts: tuple[str, ...] = ("a photo",)
    styles: tuple[Path, ...] = ()
    own_style: bool = False
    without_identity: bool = True
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    identity_scale: float = 1.0
    against: tuple[Path, ...] = ()
    near: float = 0.5
    false_accepts: float = 1e-3
    sheet_people: int = 48


def check_settings(settings: EvaluationSettings) -> None:
    """Raise BadOption or MissingFile for what can be told before any work."""
    if settings.n_people is not None and settings.n_people < 2:
        raise BadOption(f"n_people={settings.n_people}: give 2 or more, strangers are needed too")
    if not (settings.prompts or settings.styles or settings.own_style):
        raise BadOption("nothing to make: give prompts, styles or own_style")
    for name in ("near", "false_accepts"):
        if not 0 < getattr(settings, name) < 1:
            raise BadOption(f"{name}={getattr(settings, name)}: give a number between 0 and 1")
    recogniser = None if settings.recogniser == DLIB else settings.recogniser
    for path in (settings.people, recogniser, *settings.styles, *settings.against):
        if path is not None and not path.exists():
            raise MissingFile(f"no such file: {path}", file=path)
