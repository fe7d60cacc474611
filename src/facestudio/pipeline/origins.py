"""Where each part of an assembled model comes from and under which licence: `origins.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from facestudio.errors import BadModel
from facestudio.images import write_bytes

ORIGINS, CARD = "origins.json", "README.md"
UNKNOWN_LICENCE = "see where the file came from"


@dataclass(frozen=True)
class Origin:
    """One part's source, a hub name or a file, and its licence."""

    source: str
    licence: str


def write_origins(folder: Path, origins: Mapping[str, Origin], name: str) -> None:
    """Write origins.json, and a card that lists the same, into a model folder."""
    plain = {part: asdict(origin) for part, origin in origins.items()}
    write_bytes(folder / ORIGINS, (json.dumps(plain, indent=1) + "\n").encode())
    rows = [f"| {part} | {o.source} | {o.licence} |" for part, o in origins.items()]
    lines = [
        "---",
        "license: other",
        "license_name: the strictest of its parts' licences",
        "---",
        f"# {name}",
        "",
        "Assembled by `facestudio init sd15`. Draw only people who agreed to it.",
        "",
        "| part | from | licence |",
        "|---|---|---|",
        *rows,
    ]
    write_bytes(folder / CARD, ("\n".join(lines) + "\n").encode())


def read_origins(folder: Path) -> dict[str, Origin]:
    """What origins.json says; empty for a model that has none. Raises BadModel."""
    path = folder / ORIGINS
    if not path.is_file():
        return {}
    try:
        return {part: Origin(**entry) for part, entry in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as problem:
        raise BadModel(f"{path} cannot be used: {problem}", file=path) from problem


def card_licence(folder: Path) -> str:
    """The licence in a model card's front matter, or a word that there is none."""
    card = folder / CARD
    if card.is_file():
        for line in card.read_text("utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("license", "licence", "license_name"):
                return value.strip()
    return "not stated"
