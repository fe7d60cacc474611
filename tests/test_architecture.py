"""The picture in docs/architecture.md is what the code says, and the floors are those we check."""

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_imports", ROOT / "docs/draw_imports.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_picture_is_of_today(drawing):
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    wanted = drawing.replace_picture(page, drawing.draw_imports())
    assert page == wanted, "docs/architecture.md is stale: run `make picture`"


def test_every_room_has_a_place(drawing):
    rooms = {
        path.stem
        for path in (ROOT / "src/facestudio").iterdir()
        if path.suffix in ("", ".py") and not path.name.startswith("_") and path.name != "models"
    }
    placed = {room for _, floor in drawing.FLOORS for room in floor}
    assert rooms <= placed, f"no floor for {rooms - placed}"


def test_picture_and_checked_floors_are_the_same_rooms(drawing):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    checked = {room.strip(" ()") for layer in layers for room in layer.split("|")}
    assert checked == {room for _, floor in drawing.FLOORS for room in floor}


def test_page_without_marks_is_refused(drawing):
    with pytest.raises(ValueError, match="lacks"):
        drawing.replace_picture("no marks here", "flowchart TB")


def test_only_the_picture_is_replaced(drawing):
    page = f"above\n{drawing.START}\nold\n{drawing.END}\nbelow\n"
    new = drawing.replace_picture(page, "flowchart TB")
    assert new.startswith("above\n")
    assert new.endswith("\nbelow\n")
    assert "old" not in new
    assert drawing.replace_picture(new, "flowchart TB") == new
