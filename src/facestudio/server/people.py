"""Saved people of each owner, in folders of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from facestudio.errors import BadOption, NotFound
from facestudio.faces.identity import Identity
from facestudio.identities.profile import Profile
from facestudio.identities.store import IdentityStore
from facestudio.server.keys import LOCAL
from facestudio.server.schemas import IdentityFacts, PhotoQuality
from facestudio.server.work import SAVED


class People:
    """The saved people of every owner. Without a key they are the user's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, owner: str) -> IdentityStore:
        """The owner's saved people."""
        return IdentityStore() if owner == LOCAL else IdentityStore(self._folder / owner)

    def load(self, owner: str, names: Iterable[str]) -> dict[str, Identity]:
        """Those of the names that stand for saved people. Raises NotFound."""
        wanted = [name for name in names if name.startswith(SAVED)]
        return {name: self.one(owner, name.removeprefix(SAVED)) for name in wanted}

    def one(self, owner: str, name: str) -> Identity:
        """A saved person. Raises NotFound."""
        self._check(owner, name)
        return self.of(owner).load(name)

    def facts(self, owner: str, name: str) -> IdentityFacts:
        """What is known of a saved person. Raises NotFound."""
        profile = self.profile(owner, name)
        return IdentityFacts(
            name=name,
            encoder=profile.identity.encoder,
            photos=len(profile.identity.photos),
            qualities=[PhotoQuality(**vars(q), faults=q.faults()) for q in profile.qualities],
            lowest_similarity=profile.lowest_similarity,
            warnings=profile.warnings(),
            preview=None if profile.preview is None else f"/v1/identities/{name}/preview",
        )

    def profile(self, owner: str, name: str) -> Profile:
        """All that is saved of a person. Raises NotFound."""
        self._check(owner, name)
        return self.of(owner).load_profile(name)

    def remove(self, owner: str, name: str) -> None:
        """Delete a saved person. Raises NotFound."""
        self._check(owner, name)
        self.of(owner).remove(name)

    def remove_all(self, owner: str) -> None:
        """Delete every person of an API key."""
        shutil.rmtree(self._folder / owner, ignore_errors=True)

    def _check(self, owner: str, name: str) -> None:
        store = self.of(owner)
        try:
            found = store.path(name).is_file()
        except (BadOption, OSError, ValueError):
            found = False
        if not found:
            raise NotFound(f"no saved person is called {name!r}", hint="see GET /v1/identities")
