"""The table's figures, as plain values and as a page to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facestudio.evaluation.measures import Estimate, RealPairs
from facestudio.evaluation.report import PeopleCount
from facestudio.evaluation.tables import markdown_table, share, show
from facestudio.evaluation.tuning.settings import TUNED_METHODS
from facestudio.images import write_bytes
from facestudio.settings import to_dict

TITLES = {
    "style": "this model, style picture",
    "words": "this model, words",
    "style-nobody": "this model without identity, style picture",
    "words-nobody": "this model without identity, words",
    "inversion": "Textual Inversion",
    "dreambooth": "DreamBooth",
}


@dataclass(frozen=True)
class Trial:
    """How like the tuning people a tuned method's pictures are at one rate after `iterations`."""

    rate: float
    iterations: int
    likeness: float


@dataclass(frozen=True)
class Choice:
    """What was tried for a tuned method with so many references."""

    method: str
    references: int
    trials: Sequence[Trial]

    @property
    def best(self) -> Trial:
        """The trial of the highest likeness; of equal ones the shortest."""
        return max(self.trials, key=lambda trial: (trial.likeness, -trial.iterations))

    @property
    def at_the_end(self) -> bool:
        """Whether the most iterations were best, so that more might be better still."""
        return self.best.iterations == max(trial.iterations for trial in self.trials)


@dataclass(frozen=True)
class Seconds:
    """Medians over people: getting ready for a person, and drawing a picture."""

    setup: float
    picture: float


@dataclass(frozen=True)
class Row:
    """One method with so many references.

    reference: to the photos given, their mean. other: to a photo never shown; rank1_other: nearest
    of all people's such photos. own: to the photos given, by the model's own encoder.
    """

    method: str
    references: int
    reference: Estimate
    other: Estimate
    rank1_other: Estimate
    with_face: Estimate
    own: Estimate
    seconds: Seconds


@dataclass(frozen=True)
class Table:
    """All rows, what they were chosen from, and what the photos themselves give."""

    settings: dict[str, Any]
    encoder: str
    recogniser: str | None
    people: PeopleCount
    tuning: PeopleCount
    real: dict[str, RealPairs]
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...]

    @property
    def bars(self) -> dict[str, float]:
        """The figures that a model is held to, with the fewest references of those asked for.

        likeness_lead: by words, over the better tuned method; likeness_lead_style: by a style
        picture. setup_ratio: how many times longer the quicker tuned method gets ready.
        """
        fewest = min(row.references for row in self.rows if row.method in TUNED_METHODS)
        rows = {row.method: row for row in self.rows if row.references == fewest}
        tuned = [rows[method] for method in TUNED_METHODS]
        best = max(row.reference.mean for row in tuned)
        return {
            "likeness_lead": rows["words"].reference.mean - best,
            "likeness_lead_style": rows["style"].reference.mean - best,
            "setup_ratio": min(row.seconds.setup for row in tuned) / rows["words"].seconds.setup,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the bars first, each choice with its best."""
        plain = {"bars": self.bars, **to_dict(self)}
        for choice, value in zip(self.choices, plain["choices"], strict=True):
            value |= {"best": to_dict(choice.best), "at_the_end": choice.at_the_end}
        return plain

    def to_markdown(self) -> str:
        """A page: who was drawn, the table, what was chosen and from what."""
        lines = [*self._head(), *self._table(), *self._bars(), *self._choices(), *self._notes()]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write report.json and report.md into `folder`."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        write_bytes(folder / "report.json", text.encode())
        write_bytes(folder / "report.md", self.to_markdown().encode())

    def _head(self) -> list[str]:
        people = self.people
        return [
            f"# {self.settings['model']} beside methods tuned for each person, "
            f"on {Path(self.settings['people']).name}",
            "",
            f"{people.evaluated} people of {people.read}: {people.without_face} left out without a "
            f"face found in every photo, {people.near_training} too like somebody in the training "
            f"data. Likeness by {self.recogniser or self.encoder}"
            + ("." if self.recogniser else ", the model's own encoder: it flatters the model."),
            "",
        ]

    def _table(self) -> list[str]:
        real = self.real["independent" if self.recogniser else "own"]
        rows: list[tuple[str, ...]] = [(
            "**two real photos**", "", show(real.same), show(real.same), share(real.rank1), "",
            show(self.real["own"].same), "", "",
        )]  # fmt: skip
        rows += [self._row(row) for row in self.rows]
        low, own_low = (f"{pairs.strangers:.3f}" for pairs in (real, self.real["own"]))
        rows.append(("**two strangers**", "", low, low, "", "", own_low, "", ""))
        head = (
            "method", "references", "likeness to them", "to another photo", "rank-1 (other)",
            "with face", "own encoder (references)", "set-up s", "picture s",
        )  # fmt: skip
        return [*markdown_table(head, rows), ""]

    def _row(self, row: Row) -> tuple[str, ...]:
        best = {(choice.method, choice.references): choice.best for choice in self.choices}
        trial = best.get((row.method, row.references))
        chosen = "" if trial is None else f", {trial.iterations} iterations at {trial.rate:g}"
        return (
            TITLES[row.method] + chosen, "" if "nobody" in row.method else str(row.references),
            show(row.reference), show(row.other), share(row.rank1_other), share(row.with_face),
            show(row.own), f"{row.seconds.setup:.2f}", f"{row.seconds.picture:.2f}",
        )  # fmt: skip

    def _bars(self) -> list[str]:
        bars = self.bars
        return [
            f"By words this model is {bars['likeness_lead']:+.3f} more like the photos than the "
            f"better tuned method, by style picture {bars['likeness_lead_style']:+.3f}; the "
            f"quicker tuned method takes {bars['setup_ratio']:.0f} times as long to get ready.",
            "",
        ]

    def _choices(self) -> list[str]:
        lines = [f"## Chosen by likeness on {self.tuning.evaluated} other people", ""]
        for choice in self.choices:
            best = choice.best
            tried = sorted({trial.iterations for trial in choice.trials})
            head = ("learning rate", *(f"{count} iterations" for count in tried))
            rates = sorted({trial.rate for trial in choice.trials})
            found = {(trial.rate, trial.iterations): trial.likeness for trial in choice.trials}
            rows = [
                (f"{rate:g}", *(f"{found[rate, count]:.3f}" for count in tried)) for rate in rates
            ]
            ending = "; more iterations were not tried" if choice.at_the_end else ""
            lines += [
                f"{TITLES[choice.method]}, references: {choice.references}. "
                f"Best: {best.iterations} iterations at {best.rate:g}{ending}.",
                "", *markdown_table(head, rows), "",
            ]  # fmt: skip
        return lines

    def _notes(self) -> list[str]:
        prior = self.settings["prior"]
        return [
            "Intervals are 95 %, by bootstrap over the people; a picture without a face counts as "
            "likeness 0. Seconds are medians over the people on the machine that made the table. "
            "Textual Inversion seeks the identity vector, the U-Net frozen; DreamBooth tunes the "
            f"whole U-Net and keeps to {prior['pictures']} pictures that the untuned model drew of "
            "nobody, whose drawing is not counted in its set-up. All rows but those by style "
            f'picture draw by the prompt "{self.settings["prompt"]}"; the style picture is the '
            "first reference, face hidden.",
        ]
