"""Where pictures go: numbering, folders, and what is never written over."""

from pathlib import Path

import pytest
from PIL import Image

from facestudio.cli.outputs import plan_outputs
from facestudio.errors import BadOutput
from facestudio.images import write_picture


def test_one_picture_has_the_name_itself(tmp_path):
    assert plan_outputs(tmp_path / "a.jpg", 1) == [tmp_path / "a.jpg"]


def test_several_are_numbered_before_the_suffix(tmp_path):
    paths = plan_outputs(tmp_path / "portrait.png", 3)
    assert [path.name for path in paths] == ["portrait-1.png", "portrait-2.png", "portrait-3.png"]


def test_a_folder_takes_the_usual_name(tmp_path):
    assert plan_outputs(tmp_path, 1) == [tmp_path / "portrait.png"]
    assert plan_outputs(tmp_path, 2)[1] == tmp_path / "portrait-2.png"


@pytest.mark.parametrize("name", ["no/such/folder/a.png", "a.gif", "a"])
def test_places_that_cannot_be_written_are_refused(tmp_path, name):
    with pytest.raises(BadOutput):
        plan_outputs(tmp_path / name, 1)


def test_a_picture_of_ours_is_replaced(tmp_path):
    write_picture(Image.new("RGB", (4, 4)), tmp_path / "a.png", {"seed": 1})
    assert plan_outputs(tmp_path / "a.png", 1) == [tmp_path / "a.png"]


@pytest.mark.parametrize("content", [b"no picture", None])
def test_a_file_of_others_is_kept_unless_forced(tmp_path, content):
    path = tmp_path / "a.png"
    if content:
        path.write_bytes(content)
    else:
        Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(BadOutput, match="was not made by facestudio") as refusal:
        plan_outputs(path, 1)
    assert "--force" in refusal.value.hint
    assert plan_outputs(path, 1, force=True) == [path]


def test_a_picture_that_is_read_is_never_written_over(tmp_path, monkeypatch):
    write_picture(Image.new("RGB", (4, 4)), tmp_path / "me.png", {"seed": 1})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadOutput, match="reads"):
        plan_outputs(tmp_path / "me.png", 1, inputs=[Path("me.png")], force=True)


def test_planning_writes_nothing(tmp_path):
    plan_outputs(tmp_path / "a.png", 2)
    assert list(tmp_path.iterdir()) == []
