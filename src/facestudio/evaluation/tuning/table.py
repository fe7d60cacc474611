"""The table from settings to page: read people, choose iterations, make pictures, judge, write.

Iterations and learning rates are chosen on people of the half "tune"; the table's figures are of
people of the half "report", whom nothing was chosen on. A stopped run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from facestudio.errors import BadOption, PictureError
from facestudio.evaluation.judges import OWN, Judges, Vectors, load_judges
from facestudio.evaluation.measures import estimate, hits, judge_photos
from facestudio.evaluation.near import near_training
from facestudio.evaluation.outputs import Progress, open_folder
from facestudio.evaluation.people import Person, decode, read_people
from facestudio.evaluation.report import PeopleCount
from facestudio.evaluation.settings import Half
from facestudio.evaluation.sheets import write_sheets
from facestudio.evaluation.tuning.material import check_base
from facestudio.evaluation.tuning.page import Choice, Row, Seconds, Table, Trial
from facestudio.evaluation.tuning.runs import (
    Bench,
    Made,
    Recipe,
    identify,
    photos_of,
)
from facestudio.evaluation.tuning.settings import (
    TUNED_METHODS,
    TableSettings,
    TunedSettings,
    check_table_settings,
)
from facestudio.faces.embed import encoder_id
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.settings import to_dict

OWN_METHODS = ("style", "words")
SHOWN = 12


@dataclass(frozen=True)
class Crowd:
    """The people of a half and who is in each of their photos: one Vectors a photo's number."""

    people: list[Person]
    photos: list[Vectors]
    count: PeopleCount


def make_table(
    settings: TableSettings,
    on_progress: Progress | None = None,
    pipe: FaceStudioPipeline | None = None,
) -> Table:
    """Fit, draw and judge; write report.json, report.md, a sheet and every picture to settings.out.

    on_progress(done, total) is called after each person and method; `pipe` stands in for
    settings.model. Raises FaceStudioError.
    """
    check_table_settings(settings)
    open_folder(settings.out)
    pipe = pipe or FaceStudioPipeline.from_pretrained(settings.model, torch_dtype=torch.float32)
    check_base(pipe)
    judges = load_judges(settings.judging("report"), pipe)
    tuning, reporting = (gather(settings, judges, pipe, half) for half in ("tune", "report"))
    bench = Bench.of(settings, pipe)
    report = counter(count_runs(settings, tuning, reporting), on_progress)
    choices = [
        choose(bench, judges, tuning, method, references, report)
        for method in TUNED_METHODS for references in settings.references
    ]  # fmt: skip
    made = make_rows(bench, reporting, choices, report)
    table = judge_table(settings, judges, reporting, tuning.count, made, choices)
    table.write(settings.out)
    draw_sheet(settings, reporting, made)
    return table


def gather(settings: TableSettings, judges: Judges, pipe: FaceStudioPipeline, half: Half) -> Crowd:
    """The people of a half with a face in every photo, none near to the training data."""
    wanted = settings.judging(half).n_people
    assert wanted is not None
    people = read_people(settings.people, half, wanted, settings.n_photos)
    photos = [
        judges.look(decode(person.photos[number]) for person in people)
        for number in range(settings.n_photos)
    ]
    seen = np.all([vectors.seen for vectors in photos], axis=0)
    usable = seen & [identifiable(pipe, person, max(settings.references)) for person in people]
    own = [vectors.own for vectors in photos]
    near = near_training(settings.against, judges.own, own, settings.near)
    kept = np.flatnonzero(usable & ~near)
    left_out = int((~usable).sum()), int((usable & near).sum())
    count = PeopleCount(len(people), *left_out, len(kept))
    if len(kept) < 2:
        raise BadOption(f"{settings.people}: nobody is left of the half {half!r} of {count}")
    return Crowd([people[i] for i in kept], [vectors[kept] for vectors in photos], count)


def identifiable(pipe: FaceStudioPipeline, person: Person, references: int) -> bool:
    """Whether the model finds a face in every photo that it is given."""
    try:
        identify(pipe, photos_of(person, references))
    except PictureError:
        return False
    return True


def count_runs(settings: TableSettings, tuning: Crowd, reporting: Crowd) -> int:
    """How many persons and methods there are to draw in all."""
    references, rates = len(settings.references), 0
    for method in TUNED_METHODS:
        tuned: TunedSettings = getattr(settings, method)
        rates += len(tuned.learning_rates)
    rows = len(OWN_METHODS) * (references + 1) + len(TUNED_METHODS) * references
    return rates * references * len(tuning.people) + rows * len(reporting.people)


def counter(total: int, on_progress: Progress | None) -> Callable[[], None]:
    """What is called after each run: it counts and tells."""
    done = iter(range(1, total + 1))

    def report() -> None:
        number = next(done)
        if on_progress is not None:
            on_progress(number, total)

    return report


def choose(
    bench: Bench,
    judges: Judges,
    crowd: Crowd,
    method: str,
    references: int,
    report: Callable[[], None],
) -> Choice:
    """The learning rate and iterations whose pictures of the tuning people are most like them."""
    tuned: TunedSettings = getattr(bench.settings, method)
    trials = []
    for rate in tuned.learning_rates:
        recipe = Recipe(method, references, rate)
        made = [
            bench.tune("tune", recipe, person, tuned.iterations)
            for person in told(report, crowd.people)
        ]
        for number, iterations in enumerate(tuned.iterations):
            outputs = judges.look(each[number].read() for each in made)
            likeness = likeness_to_references(judges, crowd, outputs, references)
            trials.append(Trial(rate, iterations, float(likeness.mean())))
    return Choice(method, references, trials)


def make_rows(
    bench: Bench, crowd: Crowd, choices: Sequence[Choice], report: Callable[[], None]
) -> list[tuple[Recipe, list[Made]]]:
    """Every row's pictures, one a person: the model's own first, then the tuned methods'."""
    rows = []
    for recipe in own_recipes(bench.settings):
        made = [bench.draw("report", recipe, person) for person in told(report, crowd.people)]
        rows.append((recipe, made))
    for choice in choices:
        best = choice.best
        recipe = Recipe(choice.method, choice.references, best.rate)
        made = [
            bench.tune("report", recipe, person, (best.iterations,))[0]
            for person in told(report, crowd.people)
        ]
        rows.append((recipe, made))
    return rows


def told(report: Callable[[], None], people: Sequence[Person]) -> Iterator[Person]:
    """The same people, each reported once its turn is over."""
    for person in people:
        yield person
        report()


def own_recipes(settings: TableSettings) -> list[Recipe]:
    """The model's own rows: both branches with each number of photos, then without identity."""
    given = [Recipe(method, n) for method in OWN_METHODS for n in settings.references]
    return given + [Recipe(f"{method}-nobody", 1) for method in OWN_METHODS]


def judge_table(
    settings: TableSettings,
    judges: Judges,
    crowd: Crowd,
    tuning: PeopleCount,
    made: Sequence[tuple[Recipe, list[Made]]],
    choices: Sequence[Choice],
) -> Table:
    """All figures of pictures that were made."""
    scales = judges.scales()
    rows = [judge_row(judges, crowd, recipe, pictures) for recipe, pictures in made]
    real = {
        name: judge_photos(
            scale, crowd.photos[0].of(name), crowd.photos[-1].of(name), settings.false_accepts
        )
        for name, scale in scales.items()
    }
    recogniser = None if judges.independent is None else encoder_id(judges.independent)
    return Table(
        settings=to_dict(settings),
        encoder=encoder_id(judges.own),
        recogniser=recogniser,
        people=crowd.count,
        tuning=tuning,
        real=real,
        rows=tuple(rows),
        choices=tuple(choices),
    )


def judge_row(judges: Judges, crowd: Crowd, recipe: Recipe, made: Sequence[Made]) -> Row:
    """One row's figures."""
    outputs = judges.look(each.read() for each in made)
    trusted = judges.trusted
    other = judges.scales()[trusted].table(outputs.of(trusted), crowd.photos[-1].of(trusted))
    return Row(
        method=recipe.method,
        references=recipe.references,
        reference=estimate(likeness_to_references(judges, crowd, outputs, recipe.references)),
        other=estimate(np.nan_to_num(np.diag(other))),
        rank1_other=estimate(hits(other)),
        with_face=estimate(outputs.seen),
        own=estimate(likeness_to_references(judges, crowd, outputs, recipe.references, OWN)),
        seconds=Seconds(
            setup=float(np.median([each.setup_s for each in made])),
            picture=float(np.median([each.picture_s for each in made])),
        ),
    )


def likeness_to_references(
    judges: Judges, crowd: Crowd, outputs: Vectors, references: int, recogniser: str | None = None
) -> np.ndarray:
    """Each person's mean similarity (N,) to the photos that were given; 0 without a face."""
    name = recogniser or judges.trusted
    scale = judges.scales()[name]
    same = [
        np.diag(scale.table(outputs.of(name), photos.of(name)))
        for photos in crowd.photos[:references]
    ]
    return np.nan_to_num(np.mean(same, axis=0))


def draw_sheet(
    settings: TableSettings, crowd: Crowd, made: Sequence[tuple[Recipe, list[Made]]]
) -> None:
    """Write a sheet of the first people: photo, photo never shown, every row's picture."""
    shown = crowd.people[:SHOWN]
    columns = [
        ("reference", [person.reference for person in shown]),
        ("other photo", [decode(person.photos[-1]) for person in shown]),
    ]
    columns += [(recipe.name, [each.read() for each in row[:SHOWN]]) for recipe, row in made]
    write_sheets(settings.out / "sheets", columns)
