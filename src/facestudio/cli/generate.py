"""`facestudio generate`: one line, a picture, the same again with the same seed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from facestudio.cli.console import print_json, print_table
from facestudio.cli.exits import saying_what_is_kept
from facestudio.cli.gallery import Call, Gallery, fill_gallery
from facestudio.cli.outputs import DEFAULT_NAME, plan_outputs
from facestudio.cli.people import check_people, parse_faces, parse_mix, parse_person
from facestudio.errors import BadOption

MAX_PICTURES = 1000
SEEDS = 2**31

Background = Literal["style", "random", "fixed"]
Speed = Literal["exact", "balanced", "fast", "draft"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Person = "Several people"
Sampling = "Sampling"
Output = "Output"


def generate(
    photo: Annotated[
        list[str] | None,
        typer.Argument(help="Photos of one person, or a saved @name.", show_default=False),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What the picture shows, in words.")] = None,
    style: Annotated[Path | None, typer.Option(help="A picture to take the look from.")] = None,
    alpha: Annotated[
        float | None, typer.Option(min=0, max=1, help="Between words (0) and style picture (1).")
    ] = None,
    face: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACE[:SHARE]",
            help="A photo or a saved @name; several are mixed by their shares.",
            rich_help_panel=Person,
        ),
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(metavar="PHOTO:W", help="Blend in another face.", rich_help_panel=Person),
    ] = None,
    person: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHOTO[:x0,y0,x1,y1]",
            help="One of several people, with their box in fractions.",
            rich_help_panel=Person,
        ),
    ] = None,
    largest: Annotated[
        bool, typer.Option("--largest", help="Of several faces take the central, largest one.")
    ] = False,
    background: Annotated[
        Background | None,
        typer.Option(help="What stands where nobody does.", rich_help_panel=Person),
    ] = None,
    image: Annotated[Path | None, typer.Option(help="A picture to start from.")] = None,
    strength: Annotated[
        float | None, typer.Option(min=0, max=1, help="How far to leave --image behind.")
    ] = None,
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, max=MAX_PICTURES, help="How many pictures.")
    ] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed, the same picture [random].")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Sampling steps.", rich_help_panel=Sampling)
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(min=0, help="How closely to follow.", rich_help_panel=Sampling)
    ] = None,
    identity_scale: Annotated[
        float | None, typer.Option(min=0, help="Weight of the face.", rich_help_panel=Sampling)
    ] = None,
    style_scale: Annotated[
        float | None, typer.Option(min=0, help="Weight of the look.", rich_help_panel=Sampling)
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="In pixels.", rich_help_panel=Sampling)
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="In pixels.", rich_help_panel=Sampling)
    ] = None,
    speed: Annotated[
        Speed | None,
        typer.Option(help="What to leave out to be faster [exact].", rich_help_panel=Sampling),
    ] = None,
    dtype: Annotated[
        Dtype,
        typer.Option(help="The networks' number type.", rich_help_panel=Sampling),
    ] = "auto",
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="File or folder to write.", rich_help_panel=Output),
    ] = Path(DEFAULT_NAME),
    force: Annotated[
        bool, typer.Option("--force", help="Replace files of others.", rich_help_panel=Output)
    ] = False,
    watermark: Annotated[
        bool | None,
        typer.Option(
            "--watermark/--no-watermark",
            help="Mark as generated, invisibly [on].",
            rich_help_panel=Output,
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="mini, a model folder, or a hub name.")] = "mini",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=Output)
    ] = False,
) -> None:
    """Make portraits of a person from photos, words and a style picture.

    Use faces only of people who agreed to it.
    """
    started = time.perf_counter()
    options = _given(
        prompt=prompt,
        style=style,
        alpha=alpha,
        background=background,
        image=image,
        strength=strength,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        identity_scale=identity_scale,
        style_scale=style_scale,
        width=width,
        height=height,
        watermark=watermark,
        speed=speed,
    )
    photos, mixes = photo or [], [parse_mix(text) for text in mix or []]
    if face:
        _check_alone(photos, mixes, person)
        photos, mixes = parse_faces(face)
    call = Call(
        photos=photos,
        mixes=mixes,
        placed=[parse_person(text) for text in person or []],
        options=options,
        count=count,
        seed=secrets.randbelow(SEEDS) if seed is None else seed,
        largest=largest,
    )
    _check_call(call)
    paths = plan_outputs(out, count, inputs=call.input_paths(), force=force)
    gallery = Gallery()
    with saying_what_is_kept(gallery.kept):
        fill_gallery(gallery, call, paths, model, dtype)
    _report(gallery, time.perf_counter() - started, as_json)


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given; the pipeline knows the defaults of the others."""
    return {name: value for name, value in options.items() if value is not None}


def _check_alone(*others: object) -> None:
    if any(others):
        hint = "give every face as --face FACE[:SHARE]"
        raise BadOption("--face does not go with PHOTO, --mix or --person", hint=hint)


def _check_call(call: Call) -> None:
    check_people(call.photos, call.mixes, call.placed)
    if not {"prompt", "style", "image"} & call.options.keys():
        hint = "for example: facestudio generate me.jpg --prompt 'an ink drawing'"
        raise BadOption("nothing to go by: give --prompt, --style or --image", hint=hint)


def _report(gallery: Gallery, seconds: float, as_json: bool) -> None:
    if as_json:
        outputs, settings = gallery.outputs, gallery.settings
        seconds = round(seconds, 3)
        print_json({"ok": True, "outputs": outputs, "settings": settings, "seconds": seconds})
        return
    rows = [
        (str(o["path"]), f"seed {o['seed']}", _likeness_text(o["likeness"]))
        for o in gallery.outputs
    ]
    print_table(rows)
    typer.echo(f"{seconds:.1f} seconds")


def _likeness_text(likeness: Sequence[float | None]) -> str:
    known = [f"{value:.2f}" for value in likeness if value is not None]
    return f"likeness {' '.join(known)}" if known else ""
