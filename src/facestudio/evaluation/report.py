"""What an evaluation found, as plain values and as a page to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facestudio.evaluation.measures import Estimate, Likeness, RealPairs
from facestudio.images import write_bytes
from facestudio.settings import to_dict


@dataclass(frozen=True)
class PeopleCount:
    """How many people were read, and how many were left out and why."""

    read: int
    without_face: int
    near_training: int
    evaluated: int


@dataclass(frozen=True)
class ConditionResult:
    """One condition's figures.

    own: by the model's encoder, calibrated (strangers 0, same picture 1); own_raw: its plain
    cosine. independent: by the recogniser that had no part in training, None without one.
    groups: "gender=female" -> the figures of that group by the recogniser trusted most.
    """

    name: str
    kind: str
    what: str
    identity: bool
    with_face: Estimate
    own: Likeness
    own_raw: Likeness
    independent: Likeness | None
    groups: dict[str, GroupResult] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupResult:
    """A group's share of outputs with a face and likeness."""

    with_face: Estimate
    reference: Estimate
    other: Estimate
    real_pairs: Estimate


@dataclass(frozen=True)
class Report:
    """All figures of an evaluation; `real` holds the photos' own, by recogniser."""

    settings: dict[str, Any]
    encoder: str
    recogniser: str | None
    people: PeopleCount
    real: dict[str, RealPairs]
    conditions: tuple[ConditionResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return to_dict(self)

    def to_markdown(self) -> str:
        """A page: what was asked, the table, the groups, how to read it."""
        return "\n".join([*self._head(), *self._table(), *self._groups(), *self._notes()]) + "\n"

    def write(self, folder: Path) -> None:
        """Write report.json and report.md into `folder`."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        write_bytes(folder / "report.json", text.encode())
        write_bytes(folder / "report.md", self.to_markdown().encode())

    @property
    def trusted(self) -> str:
        """The recogniser whose figures come first: the independent one where there is one."""
        return "independent" if self.recogniser else "own"

    def _head(self) -> list[str]:
        people = self.people
        return [
            f"# {self.settings['model']} on {Path(self.settings['people']).name}",
            "",
            f"{people.evaluated} people evaluated of {people.read} ({self.settings['half']} half): "
            f"{people.without_face} left out without a face found in a photo, "
            f"{people.near_training} too like somebody in the training data.",
            f"Likeness by {self.recogniser or self.encoder}"
            + ("." if self.recogniser else ", the model's own encoder: it flatters the model."),
            "",
        ]

    def _table(self) -> list[str]:
        real = self.real[self.trusted]
        rows: list[tuple[str, ...]] = [(
            "**two real photos**", "", show(real.same), show(real.same), share(real.rank1),
            share(real.verified), "", show(self.real["own"].same),
        )]  # fmt: skip
        rows += [self._row(result) for result in self.conditions]
        low = f"{real.strangers:.3f}"
        own_low = f"{self.real['own'].strangers:.3f}"
        rows.append(("**two strangers**", "", low, low, "", "", "", own_low))
        head = (
            "what", "with face", "reference", "other photo", "rank-1 (other)", "verified (other)",
            "copy-paste", "own encoder (reference)",
        )  # fmt: skip
        return [*markdown_table(head, rows), ""]

    def _row(self, result: ConditionResult) -> tuple[str, ...]:
        likeness = result.independent or result.own
        name = f"{result.what}{'' if result.identity else ', without identity'}"
        return (
            name, share(result.with_face), show(likeness.reference), show(likeness.other),
            share(likeness.rank1_other), share(likeness.verified_other),
            show(likeness.copy_paste), show(result.own.reference),
        )  # fmt: skip

    def _groups(self) -> list[str]:
        rows = [
            (f"{result.what}, {group}", str(found.with_face.n), share(found.with_face),
             show(found.reference), show(found.other), show(found.real_pairs))
            for result in self.conditions if result.identity
            for group, found in result.groups.items()
        ]  # fmt: skip
        if not rows:
            return []
        head = ("group", "people", "with face", "reference", "other photo", "two real photos")
        return ["## Groups", "", *markdown_table(head, rows), ""]

    def _notes(self) -> list[str]:
        real = self.real[self.trusted]
        return [
            "Intervals are 95 %, by bootstrap over the people. An output without a face counts as "
            "likeness 0, not recognised and not verified. Verified: at or over "
            f"{real.strangers_high:.3f}, which strangers' photos reach in "
            f"{self.settings['false_accepts']:g} of the pairs. Copy-paste: 1 is as near to the "
            "reference as can be, 0 as near to it as to the other photo, over outputs with a face.",
        ]


def show(value: Estimate) -> str:
    """ "0.512 (0.498-0.526)", or a dash where there is nothing."""
    if not value.n:
        return "-"
    return f"{value.mean:.3f} ({value.low:.3f}-{value.high:.3f})"


def share(value: Estimate) -> str:
    """A share in per cent, or a dash where there is nothing."""
    return f"{100 * value.mean:.1f} %" if value.n else "-"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def group_members(groups: Sequence[Mapping[str, str]]) -> dict[str, list[int]]:
    """ "gender=female" -> the people's numbers, in the order of the names."""
    members: dict[str, list[int]] = {}
    for number, own in enumerate(groups):
        for label, value in own.items():
            members.setdefault(f"{label}={value}", []).append(number)
    return dict(sorted(members.items()))
