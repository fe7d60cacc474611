"""`facestudio init`: trained parts, or public weights of full size, become a model folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from facestudio.cli.console import print_json, waiting
from facestudio.cli.workshop import AsJson, Overrides
from facestudio.errors import BadOption

FULL_SIZE = "sd15"
Full = "Full size (sd15)"
Adapter = Literal["ip-adapter", "ip-adapter-faceid", "both"]


def init(
    what: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|sd15",
            help="TOML file that names trained parts; or sd15, for public weights.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")],
    overrides: Overrides = None,
    base: Annotated[
        str | None,
        typer.Option(help="Stable Diffusion 1.5: hub name, folder or file.", rich_help_panel=Full),
    ] = None,
    adapter: Annotated[
        Adapter | None,
        typer.Option(
            help="Public adapters that need no training [a fresh guidance layer].",
            rich_help_panel=Full,
        ),
    ] = None,
    tower: Annotated[
        list[str] | None,
        typer.Option(
            help="A CLIP tower, in the paper's order [ViT-L/14, RN101, ViT-B/32].",
            rich_help_panel=Full,
        ),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            help="insightface:PACK, an .onnx file, a folder, or dlib.", rich_help_panel=Full
        ),
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(help="A trained prior's folder.", rich_help_panel=Full)
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:W]", help="Add a LoRA to the base.", rich_help_panel=Full),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store weights as fp16.", rich_help_panel=Full)
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never use the network.", rich_help_panel=Full)
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put parts together into a model folder that `--model` takes.

    Further settings of sd15 by `-s`: style_adapter, face_adapter, image_encoder, tokenizer,
    n_tokens, name, seed.
    """
    started = time.perf_counter()
    options = {
        "base": base,
        "adapter": adapter,
        "towers": tower,
        "identity": identity,
        "prior": prior,
        "loras": lora,
        "half": half or None,
        "offline": offline or None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    with waiting("putting the parts together"):
        if what == FULL_SIZE:
            _assemble_public(given, overrides or [], out)
        else:
            _assemble_trained(what, given, overrides or [], out)
    _report(out, time.perf_counter() - started, as_json)


def _assemble_trained(config: str, given: dict[str, Any], overrides: list[str], out: Path) -> None:
    from facestudio.pipeline.assemble import AssembleSettings, assemble
    from facestudio.settings import load_settings

    if given:
        option = next(iter(given))
        raise BadOption(f"{option} goes with `facestudio init sd15`, not with {config}")
    assemble(load_settings(AssembleSettings, config, overrides), out)


def _assemble_public(given: dict[str, Any], overrides: list[str], out: Path) -> None:
    from facestudio.pipeline.sd15 import Sd15Settings, assemble_sd15
    from facestudio.settings import load_settings

    if "base" not in given:
        hint = "for example: --base stable-diffusion-v1-5/stable-diffusion-v1-5"
        raise BadOption("--base is missing: which Stable Diffusion 1.5?", hint=hint)
    options = [f"{name}={json.dumps(value, default=str)}" for name, value in given.items()]
    assemble_sd15(load_settings(Sd15Settings, None, [*options, *overrides]), out)


def _report(out: Path, seconds: float, as_json: bool) -> None:
    size_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    if as_json:
        answer = {"ok": True, "out": str(out), "size_mb": round(size_mb, 1)}
        print_json({**answer, "seconds": round(seconds, 3)})
    else:
        typer.echo(f"{out}  {size_mb:.1f} MB")
