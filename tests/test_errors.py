"""The error tree: codes, exits, what is shown."""

from __future__ import annotations

import json
import pickle

import pytest

from facestudio import errors
from facestudio.errors import FaceStudioError, SeveralFaces

CODES = {
    2: {"bad_option", "bad_region", "bad_output"},
    3: {
        "not_a_picture",
        "too_large",
        "no_face",
        "face_too_small",
        "several_faces",
        "missing_file",
    },
    4: {"missing_weights", "encoder_mismatch", "bad_model"},
    5: {"no_space", "out_of_memory"},
    1: {
        "not_allowed",
        "not_found",
        "busy",
        "not_ready",
        "deadline_passed",
        "cancelled",
        "withheld",
        "server_fault",
        "unreachable",
    },
}
BRANCHES = (
    errors.OptionError,
    errors.PictureError,
    errors.ModelError,
    errors.MachineError,
    errors.ServiceError,
)


def leaves() -> list[type[FaceStudioError]]:
    return [leaf for branch in BRANCHES for leaf in branch.__subclasses__()]


def test_codes_and_exits_are_the_documented_ones():
    found = {exit_code: set() for exit_code in CODES}
    for leaf in leaves():
        found[leaf.exit_code].add(leaf.code)
    assert found == CODES
    assert len({leaf.code for leaf in leaves()}) == len(leaves())


def test_the_drawing_at_the_top_names_every_class_and_code():
    for leaf in leaves():
        assert leaf.__name__ in errors.__doc__
        assert leaf.code in errors.__doc__


def test_all_lists_every_class():
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    tree = {name for name in classes if issubclass(getattr(errors, name), FaceStudioError)}
    assert tree <= set(errors.__all__)
    assert sorted(errors.__all__, key=str.lower) == sorted(set(errors.__all__), key=str.lower)


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.code)
def test_to_dict_is_plain_json(leaf):
    error = leaf("found this", file="a.jpg", hint="do that", boxes=[(1, 2, 3, 4)])
    assert json.loads(json.dumps(error.to_dict())) == {
        "code": leaf.code,
        "message": "found this",
        "file": "a.jpg",
        "hint": "do that",
        "boxes": [[1.0, 2.0, 3.0, 4.0]],
    }


def test_what_is_not_given_is_none():
    assert FaceStudioError("x").to_dict() == {
        "code": "error",
        "message": "x",
        "file": None,
        "hint": None,
        "boxes": None,
    }


def test_text_joins_message_and_hint():
    assert str(SeveralFaces("2 faces", hint="crop")) == "2 faces; crop"
    assert str(SeveralFaces("2 faces")) == "2 faces"


def test_survives_another_process():
    error = SeveralFaces("2 faces", file="a.jpg", boxes=[(0, 0, 1, 1)])
    assert pickle.loads(pickle.dumps(error)).to_dict() == error.to_dict()


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.code)
def test_is_the_same_after_it_was_told(leaf):
    error = leaf("found this", file="a.jpg", hint="do that", boxes=[(1, 2, 3, 4)])
    again = FaceStudioError.from_dict(error.to_dict())
    assert type(again) is leaf
    assert again.to_dict() == error.to_dict()


def test_a_code_of_elsewhere_is_the_root():
    error = FaceStudioError.from_dict({"code": "strange", "message": "x"})
    assert type(error) is FaceStudioError
    assert str(error) == "x"
