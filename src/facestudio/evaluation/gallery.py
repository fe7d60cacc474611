"""Which contact sheets an evaluation draws: likeness, style, words, two people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PIL import Image

from facestudio.evaluation.outputs import (
    LIKENESS,
    WORDS,
    Condition,
    list_conditions,
    read_outputs,
    style_path,
)
from facestudio.evaluation.pairs import list_pairs, pair_path
from facestudio.evaluation.people import Person
from facestudio.evaluation.settings import EvaluationSettings
from facestudio.evaluation.sheets import write_sheets
from facestudio.images import read_picture

Columns = list[tuple[str, Sequence[Image.Image]]]


def draw_sheets(settings: EvaluationSettings, people: Sequence[Person]) -> None:
    """Write the sheets of the first people: their photos, then what was made of them."""
    conditions = list_conditions(settings)
    kinds = {
        "": [each for each in conditions if each.purpose == LIKENESS and not each.look],
        "style": [each for each in conditions if each.look],
        "words": [each for each in conditions if each.purpose == WORDS],
    }
    for name, members in kinds.items():
        if members:
            shown = people[: min(settings.sheet_people, members[0].people or len(people))]
            columns = [*photo_columns(shown), *output_columns(settings, members, shown)]
            write_sheets(settings.out / "sheets" / name, columns)
    _draw_pairs(settings, people)


def photo_columns(people: Sequence[Person]) -> Columns:
    """The people's two photos."""
    return [
        ("reference", [person.reference for person in people]),
        ("other photo", [person.other for person in people]),
    ]


def output_columns(
    settings: EvaluationSettings, conditions: Iterable[Condition], people: Sequence[Person]
) -> Columns:
    """Each condition's pictures, after the pictures that showed their style."""
    columns: Columns = []
    for condition in conditions:
        if condition.kind == "shown":
            paths = [style_path(settings.out, condition.what, each.name) for each in people]
            columns.append((f"style: {condition.what}", [read_picture(path) for path in paths]))
        columns.append((condition.name, list(read_outputs(settings.out, condition, people))))
    return columns


def _draw_pairs(settings: EvaluationSettings, people: Sequence[Person]) -> None:
    pairs = list_pairs(settings, len(people))[: settings.sheet_people]
    if pairs:
        columns: Columns = [
            ("left", [people[i].reference for i, _ in pairs]),
            ("right", [people[j].reference for _, j in pairs]),
            ("together", [read_picture(pair_path(settings.out, people[i], people[j]))
                          for i, j in pairs]),
        ]  # fmt: skip
        write_sheets(settings.out / "sheets/pairs", columns)
