"""What went wrong, as words beside the field that caused it."""

from __future__ import annotations

import re

from facestudio.errors import FaceStudioError

# Where in the pipeline's message an option is named: "seed=-1: give …".
NAMED = re.compile(r"^(\w+)=")
FIELDS = {
    "seed": "seed",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "num_images_per_prompt": "count",
    "prompt": "words",
    "alpha": "dial",
    "strength": "strength",
}


class FieldProblem(Exception):
    """A field of the page has a value that cannot be used; `field` is the problem's place."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field = field
        self.words = words


def in_words(error: FaceStudioError) -> str:
    """The error's message and its next step as sentences, without an option's name in code."""
    sentences = [NAMED.sub("", error.message), error.hint or ""]
    return " ".join(_sentence(words) for words in sentences if words)


def field_of(error: FaceStudioError, otherwise: str) -> str:
    """The field that the pipeline's message names, else `otherwise`."""
    named = NAMED.match(error.message)
    return FIELDS.get(named[1], otherwise) if named else otherwise


def _sentence(words: str) -> str:
    ended = words if words.endswith((".", "!", "?")) else f"{words}."
    is_word = ended.split()[0].isalpha()  # and no file's name
    return ended[:1].upper() + ended[1:] if is_word else ended
