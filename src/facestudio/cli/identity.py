"""`facestudio identity`: people saved under a name, to stand wherever a photo does as @name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facestudio.cli.console import print_json, print_table, waiting
from facestudio.cli.exits import help_if_alone
from facestudio.errors import BadOption
from facestudio.identities.store import IdentityStore

if TYPE_CHECKING:
    from facestudio.identities.profile import Profile

identity_app = typer.Typer(
    callback=help_if_alone,
    invoke_without_command=True,
    help="Save people under a name; use them as @name. Photos are not kept.",
)

Name = Annotated[str, typer.Argument(help="The person's name.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@identity_app.command()
def add(
    name: Name,
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO…", help="One photo or several.", show_default=False),
    ],
    largest: Annotated[
        bool, typer.Option("--largest", help="Of several faces take the central, largest one.")
    ] = False,
    model: Annotated[str, typer.Option(help="Whose encoder reads the face.")] = "mini",
    preview: Annotated[
        bool, typer.Option(help="Draw a small picture of the person to keep beside.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a saved person.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save the person these photos show. Only with their consent."""
    from facestudio.images import read_picture

    store = IdentityStore()
    store.check_free(name, replace=force)
    for photo in photos:
        read_picture(photo)
    with waiting(f"loading {model}"):
        from facestudio import FaceStudioPipeline

        pipe = FaceStudioPipeline.from_pretrained(model)
    with waiting("looking at the photos"):
        from facestudio.identities.profile import make_profile

        profile = make_profile(pipe, photos, largest=largest, preview=preview)
    path = store.add(name, profile, replace=force)
    _show_one(store, name, as_json, heading=f"saved {path}")


@identity_app.command("list")
def list_people(as_json: AsJson = False) -> None:
    """Name all saved people."""
    store = IdentityStore()
    people = [_describe(store, name) for name in store.names()]
    if as_json:
        print_json({"ok": True, "folder": str(store.folder), "identities": people})
    elif not people:
        typer.echo("nobody is saved; add someone with: facestudio identity add NAME PHOTO")
    else:
        rows = [(f"@{p['name']}", f"{p['photos']} photos", p["encoder"]) for p in people]
        print_table(rows)


@identity_app.command()
def show(
    name: Name,
    preview: Annotated[
        Path | None, typer.Option(help="Write the saved preview to this file.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what is saved of one person."""
    store = IdentityStore()
    if preview is not None:
        _write_preview(store.load_profile(name), name, preview)
    _show_one(store, name, as_json)


@identity_app.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Delete one person; nothing of them is left."""
    store = IdentityStore()
    store.remove(name)
    if as_json:
        print_json({"ok": True, "removed": name})
    else:
        typer.echo(f"removed {name}")


def _show_one(store: IdentityStore, name: str, as_json: bool, heading: str | None = None) -> None:
    person = _describe(store, name)
    if as_json:
        print_json({"ok": True, "identity": person})
        return
    if heading:
        typer.echo(heading)
    plain = {key: value for key, value in person.items() if key not in ("qualities", "warnings")}
    print_table([(key, str(value)) for key, value in plain.items()])
    for number, quality in enumerate(person["qualities"], start=1):
        figures = f"face {quality['face_px']:.0f} px, sharpness {quality['sharpness']:.2f}"
        typer.echo(f"photo {number}: {figures}, turn {quality['turn']:+.2f}")
    for warning in person["warnings"]:
        typer.echo(f"warning: {warning}", err=True)


def _describe(store: IdentityStore, name: str) -> dict[str, Any]:
    profile = store.load_profile(name)
    lowest = profile.lowest_similarity
    return {
        "name": name,
        "photos": len(profile.identity.photos),
        "encoder": profile.identity.encoder,
        "numbers": int(profile.identity.embedding.shape[0]),
        "path": str(store.path(name)),
        "preview": profile.preview is not None,
        "lowest_similarity": None if lowest is None else round(lowest, 3),
        "qualities": [asdict(quality) for quality in profile.qualities],
        "warnings": profile.warnings(),
    }


def _write_preview(profile: Profile, name: str, path: Path) -> None:
    from facestudio.images import write_picture

    if profile.preview is None:
        raise BadOption(f"{name} was saved without a preview", hint="add them again with --force")
    write_picture(profile.preview, path, {"generated": True})
