"""Reads training pictures from where they lie, in parts that several processes can share.

`open_source` recognises a folder of pictures (with FFHQ's layout as a special case), WebDataset
tars as img2dataset writes them, and a Hugging Face dataset saved to disk. What cannot be read is
told as a `SourceProblem` in its place, and reading goes on where that is possible. The order is the
same every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facestudio.data.arrow_source import arrow_parts, is_arrow_folder
from facestudio.data.folder_source import ffhq_parts, find_ffhq, folder_parts
from facestudio.data.prepared_source import is_prepared, prepared_parts
from facestudio.data.samples import Item, Part, RawSample, SourceProblem
from facestudio.data.tar_source import TarPart, is_tar
from facestudio.errors import BadOption, MissingFile

__all__ = ["Item", "Part", "RawSample", "Source", "SourceProblem", "open_source"]

KNOWN = "a folder of pictures, FFHQ's, WebDataset .tar/.tar.gz/.tgz, a saved Hugging Face dataset"


@dataclass(frozen=True)
class Source:
    """A set of pictures: its `name`, its `kind` (folder, ffhq, tar, arrow, prepared) and its parts.

    Iterating gives every part's items one after another.
    """

    name: str
    kind: str
    contents: tuple[Part, ...]

    def parts(self) -> list[Part]:
        """Independent pieces of the source, each picklable and with a name of its own."""
        return list(self.contents)

    def __iter__(self) -> Iterator[Item]:
        for part in self.contents:
            yield from part


def open_source(path: str | Path) -> Source:
    """The pictures at `path`, whatever known layout they have.

    Raises: MissingFile where nothing is there, BadOption where nothing known is.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFile(f"no such data: {path}", file=str(path), hint=f"give {KNOWN}")
    kind, parts = _recognise(path)
    if not parts:
        raise BadOption(f"no pictures found in {path}", file=str(path), hint=f"give {KNOWN}")
    return Source(path.name.split(".")[0] or path.resolve().name, kind, tuple(parts))


def _recognise(path: Path) -> tuple[str, list[Part]]:
    if is_tar(path):
        return "tar", [TarPart(_part_name(path, path.parent), path)]
    if not path.is_dir():
        return "", []
    if is_prepared(path):
        return "prepared", list(prepared_parts(path))
    if is_arrow_folder(path):
        return "arrow", list(arrow_parts(path))
    if pictures := find_ffhq(path):
        return "ffhq", list(ffhq_parts(pictures))
    tars = sorted(file for file in path.rglob("*") if is_tar(file))
    if tars:
        return "tar", [TarPart(_part_name(file, path), file) for file in tars]
    return "folder", list(folder_parts(path))


def _part_name(file: Path, root: Path) -> str:
    folder = file.relative_to(root).parent.parts
    return "--".join((*folder, file.name.split(".tar")[0].removesuffix(".tgz")))
