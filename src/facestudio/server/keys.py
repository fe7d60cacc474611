"""API keys: shown once, kept as a hash, compared in constant time.

A key is 256 random bits, so a plain SHA-256 keeps it: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from facestudio.errors import BadOption
from facestudio.identities.store import NAME
from facestudio.server.database import Database

LOCAL = "local"
PREFIX = "fs_"


@dataclass(frozen=True)
class KeyFacts:
    """A key's name and when it was made, seconds since 1970; the key itself is known nowhere."""

    name: str
    created: float


class KeyStore:
    """The API keys of one server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str) -> str:
        """A new key, to be shown once. Raises BadOption if the name is none or taken."""
        if not NAME.fullmatch(name) or name == LOCAL:
            hint = f"use letters, digits, - and _, at most 64, and not {LOCAL!r}"
            raise BadOption(f"{name!r} is not a name for a key", hint=hint)
        if any(facts.name == name for facts in self.list()):
            raise BadOption(f"there is a key {name} already", hint="remove it, or choose another")
        key = PREFIX + secrets.token_urlsafe(32)
        self._database.change("INSERT INTO keys VALUES (?, ?, ?)", (name, _hash(key), time.time()))
        return key

    def list(self) -> list[KeyFacts]:
        """All keys, the oldest first."""
        rows = self._database.rows("SELECT name, created FROM keys ORDER BY created, name")
        return [KeyFacts(row["name"], row["created"]) for row in rows]

    def remove(self, name: str) -> None:
        """Forget the key; whoever has it is let in no more. Raises BadOption if there is none."""
        if not self._database.change("DELETE FROM keys WHERE name = ?", (name,)):
            known = ", ".join(facts.name for facts in self.list()) or "none"
            raise BadOption(f"there is no key {name!r}", hint=f"keys are: {known}")
        self._database.forget()

    def owner(self, key: str) -> str | None:
        """Whose key this is; None for nobody's. Every stored hash is compared, in constant time."""
        hashed, found = _hash(key), None
        for row in self._database.rows("SELECT name, hash FROM keys"):
            if hmac.compare_digest(hashed, row["hash"]):
                found = row["name"]
        return found


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
