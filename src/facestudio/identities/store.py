"""Saved people: one safetensors file each, in a folder that only the user may open.

A file holds what `profile.py` says; the photos themselves are never kept.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from facestudio.errors import BadOption, EncoderMismatch

if TYPE_CHECKING:
    from facestudio.faces.identity import Identity
    from facestudio.identities.profile import Profile

NAME = re.compile(r"[^\W_][\w-]{0,63}")
SUFFIX = ".safetensors"


def user_folder() -> Path:
    """Where FaceStudio keeps a user's things: `$FACESTUDIO_HOME`, else the XDG data folder."""
    if home := os.environ.get("FACESTUDIO_HOME"):
        return Path(home)
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "facestudio"


class IdentityStore:
    """Saved people of one user, by name; nothing is created until a person is added."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or user_folder() / "identities"

    def names(self) -> list[str]:
        """The names of all saved people, in order."""
        return sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}") if self._is_name(path))

    def path(self, name: str) -> Path:
        """The file of this person, there or not. Raises BadOption on a name that is none."""
        if not NAME.fullmatch(name):
            hint = "use letters, digits, - and _, at most 64, a letter or digit first"
            raise BadOption(f"{name!r} is not a name for a person", hint=hint)
        return self.folder / f"{name}{SUFFIX}"

    def add(self, name: str, person: Identity | Profile, *, replace: bool = False) -> Path:
        """Save the person and return the file. Raises BadOption if the name is taken."""
        path = self.path(name)
        self.check_free(name, replace=replace)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        person.save(path)
        path.chmod(0o600)
        return path

    def check_free(self, name: str, *, replace: bool = False) -> None:
        """Raise BadOption if the name is none, or taken and not to be replaced."""
        if self.path(name).exists() and not replace:
            raise BadOption(f"{name} is saved already", hint="give another name, or --force")

    def load(self, name: str, encoder: str | None = None) -> Identity:
        """Who the saved person is. Raises BadOption naming those who are saved.

        encoder: "name@version" that the person must have been saved with; else EncoderMismatch.
        """
        from facestudio.faces.identity import load_identity

        path = self._existing(name)
        identity = load_identity(path)
        if encoder is not None and identity.encoder != encoder:
            message = f"{name} was saved with the encoder {identity.encoder}; {encoder} is needed"
            hint = f"save them again: facestudio identity add {name} PHOTO --model … --force"
            raise EncoderMismatch(message, file=path, hint=hint)
        return identity

    def load_profile(self, name: str) -> Profile:
        """All that is saved of the person. Raises as `load`."""
        from facestudio.identities.profile import load_profile

        return load_profile(self._existing(name))

    def remove(self, name: str) -> None:
        """Delete the person's file. Raises BadOption if there is none."""
        self._existing(name).unlink()

    def _existing(self, name: str) -> Path:
        path = self.path(name)
        if not path.is_file():
            known = ", ".join(self.names()) or "nobody"
            hint = f"saved are: {known}; add one with: facestudio identity add {name} PHOTO"
            raise BadOption(f"no saved person is called {name!r}", hint=hint)
        return path

    def _is_name(self, path: Path) -> bool:
        return NAME.fullmatch(path.stem) is not None
