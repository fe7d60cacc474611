"""Every way to end: exit code, what a person reads, what a program reads."""

import errno
import json

import pytest
import typer
from typer.testing import CliRunner

from facestudio import errors
from facestudio.cli.exits import Door, Interrupted, saying_what_is_kept

LEAVES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type)
    and issubclass(value, errors.FaceStudioError)
    and not value.__subclasses__()
]


class OutOfMemoryError(RuntimeError):
    """Stands for torch's error of that name."""


def run(problem: BaseException | None, *words: str):
    app = typer.Typer(cls=Door, rich_markup_mode=None)

    @app.command()
    def work(as_json: bool = typer.Option(False, "--json")) -> None:
        if problem is not None:
            raise problem

    @app.command()
    def other() -> None:
        """A second command, so that the first has a name."""

    return CliRunner().invoke(app, ["work", *words])


def error_of(outcome) -> dict:
    answer = json.loads(outcome.stdout)
    assert answer["ok"] is False
    assert set(answer["error"]) == {"code", "message", "file", "hint", "boxes"}
    return answer["error"]


def test_done_is_zero():
    assert run(None).exit_code == 0


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_each_error_has_its_code_in_both_forms(leaf):
    problem = leaf("it is so", file="a.jpg", hint="do that")
    plain, as_json = run(problem), run(problem, "--json")
    assert plain.exit_code == as_json.exit_code == leaf.exit_code
    assert plain.stdout == ""
    assert "error: it is so" in plain.stderr
    assert "do that" in plain.stderr
    assert error_of(as_json) == {
        "code": leaf.code, "message": "it is so", "file": "a.jpg", "hint": "do that", "boxes": None,
    }  # fmt: skip


def test_boxes_are_told():
    problem = errors.SeveralFaces("two faces", boxes=[(1, 2, 30, 40), (50, 2, 80, 40)])
    assert "face 2: 50,2 to 80,40" in run(problem).stderr
    assert error_of(run(problem, "--json"))["boxes"] == [[1, 2, 30, 40], [50, 2, 80, 40]]


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no_space"),
        (OSError(errno.EDQUOT, "Quota exceeded"), "no_space"),
        (MemoryError(), "out_of_memory"),
        (OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "out_of_memory"),
    ],
)
def test_what_the_machine_lacks(problem, code):
    outcome = run(problem, "--json")
    assert outcome.exit_code == 5
    error = error_of(outcome)
    assert error["code"] == code
    assert error["hint"]


@pytest.mark.parametrize("words", [["--nonsense"], ["stray"]])
def test_a_wrong_call_is_a_bad_option(words):
    outcome = run(None, *words, "--json")
    assert outcome.exit_code == 2
    error = error_of(outcome)
    assert error["code"] == "bad_option"
    assert words[0] in error["message"]
    assert "--help" in error["hint"]


def test_ctrl_c_is_130():
    outcome = run(KeyboardInterrupt())
    assert outcome.exit_code == 130
    assert "interrupted; nothing was written" in outcome.stderr
    assert error_of(run(KeyboardInterrupt(), "--json"))["code"] == "interrupted"


def test_ctrl_c_says_what_is_kept():
    with (
        pytest.raises(Interrupted, match=r"kept: a\.png"),
        saying_what_is_kept(lambda: "kept: a.png"),
    ):
        raise KeyboardInterrupt
    outcome = run(Interrupted("kept: a.png"))
    assert outcome.exit_code == 130
    assert "interrupted; kept: a.png" in outcome.stderr
    assert error_of(run(Interrupted("kept: a.png"), "--json"))["code"] == "interrupted"


@pytest.mark.parametrize("problem", [ValueError("a bug"), OSError(errno.EIO, "broken disk")])
def test_a_bug_is_not_hidden(problem):
    outcome = run(problem)
    assert outcome.exit_code == 1
    assert outcome.exception is problem
