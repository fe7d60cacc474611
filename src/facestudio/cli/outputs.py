"""Where pictures are written: names are chosen, and checked, before any work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from facestudio.errors import BadOutput, PictureError

DEFAULT_NAME = "portrait.png"


def plan_outputs(
    out: Path, count: int, *, inputs: Iterable[Path] = (), force: bool = False
) -> list[Path]:
    """The paths of `count` pictures: `out` itself, or `out` with -1, -2, … before its suffix.

    A folder takes `portrait.png`. A picture that FaceStudio wrote is replaced; any other file only
    with `force`, and one of `inputs` never. Raises BadOutput.
    """
    paths = _numbered(_inside_folder(out), count)
    taken = {path.resolve() for path in inputs}
    for path in paths:
        _check_path(path, taken, force)
    return paths


def _inside_folder(out: Path) -> Path:
    return out / DEFAULT_NAME if out.is_dir() else out


def _numbered(path: Path, count: int) -> list[Path]:
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{i}{path.suffix}") for i in range(1, count + 1)]


def _check_path(path: Path, taken: set[Path], force: bool) -> None:
    from facestudio.images import PICTURE_SUFFIXES, check_output

    check_output(path, PICTURE_SUFFIXES)
    if path.resolve() in taken:
        raise BadOutput(f"{path} is a picture this call reads", file=path, hint="give another -o")
    if path.exists() and not force and not _is_ours(path):
        hint = "give another -o, or --force to replace it"
        raise BadOutput(f"{path} is there and was not made by facestudio", file=path, hint=hint)


def _is_ours(path: Path) -> bool:
    from facestudio.images import read_metadata

    try:
        return read_metadata(path) is not None
    except PictureError:
        return False
