"""Lines, JSON and bars."""

import json

import pytest

from facestudio.cli import console


def test_json_is_one_object_with_paths_as_text(capsys, tmp_path):
    console.print_json({"ok": True, "path": tmp_path, "word": "été"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"ok": True, "path": str(tmp_path), "word": "été"}
    assert "été" in text


def test_table_has_straight_columns(capsys):
    console.print_table([("a", "first"), ("long", "x")])
    assert capsys.readouterr().out == "a     first\nlong  x\n"


def test_empty_table_prints_nothing(capsys):
    console.print_table([])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("watched", [True, False])
def test_bars_are_drawn_only_where_someone_watches(capsys, monkeypatch, watched):
    monkeypatch.setattr(console, "on_terminal", lambda: watched)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console.waiting("loading"), console.progress_bar("drawing", 2) as show:
        show(1)
        show(2, what="drawn")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert bool(printed.err) == watched
