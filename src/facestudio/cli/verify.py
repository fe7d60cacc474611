"""`facestudio verify`: whether pictures were made by FaceStudio, by their pixels and their file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facestudio.cli.console import print_json, print_table

if TYPE_CHECKING:
    from facestudio.provenance.verify import Origin


def verify(
    pictures: Annotated[
        list[Path],
        typer.Argument(metavar="PICTURE…", help="Files to look at.", show_default=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell whether pictures were generated: by an invisible watermark and by what the file says.

    Finding nothing does not make a picture a photo: both traces can be removed.
    """
    from facestudio.provenance.verify import verify as read_origin

    origins = [(path, read_origin(path)) for path in pictures]
    if as_json:
        found = [{"path": str(path)} | origin.to_dict() for path, origin in origins]
        print_json({"ok": True, "pictures": found})
    else:
        print_table([_describe(path, origin) for path, origin in origins])


def _describe(path: Path, origin: Origin) -> tuple[str, str, str, str]:
    verdict = "generated" if origin.generated else "no trace"
    return str(path), verdict, _describe_mark(origin), _describe_file(origin)


def _describe_mark(origin: Origin) -> str:
    mark = origin.watermark
    if mark is None:
        return "too small for a watermark"
    if not mark.found:
        return "no watermark"
    return f"watermark (chance of a false alarm under {mark.chance:.0e})"


def _describe_file(origin: Origin) -> str:
    if origin.settings is None:
        return "the file says nothing"
    model, seed = (origin.settings.get(name, "unknown") for name in ("model", "seed"))
    return f"the file says: model {model}, seed {seed}"
