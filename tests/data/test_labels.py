"""Which style a record's picture is in, and which attributes hold."""

import pytest

from facestudio.data.labels import holds, style_of

STYLES = {"photo": ("photo",), "ink": ("pen", "line")}


@pytest.mark.parametrize(
    ("record", "style"),
    [({}, "photo"), ({"kind": "photo", "style": "pen"}, "photo"), ({"kind": "drawn"}, None),
     ({"kind": "drawn", "style": "line"}, "ink"), ({"style": "oil"}, None),
     ({"style": ["pen", "USA"]}, None), ({"has_face": False}, None)],
)  # fmt: skip
def test_style_of_a_record(record, style):
    assert style_of(record, STYLES) == style


def test_wanted_attributes():
    assert holds(["Goatee", "Mustache"], ["Mustache"])
    assert not holds(["Goatee", "Mustache"], ["Smiling"])
    assert holds(["!No_Beard"], [])
    assert not holds(["!No_Beard"], ["No_Beard"])
