"""The paper's figures on a tiny pipeline: rows, labels, small files, the page, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from facestudio.errors import BadOption, BadOutput, MissingFile
from facestudio.evaluation import figures_rows
from facestudio.evaluation.figures import FIGURES, FiguresSettings, check_figures, make_figures
from facestudio.evaluation.figures_layout import LABEL_PX, Row, draw_rows, write_small
from facestudio.evaluation.figures_studio import PEOPLE, Mixed, Studio, open_studio
from facestudio.images import read_picture
from facestudio.settings import load_settings, to_toml
from tests.evaluation.conftest import photo, write_people
from tests.pipeline.conftest import make_identity, make_picture


@pytest.fixture
def figure_settings(tmp_path) -> FiguresSettings:
    photo(90, 0).save(tmp_path / "photo.png")
    return FiguresSettings(
        people=write_people(tmp_path / "people.tar", PEOPLE),
        photo=tmp_path / "photo.png",
        out=tmp_path / "out",
        prompt="a man smiling",  # words that the tiny tokenizer knows
        drawn_prompt="an ink drawing",
        num_inference_steps=1,
        cell_px=32,
    )


class Camera:
    """Stands for the pipeline: keeps what it was asked for and gives a grey picture."""

    def __init__(self, pipe) -> None:
        self.limits = pipe.limits
        self.asked = []

    def __call__(self, identity, **options):
        self.asked.append((identity, options))
        size = (options.get("width", 32), 32)
        return type("Output", (), {"images": [Image.new("RGB", size, "grey")]})


@pytest.fixture
def studio(figure_settings, pipe, encoder) -> Studio:
    """Seven people who need no photo searched, before a camera that draws at once."""
    people = range(PEOPLE + 1)
    portraits = [make_picture(number, 64, 64) for number in people]
    identities = [make_identity(encoder, number) for number in people]
    names = ("photo", "mirrored", *figure_settings.looks)
    styles = {name: make_picture(20 + i, 64, 64) for i, name in enumerate(names)}
    return Studio(figure_settings, Camera(pipe), portraits, identities, styles)


# --- the whole -----------------------------------------------------------------------------------


def test_a_figure_and_the_page_are_written(figure_settings, pipe):
    seen = []
    settings = dataclasses.replace(
        figure_settings, only=("figure-views",), credit="By the painter."
    )
    paths = make_figures(settings, lambda *given: seen.append(given), pipe)
    assert [path.name for path in paths] == ["figure-views.jpg", "figures.md"]
    assert seen == [("figure-views", 0, 1), ("done", 1, 1)]
    assert read_picture(paths[0]).size == (6 * 36 - 4, 3 * 36 + LABEL_PX)
    page = paths[1].read_text("utf-8")
    assert "![Novel view: each identity in the pose of a reference.](figure-views.jpg)" in page
    assert "By the painter." in page
    assert "figure-alpha.jpg" not in page


def test_the_page_shows_what_lies_there(figure_settings, pipe):
    figure_settings.out.mkdir()
    Image.new("RGB", (4, 4)).save(figure_settings.out / "figure-alpha.jpg")
    make_figures(dataclasses.replace(figure_settings, only=("figure-views",)), None, pipe)
    page = (figure_settings.out / "figures.md").read_text("utf-8")
    assert page.index("figure-views.jpg") < page.index("figure-alpha.jpg")


def test_the_studio_holds_seven_people_and_styles_of_the_last(figure_settings, pipe):
    studio = open_studio(figure_settings, pipe)
    assert len(studio.portraits) == len(studio.identities) == PEOPLE + 1
    assert {each.size for each in studio.portraits} == {(64, 64)}
    assert list(studio.styles) == ["photo", "mirrored", *figure_settings.looks]
    mirrored = np.asarray(studio.styles["mirrored"])
    assert np.array_equal(mirrored[:, ::-1], np.asarray(studio.portraits[-1]))
    assert studio.styles["pencil"].size == (32, 32)


def test_fewer_than_six_people_are_refused(figure_settings, pipe, tmp_path):
    people = write_people(tmp_path / "few.tar", 3)
    with pytest.raises(BadOption, match="3 people with two photos; 6 are wanted"):
        open_studio(dataclasses.replace(figure_settings, people=people), pipe)


# --- what each figure asks for -------------------------------------------------------------------


def counts(rows: list[Row]) -> list[int]:
    return [len(row.pictures) for row in rows]


@pytest.mark.parametrize(
    ("show", "pictures"),
    [
        ("show_identity", [7, 7, 7]),
        ("show_views", [6, 6, 6]),  # a pose, five people
        ("show_alpha", [13, 13, 13]),  # a photo, eleven columns, the style
        ("show_mixing", [12, 12, 12]),  # one, ten columns, the other
        ("show_couples", [4, 4, 4]),
        ("show_image_to_image", [6, 6, 6]),
        ("show_styles", [8, 8, 8, 8, 8]),  # seven people, four styles
        ("show_teaser", [7, 7, 7, 7, 7, 3]),
    ],
)
def test_rows_have_the_papers_columns(studio, show, pictures):
    rows = getattr(figures_rows, show)(studio)
    assert counts(rows) == pictures
    for row in rows:
        assert len(row.captions) in (0, len(row.pictures))


def test_with_and_without_identity_differ_in_nothing_else(studio):
    figures_rows.show_identity(studio)
    asked = studio.pipe.asked
    for (nobody, one), (person, other) in zip(asked[:7], asked[7:], strict=True):
        assert nobody is None
        assert person in studio.identities
        assert one == other
        assert one["style"] is studio.portraits[studio.identities.index(person)]


def test_alpha_runs_from_words_to_the_style_picture(studio):
    figures_rows.show_alpha(studio)
    first = [options for _, options in studio.pipe.asked[:11]]
    assert [each["alpha"] for each in first] == pytest.approx(np.linspace(0, 1, 11))
    assert {each["seed"] for each in first} == {1}
    assert {each["prompt"] for each in first} == {"an ink drawing"}


def test_mixing_runs_from_one_person_to_the_other(studio):
    figures_rows.show_mixing(studio)
    people = [identity for identity, _ in studio.pipe.asked[:10]]
    assert np.allclose(people[0].embedding, studio.identities[0].embedding, atol=1e-6)
    assert np.allclose(people[-1].embedding, studio.identities[6].embedding, atol=1e-6)
    assert len({options["style"].tobytes() for _, options in studio.pipe.asked[:10]}) == 1


def test_couples_are_drawn_by_region_and_as_one(studio):
    figures_rows.show_couples(studio)
    (pair, by_region), (mixed, plain) = studio.pipe.asked[:2]
    assert pair == [studio.identities[0], studio.identities[6]]
    assert by_region["regions"] == ((0, 0, 0.5, 1), (0.5, 0, 1, 1))
    assert by_region["width"] == plain["width"] == 64
    assert "regions" not in plain
    assert np.allclose(mixed.embedding, pair[0].mix(pair[1]).embedding)


def test_image_to_image_starts_from_the_other_person(studio):
    figures_rows.show_image_to_image(studio)
    person, options = studio.pipe.asked[0]
    assert person is studio.identities[6]
    assert options["image"] is studio.portraits[0]
    assert options["strength"] == 0.4


def test_a_picture_is_taken_once(studio):
    one = studio.draw(Mixed(0, 1), style="pencil")
    assert studio.draw(Mixed(0, 1), style="pencil") is one
    assert studio.draw(Mixed(0, 1, 0.4), style="pencil") is not one
    assert len(studio.pipe.asked) == 2


# --- layout --------------------------------------------------------------------------------------


def test_pictures_stand_side_by_side_under_their_text():
    red, blue = Image.new("RGB", (10, 10), "red"), Image.new("RGB", (20, 10), "blue")
    sheet = np.asarray(draw_rows([Row([red, blue], "both", ["a", "b"]), Row([None, red])], 40))
    top = 2 * LABEL_PX
    assert sheet.shape == (top + 2 * 44, 40 + 4 + 80, 3)
    assert (sheet[top : top + 40, :40] == (255, 0, 0)).all()
    assert (sheet[top : top + 40, 44:124] == (0, 0, 255)).all()
    assert (sheet[top + 44 : top + 84, :44] == 255).all()
    assert (sheet[top + 44 : top + 84, 44:84] == (255, 0, 0)).all()
    assert (sheet[:LABEL_PX] < 128).any()  # the label
    assert (sheet[LABEL_PX:top, 44:] < 128).any()  # the second caption


def test_files_stay_small(tmp_path, rng):
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    write_small(noise, tmp_path / "large.jpg", 100_000)
    large = (tmp_path / "large.jpg").stat().st_size
    write_small(noise, tmp_path / "small.jpg", large - 1)
    assert (tmp_path / "small.jpg").stat().st_size < large
    with pytest.raises(BadOutput, match="10 are allowed"):
        write_small(noise, tmp_path / "tiny.jpg", 10)
    assert not (tmp_path / "tiny.jpg").exists()


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"only": ("figure-x",)}, "only='figure-x': give some of portraits, figure-identity"),
        ({"looks": ("pencil", "ink")}, "give four of"),
        ({"looks": ("pencil", "ink", "oil", "lava")}, "give four of"),
        ({"cell_px": 8}, "cell_px=8"),
    ],
)
def test_wrong_settings_are_refused(figure_settings, changes, message):
    with pytest.raises(BadOption, match=message):
        check_figures(dataclasses.replace(figure_settings, **changes))


@pytest.mark.parametrize("name", ["people", "photo"])
def test_missing_files_are_refused(figure_settings, tmp_path, name):
    with pytest.raises(MissingFile, match="gone"):
        check_figures(dataclasses.replace(figure_settings, **{name: tmp_path / "gone"}))


def test_all_figures_or_those_named(figure_settings):
    assert check_figures(figure_settings) == list(FIGURES)
    some = check_figures(dataclasses.replace(figure_settings, only=("figure-alpha",)))
    assert [figure.name for figure in some] == ["figure-alpha"]


def test_settings_are_read_from_toml(tmp_path):
    path = tmp_path / "figures.toml"
    path.write_text('people = "people.tar"\nphoto = "a.png"\nout = "docs"\n')
    read = load_settings(FiguresSettings, path, ["seed=4"])
    assert (read.seed, read.model) == (4, "mini")
    path.write_text(to_toml(read))
    assert load_settings(FiguresSettings, path) == read
