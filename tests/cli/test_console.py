"""Lines, JSON and bars."""

import json
import os
import subprocess
import sys

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


def test_notes_of_libraries_stay_out_of_the_output():
    """In a process of its own, as a command is: libraries are quiet from the first on."""
    loads = "from facestudio.cli import console; console.quiet_libraries(); "
    loads += "from transformers import CLIPImageProcessor; CLIPImageProcessor"
    free = {k: v for k, v in os.environ.items() if not k.endswith("_VERBOSITY")}
    command = [sys.executable, "-c", loads]
    told = subprocess.run(command, env=free, capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("", "")


def test_who_asks_for_notes_gets_them(monkeypatch):
    environment = {"TRANSFORMERS_VERBOSITY": "info"}
    monkeypatch.setattr(os, "environ", environment)
    console.quiet_libraries()
    assert environment["TRANSFORMERS_VERBOSITY"] == "info"
    assert environment["DIFFUSERS_VERBOSITY"] == "error"


@pytest.mark.parametrize("switch", [None, "0", "1"])
def test_a_command_imports_lazily_unless_told_not_to(switch):
    code = """
import sys
from facestudio.cli import app
app.app = lambda: None
app.main()
import facestudio.pipeline.pipeline
print("torch._dynamo" in sys.modules)
"""
    kept = {name: value for name, value in os.environ.items() if name != console.SWITCH}
    told = {} if switch is None else {console.SWITCH: switch}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=kept | told, check=True
    )
    assert done.stdout.splitlines()[-1] == str(switch == "0")
