"""The page and the sheets show what was found."""

import json

import pytest
from PIL import Image

from facestudio.evaluation.groups import GroupResult, group_members
from facestudio.evaluation.measures import Estimate, Likeness, RealPairs
from facestudio.evaluation.report import ConditionResult, PeopleCount, Report
from facestudio.evaluation.sheets import CELL_PX, HEAD_PX, draw_sheet, write_sheets
from facestudio.evaluation.tables import markdown_table, share, show
from facestudio.images import read_picture

HALF, NOTHING = Estimate(0.5, 0.4, 0.6, 9), Estimate(float("nan"), float("nan"), float("nan"), 0)


def make_report(**changes) -> Report:
    real = RealPairs(Estimate(0.66, 0.64, 0.68, 9), 0.004, 0.315, HALF, HALF)
    likeness = Likeness(*[HALF] * 6, NOTHING)
    group = GroupResult(HALF, HALF, HALF, HALF)
    result = ConditionResult("prompt-0", "prompt", "a | photo", True, HALF, likeness, likeness,
                             likeness)  # fmt: skip
    given = {
        "settings": {"model": "mini", "people": "x/lfw.tar", "half": "report",
                     "false_accepts": 0.001, "min_group": 2},
        "encoder": "own@1",
        "recogniser": "other@2",
        "people": PeopleCount(12, 1, 2, 9),
        "real": {"own": real, "own_raw": real, "independent": real},
        "conditions": (result,),
        "groups": {"gender=female": group},
    }  # fmt: skip
    return Report(**given | changes)


def test_page_says_who_was_judged_by_whom():
    page = make_report().to_markdown()
    assert page.startswith("# mini on lfw.tar\n")
    assert "9 people evaluated of 12 (report half)" in page
    assert "1 left out without a face" in page
    assert "2 too like somebody" in page
    assert "Likeness by other@2." in page
    assert "0.001 of the pairs" in page


def test_page_puts_ceiling_and_floor_around_the_figures():
    page = make_report().to_markdown().partition("## Likeness")[2]
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert "0.660 (0.640-0.680)" in rows[2]
    assert rows[3].startswith("| a / photo | 9 | 50.0 % | 0.500 (0.400-0.600) |")
    assert rows[4].startswith("| **two strangers** |  |  | 0.004 |")
    assert len({row.count("|") for row in rows[:5]}) == 1


def test_groups_are_shown_where_there_are_any():
    assert "| gender=female | 9 | 50.0 % |" in make_report().to_markdown()
    assert "Groups" not in make_report(groups={}).to_markdown()


def test_own_encoder_is_not_taken_for_an_independent_one():
    report = make_report(recogniser=None)
    assert report.trusted == "own"
    assert "own@1, the model's own encoder" in report.to_markdown()


def test_report_is_written_as_json_and_page(tmp_path):
    make_report(conditions=()).write(tmp_path)
    written = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert written["real"]["independent"]["same"] == {
        "mean": 0.66, "low": 0.64, "high": 0.68, "n": 9,
    }  # fmt: skip
    assert (tmp_path / "report.md").read_text("utf-8").startswith("# mini")


def test_unknown_figures_are_dashes():
    assert show(NOTHING) == share(NOTHING) == "-"
    assert show(HALF) == "0.500 (0.400-0.600)"


def test_tables_have_a_line_under_their_head():
    assert markdown_table(["a", "b"], [["1", "2"]]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]


def test_members_of_groups():
    groups = [{"gender": "male"}, {}, {"gender": "female", "age": "60 and over"}]
    members = group_members(groups)
    assert members == {"age=60 and over": [2], "gender=female": [2], "gender=male": [0]}
    assert list(members) == sorted(members)


def test_sheet_holds_every_picture_in_its_place():
    red, blue = Image.new("RGB", (30, 40), "red"), Image.new("RGB", (30, 30), "blue")
    sheet = draw_sheet([("reference", [red, blue]), ("output", [blue, red])])
    assert sheet.size == (2 * CELL_PX, HEAD_PX + 2 * CELL_PX)
    middle = CELL_PX // 2
    assert sheet.getpixel((middle, HEAD_PX + middle)) == (255, 0, 0)
    assert sheet.getpixel((CELL_PX + middle, HEAD_PX + middle)) == (0, 0, 255)


@pytest.mark.parametrize(("people", "sheets"), [(1, 1), (4, 2), (5, 3)])
def test_many_people_take_several_sheets(tmp_path, people, sheets):
    pictures = [Image.new("RGB", (8, 8), "red")] * people
    paths = write_sheets(tmp_path / "sheets", [("a", pictures)], rows=2)
    assert len(paths) == sheets
    assert read_picture(paths[0]).width == CELL_PX
