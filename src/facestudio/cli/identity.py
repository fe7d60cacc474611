"""`facestudio identity`: people saved under a name, to stand wherever a photo does as @name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from facestudio.cli.console import print_json, print_table, waiting
from facestudio.cli.exits import help_if_alone
from facestudio.identities.store import IdentityStore

if TYPE_CHECKING:
    from facestudio.faces.identity import Identity

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
    path = store.add(name, pipe.identity(*photos, largest=largest), replace=force)
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
def show(name: Name, as_json: AsJson = False) -> None:
    """Tell what is saved of one person."""
    _show_one(IdentityStore(), name, as_json)


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
    print_table([(key, str(value)) for key, value in person.items()])


def _describe(store: IdentityStore, name: str) -> dict[str, Any]:
    identity: Identity = store.load(name)
    return {
        "name": name,
        "photos": len(identity.photos),
        "encoder": identity.encoder,
        "numbers": int(identity.embedding.shape[0]),
        "path": str(store.path(name)),
    }
