"""What a record says of its picture: in which style it is, and which attributes hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PHOTO = "photo"
Styles = Mapping[str, Sequence[str]]


def style_of(record: Mapping[str, Any], styles: Styles) -> str | None:
    """The style that a record's picture is in; None: none of these.

    styles: name -> the words in records' `style` that belong to it. A picture of a person without
    any is a photo.
    """
    if not record.get("has_face", True):
        return None
    own = record.get("style")
    if record.get("kind") == PHOTO or (own is None and record.get("kind") != "drawn"):
        own = PHOTO
    if not isinstance(own, str):
        return None
    return next((name for name, words in styles.items() if own in words), None)


def holds(wanted: Sequence[str], attributes: Sequence[str]) -> bool:
    """Whether one of the wanted attributes holds; "!Name" holds where Name does not."""
    return any((each.lstrip("!") in attributes) != each.startswith("!") for each in wanted)
