"""WebDataset tars: members that share a key are one sample (key.jpg, key.json, key.txt).

Format: https://github.com/webdataset/webdataset, and img2dataset, which writes it.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facestudio.data.samples import PICTURE_SUFFIXES, Item, SourceProblem, make_sample

BLOCK = 512
UNREADABLE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OSError)
Members = dict[str, bytes]


def is_tar(path: Path) -> bool:
    """Whether `path` is named like a tar this module reads."""
    return path.is_file() and path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


@dataclass(frozen=True)
class TarPart:
    """One tar as a part. Damage is told where it stands; what lies behind it is read if it can."""

    name: str
    path: Path

    def __iter__(self) -> Iterator[Item]:
        key, members = "", Members()
        for entry in self._entries():
            if isinstance(entry, SourceProblem):
                yield from self._sample(key, members)
                key, members = "", Members()
                yield entry
                continue
            entry_key, suffix, data = entry
            if entry_key != key:
                yield from self._sample(key, members)
                key, members = entry_key, Members()
            members[suffix] = data
        yield from self._sample(key, members)

    def _sample(self, key: str, members: Members) -> Iterator[Item]:
        """The sample of these members; nothing where a tar holds no more than notes."""
        picture = next((members[s] for s in PICTURE_SUFFIXES if s in members), None)
        where = f"{self.path.name}: {key}"
        if picture is not None:
            yield make_sample(key, picture, members.get(".json"), members.get(".txt"), where)
        elif ".json" in members or ".txt" in members:
            yield SourceProblem(where, "has labels but no picture")

    def _entries(self) -> Iterator[tuple[str, str, bytes] | SourceProblem]:
        """(key, suffix, bytes) of every file, in the tar's order."""
        count = 0
        try:
            with tarfile.open(self.path, ignore_zeros=True) as tar:
                expected = 0
                for member in tar:
                    if member.offset > expected and expected:
                        yield SourceProblem(
                            f"{self.path.name}: before {member.name}",
                            f"{member.offset - expected} bytes that are no tar members",
                        )
                    expected = member.offset_data + -(-member.size // BLOCK) * BLOCK
                    if member.isfile() and not _is_note(member.name):
                        yield *split_key(member.name), _read(tar, member)
                        count += 1
                if _has_rest(tar):
                    raise EOFError("a member's header is cut short")
        except UNREADABLE as error:
            message = f"cannot be read on: {error} ({count} files were read before)"
            yield SourceProblem(self.path.name, message)


def split_key(name: str) -> tuple[str, str]:
    """(key, suffix) of a member, cut at the last dot: names like "j._doe_01.jpg" stay whole."""
    key, dot, suffix = name.removeprefix("./").rpartition(".")
    return key, (dot + suffix).lower()


def _is_note(name: str) -> bool:
    return name.rpartition("/")[2].startswith((".", "__"))


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    data = b"" if stream is None else stream.read()
    if len(data) != member.size:
        raise EOFError(f"{member.name} is cut short")
    return data


def _has_rest(tar: tarfile.TarFile) -> bool:
    """Whether bytes stand where the last header could not be read."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    return bool(tar.fileobj.read(1))
