"""What someone asks for on the page, and the pipeline's keywords that it becomes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facestudio.web.problems import FieldProblem

if TYPE_CHECKING:
    from PIL import Image

MAX_VARIANTS = 8
MAX_WORDS = 400
SEEDS = 2**31


@dataclass(frozen=True)
class Wishes:
    """The fields that all tabs share, as the page gives them.

    words: what the picture shows. dial: 0 words alone to 100 style picture alone, where both are
    there. count: how many variants. seed: a number, or nothing for a random one. steps, guidance:
    None for the model's own. face: weight of the face in per cent.
    """

    words: str = ""
    dial: float = 50
    count: float = 4
    seed: str = ""
    steps: float | None = None
    guidance: float | None = None
    face: float = 100

    def options(self, style: Image.Image | None) -> dict[str, Any]:
        """The pipeline's keywords. Raises FieldProblem where neither words nor style are given."""
        words = (self.words or "").strip()
        if not words and style is None:
            raise FieldProblem("words", "Write what the picture shows, or choose a style picture.")
        if len(words) > MAX_WORDS:
            raise FieldProblem("words", f"Use at most {MAX_WORDS} letters; these are {len(words)}.")
        given = {
            "prompt": words or None,
            "style": style,
            "alpha": self.dial / 100 if words and style is not None else None,
            "num_inference_steps": None if self.steps is None else int(self.steps),
            "guidance_scale": self.guidance,
            "identity_scale": self.face / 100,
        }
        return {name: value for name, value in given.items() if value is not None}

    def seeds(self) -> list[int]:
        """One seed a variant, counted up from the one given. Raises FieldProblem."""
        first = read_seed(self.seed)
        return [first + i for i in range(min(max(int(self.count), 1), MAX_VARIANTS))]


def read_seed(text: str) -> int:
    """The seed that was typed; a random one where nothing was. Raises FieldProblem."""
    text = (text or "").strip()
    if not text:
        return secrets.randbelow(SEEDS)
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= SEEDS:
        raise FieldProblem("seed", f"A seed is a whole number from 0 to {SEEDS - 1}, or nothing.")
    return int(text)


def read_numbers(
    text: str, field: str, lowest: float, highest: float, *, most: int = 5
) -> list[float]:
    """Numbers from text such as "0, 0.5, 1", in the order given. Raises FieldProblem."""
    words = [word for word in re.split(r"[;,\s]+", (text or "").strip()) if word]
    numbers = [_read_number(word, field) for word in words]
    if not numbers or len(numbers) > most:
        raise FieldProblem(field, f"Give one to {most} numbers with commas between them.")
    outside = [n for n in numbers if not lowest <= n <= highest]
    if outside:
        raise FieldProblem(field, f"{outside[0]:g} is not from {lowest:g} to {highest:g}.")
    return _without_repeats(numbers)


def _read_number(word: str, field: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise FieldProblem(field, f"“{word}” is not a number.") from None


def _without_repeats(numbers: Sequence[float]) -> list[float]:
    return list(dict.fromkeys(numbers))
