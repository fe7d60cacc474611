"""Every error that a user can meet, as one tree.

    FaceStudioError                exit
    ├── OptionError                2     the call is wrong
    │   ├── BadOption              bad_option
    │   ├── BadRegion              bad_region
    │   └── BadOutput              bad_output
    ├── PictureError               3     a picture or photo cannot be used
    │   ├── NotAPicture            not_a_picture
    │   ├── TooLarge               too_large
    │   ├── NoFace                 no_face
    │   ├── FaceTooSmall           face_too_small
    │   ├── SeveralFaces           several_faces
    │   └── MissingFile            missing_file
    ├── ModelError                 4     a model cannot be used
    │   ├── MissingWeights         missing_weights
    │   ├── EncoderMismatch        encoder_mismatch
    │   └── BadModel               bad_model
    ├── MachineError               5     the machine: disk, memory
    │   ├── NoSpace                no_space
    │   └── OutOfMemory            out_of_memory
    └── ServiceError               1     a server refuses, or cannot be reached
        ├── NotAllowed             not_allowed
        ├── NotFound               not_found
        ├── Busy                   busy
        ├── NotReady               not_ready
        ├── DeadlinePassed         deadline_passed
        ├── Cancelled              cancelled
        ├── Withheld               withheld
        ├── ServerFault            server_fault
        └── Unreachable            unreachable

The message says what was found and what was wanted; the hint says what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

__all__ = [
    "BadModel",
    "BadOption",
    "BadOutput",
    "BadRegion",
    "Box",
    "Busy",
    "Cancelled",
    "DeadlinePassed",
    "EncoderMismatch",
    "FaceStudioError",
    "FaceTooSmall",
    "MachineError",
    "MissingFile",
    "MissingWeights",
    "ModelError",
    "NoFace",
    "NoSpace",
    "NotAPicture",
    "NotAllowed",
    "NotFound",
    "NotReady",
    "OptionError",
    "OutOfMemory",
    "PictureError",
    "ServerFault",
    "ServiceError",
    "SeveralFaces",
    "TooLarge",
    "Unreachable",
    "Withheld",
]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class FaceStudioError(Exception):
    """The root of the tree; every leaf has a stable `code` and the command's `exit_code`.

    `file` names the file at fault, `hint` the next step, `boxes` the faces found, in pixels.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        hint: str | None = None,
        boxes: Sequence[Box] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else str(file)
        self.hint = hint
        self.boxes = None if boxes is None else [tuple(float(v) for v in box) for box in boxes]

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def to_dict(self) -> dict[str, Any]:
        """What `--json` and the server print: code, message, file, hint and boxes."""
        boxes = None if self.boxes is None else [list(box) for box in self.boxes]
        return {
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "hint": self.hint,
            "boxes": boxes,
        }

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> FaceStudioError:
        """The error that `to_dict` told of, of the same class where the code is known."""
        kinds = {
            leaf.code: leaf
            for branch in FaceStudioError.__subclasses__()
            for leaf in branch.__subclasses__()
        }
        kind = kinds.get(facts.get("code", ""), FaceStudioError)
        details = {name: facts.get(name) for name in ("file", "hint", "boxes")}
        return kind(str(facts.get("message", "no message")), **details)


class OptionError(FaceStudioError):
    """The call is wrong: says which option, what was given and what is allowed."""

    code = "bad_option"
    exit_code = 2


class BadOption(OptionError):
    """An option or setting has a value that is not allowed."""


class BadRegion(OptionError):
    """A region lies outside the picture, is empty, or cannot be told from another."""

    code = "bad_region"


class BadOutput(OptionError):
    """The place to write to is missing, not writable, or of an unknown kind."""

    code = "bad_output"


class PictureError(FaceStudioError):
    """A picture or photo cannot be used: names the file and the next step."""

    code = "not_a_picture"
    exit_code = 3


class NotAPicture(PictureError):
    """The file is empty, cut off, or in no format that can be read."""


class TooLarge(PictureError):
    """The picture has more pixels than are read."""

    code = "too_large"


class NoFace(PictureError):
    """No face was found, even with padding around the picture."""

    code = "no_face"


class FaceTooSmall(PictureError):
    """The face has too few pixels to say who it is; `boxes` holds it."""

    code = "face_too_small"


class SeveralFaces(PictureError):
    """More than one face where one was wanted; `boxes` holds them, left to right."""

    code = "several_faces"


class MissingFile(PictureError):
    """The file is not there or cannot be opened."""

    code = "missing_file"


class ModelError(FaceStudioError):
    """A model cannot be used."""

    code = "bad_model"
    exit_code = 4


class MissingWeights(ModelError):
    """Weights or the package that runs them are missing: says which, from where and how."""

    code = "missing_weights"


class EncoderMismatch(ModelError):
    """An identity was made by another encoder than the model understands."""

    code = "encoder_mismatch"


class BadModel(ModelError):
    """A model file or folder is damaged or of another form."""


class MachineError(FaceStudioError):
    """The machine lacks something."""

    code = "out_of_memory"
    exit_code = 5


class NoSpace(MachineError):
    """The disk is full."""

    code = "no_space"


class OutOfMemory(MachineError):
    """Memory ran out: says what would fit."""


class ServiceError(FaceStudioError):
    """A server refuses a request, or cannot be reached."""

    code = "server_fault"


class NotAllowed(ServiceError):
    """The API key is missing or unknown, or a web page of elsewhere is asking."""

    code = "not_allowed"


class NotFound(ServiceError):
    """There is no such thing, or none that belongs to this API key."""

    code = "not_found"


class Busy(ServiceError):
    """The queue is full; `retry_after_s` says when to ask again."""

    code = "busy"

    def __init__(self, message: str, *, retry_after_s: int = 1, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after_s = retry_after_s


class NotReady(ServiceError):
    """The server is starting; ask again in a while."""

    code = "not_ready"


class DeadlinePassed(ServiceError):
    """The pictures were not ready in the time that the request allowed."""

    code = "deadline_passed"


class Cancelled(ServiceError):
    """Whoever asked for the pictures did not want them any more."""

    code = "cancelled"


class Withheld(ServiceError):
    """The pictures were drawn, but a content checker calls them explicit; they are not kept."""

    code = "withheld"


class ServerFault(ServiceError):
    """The server broke off: it stopped, or met what it was not made for."""


class Unreachable(ServiceError):
    """No server answers at the address."""

    code = "unreachable"
