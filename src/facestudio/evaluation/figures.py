"""The paper's figures, drawn by a model from people whose pictures may be shown.

Each figure is a JPEG with plain labels; `figures.md` beside them shows them all and says what made
them. Source of the layouts: FaceStudio (arXiv 2312.02663), figures 1, 4 to 8, 10 and 11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from facestudio.data.drawing import STYLES
from facestudio.errors import BadOption, MissingFile
from facestudio.evaluation.figures_layout import Row, draw_rows, write_small
from facestudio.evaluation.figures_rows import (
    show_alpha,
    show_couples,
    show_identity,
    show_image_to_image,
    show_mixing,
    show_styles,
    show_teaser,
    show_views,
)
from facestudio.evaluation.figures_studio import PEOPLE, Studio, open_studio
from facestudio.evaluation.outputs import open_folder
from facestudio.images import write_bytes
from facestudio.pipeline.pipeline import FaceStudioPipeline

Shown = Callable[[str, int, int], None]
PAGE = "figures.md"


@dataclass(frozen=True)
class FiguresSettings:
    """Settings of `facestudio figures`.

    people: a tar or a folder with a folder a person, six people at least with two photos each.
    photo: one more person; style pictures are made of this photo. out: folder of the figures.
    only: names of figures; all where empty. looks: four styles of `facestudio.data.drawing`.
    prompt: words that a photographic picture is drawn by; drawn_prompt: the words that the
    sweep of alpha starts from. cell_px: the height of a picture in a figure. credit: a line on
    whose pictures these are.
    """

    people: Path
    photo: Path
    out: Path
    model: str = "mini"
    only: tuple[str, ...] = ()
    looks: tuple[str, ...] = ("pencil", "watercolour", "comic", "oil")
    prompt: str = "a portrait photo of a smiling person"
    drawn_prompt: str = "an ink drawing of a person"
    credit: str = ""
    seed: int = 1
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    cell_px: int = 128


@dataclass(frozen=True)
class Figure:
    """One figure: its file's name without the suffix, what it shows, and what makes its rows."""

    name: str
    caption: str
    rows: Callable[[Studio], list[Row]]


FIGURES = (
    Figure("portraits", "One photo of each person; styles, words, mixing, alpha.", show_teaser),
    Figure(
        "figure-identity",
        "The influence of the identity: a style picture (the photo, face hidden) without and with.",
        show_identity,
    ),
    Figure("figure-views", "Novel view: each identity in the pose of a reference.", show_views),
    Figure("figure-alpha", "From words (0) to a style picture (1), identity held.", show_alpha),
    Figure("figure-mixing", "From one person (0) to another (1), style held.", show_mixing),
    Figure(
        "figure-people",
        "Two people: attention by region, and plain cross-attention over their mixed identity.",
        show_couples,
    ),
    Figure(
        "figure-image",
        "Image-to-image: another person's face in a photo, by strength.",
        show_image_to_image,
    ),
    Figure("figure-styles", "Seven people in four styles.", show_styles),
)


def make_figures(
    settings: FiguresSettings,
    on_figure: Shown | None = None,
    pipe: FaceStudioPipeline | None = None,
) -> list[Path]:
    """Draw the figures asked for and the page; their paths.

    on_figure(name, done, total) is called before each and at the end; `pipe` stands in for
    settings.model. Raises FaceStudioError, before any picture is made where possible.
    """
    chosen = check_figures(settings)
    open_folder(settings.out)
    pipe = pipe or FaceStudioPipeline.from_pretrained(settings.model)
    studio = open_studio(settings, pipe)
    paths = []
    for number, figure in enumerate(chosen):
        if on_figure is not None:
            on_figure(figure.name, number, len(chosen))
        path = settings.out / f"{figure.name}.jpg"
        write_small(draw_rows(figure.rows(studio), settings.cell_px), path)
        paths.append(path)
    if on_figure is not None:
        on_figure("done", len(chosen), len(chosen))
    write_bytes(settings.out / PAGE, describe(settings).encode())
    return [*paths, settings.out / PAGE]


def check_figures(settings: FiguresSettings) -> Sequence[Figure]:
    """The figures asked for. Raises BadOption or MissingFile for what can be told at once."""
    known = {figure.name: figure for figure in FIGURES}
    for name in settings.only:
        if name not in known:
            raise BadOption(f"only={name!r}: give some of {', '.join(known)}")
    if len(settings.looks) != 4 or not set(settings.looks) <= set(STYLES):
        given = ", ".join(settings.looks)
        raise BadOption(f"looks={given}: give four of {', '.join(STYLES)}")
    if settings.cell_px < 32:
        raise BadOption(f"cell_px={settings.cell_px}: give 32 or more")
    for path in (settings.people, settings.photo):
        if not path.exists():
            raise MissingFile(f"no such file: {path}", file=path)
    return [figure for figure in FIGURES if not settings.only or figure.name in settings.only]


def describe(settings: FiguresSettings) -> str:
    """The page that shows every figure that lies in the folder."""
    lines = [
        "# Figures",
        "",
        f"The paper's figures by `{settings.model}`, drawn by `facestudio figures` with the seed "
        f"{settings.seed}, {PEOPLE} people and one more. {settings.credit}".rstrip(),
    ]
    for figure in FIGURES:
        if (settings.out / f"{figure.name}.jpg").exists():
            lines += ["", f"## {figure.caption}", "", f"![{figure.caption}]({figure.name}.jpg)"]
    return "\n".join(lines) + "\n"
