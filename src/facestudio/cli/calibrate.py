"""`facestudio calibrate`: what strangers score by an encoder, so that likeness starts at 0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facestudio.cli.console import print_json, print_table, waiting
from facestudio.errors import EncoderMismatch

if TYPE_CHECKING:
    import numpy as np


def calibrate(
    encoder: Annotated[
        Path,
        typer.Argument(help="Folder of a model or an identity encoder.", show_default=False),
    ],
    prepared: Annotated[
        list[Path],
        typer.Argument(help="Prepared sets made with this encoder.", show_default=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure an encoder's cosine of strangers and write it into its identity.json."""
    from facestudio.faces.calibration import calibrate as measure_calibration
    from facestudio.faces.encoder_folder import read_description, write_description

    described = read_description(encoder)
    with waiting("reading the prepared sets"):
        vectors, people = _read_faces(prepared, described.dimension)
    measured = measure_calibration(described, vectors, people)
    write_description(encoder, replace(described, calibration=measured.to_dict()))
    figures = {
        "encoder": f"{described.name}@{described.version}",
        "photos": len(people),
        "people": len(set(people)),
        "strangers": round(measured.strangers, 4),
    }
    if as_json:
        print_json({"ok": True, "path": str(encoder / "identity.json"), **figures})
    else:
        print_table([(name, str(value)) for name, value in figures.items()])


def _read_faces(prepared: list[Path], dimension: int) -> tuple[np.ndarray, list[str]]:
    """The embeddings (n, dimension) in the sets and whom each shows."""
    from facestudio.data.shards import PreparedSet

    samples = PreparedSet(prepared, ["identity"])
    vectors = samples.arrays["identity"]
    if vectors.shape[1] != dimension:
        found = f"the sets hold {vectors.shape[1]} numbers a face, the encoder gives {dimension}"
        hint = "prepare the sets with this encoder"
        raise EncoderMismatch(found, file=prepared[0], hint=hint)
    names = [record.get("person") for record in samples.records]
    known = [i for i, name in enumerate(names) if name is not None and vectors[i].any()]
    return vectors[known], [str(names[i]) for i in known]
