"""The other tabs: mixing two people, starting from a picture, comparing settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from facestudio.web.drawing import Tab
from facestudio.web.giving import View
from facestudio.web.problems import FieldProblem
from facestudio.web.results import show_grid, show_strip
from facestudio.web.session import Session
from facestudio.web.studio import Plan, Variant
from facestudio.web.wishes import Wishes, read_numbers

STRIP = (0.0, 0.25, 0.5, 0.75, 1.0)
MAX_CELLS = 20


class Mixing(Tab):
    """One face out of two."""

    name = "mixing"
    fields = ("photo-other",)

    def make(self, session: Session, wishes: Wishes, share: float) -> Iterator[View]:
        """Variants of one mix; `share` is the other person's, in per cent."""
        yield from self.draw(session, lambda: self._plan(session, wishes, [share / 100]))

    def strip(self, session: Session, wishes: Wishes) -> Iterator[View]:
        """A strip from one person to the other, all with one seed."""

        def plan() -> list[Plan]:
            session.results.pop(self.name, None)
            first = wishes.seeds()[:1]
            return self._plan(session, wishes, STRIP, first)

        yield from self.draw(session, plan, show_strip)

    def _plan(
        self,
        session: Session,
        wishes: Wishes,
        shares: Sequence[float],
        seeds: Sequence[int] | None = None,
    ) -> list[Plan]:
        options = wishes.options(session.style_picture())
        you, other = self.identity(session), self.identity(session, "other")
        return [
            Plan(you.mix(other, share), options, seed, f"{share:.0%} the other")
            for share, seed in product(shares, seeds or wishes.seeds())
        ]


class Start(Tab):
    """A picture that is changed, rather than made out of nothing."""

    name = "start"
    fields = ("start", "strength")

    def make(self, session: Session, wishes: Wishes, strength: float) -> Iterator[View]:
        """Variants of the picture to start from; `strength`: how far to leave it, in per cent."""

        def plan() -> list[Plan]:
            if session.start is None:
                raise FieldProblem("start", "Choose a picture to start from.")
            options = wishes.options(session.style_picture())
            options |= {"image": session.start, "strength": strength / 100}
            who = self.identity(session)
            return [Plan(who, options, seed) for seed in wishes.seeds()]

        yield from self.draw(session, plan)


class Compare(Tab):
    """The same seed under several settings, as a table."""

    name = "compare"
    fields = ("alphas", "guidances", "stepses")

    def make(
        self, session: Session, wishes: Wishes, alphas: str, guidances: str, stepses: str
    ) -> Iterator[View]:
        """A table: a column for each value of the dial, a row for each guidance and steps."""
        columns: list[str] = []
        rows: list[str] = []
        plans: list[Plan] = []

        def plan() -> list[Plan]:
            options = wishes.options(session.style_picture())
            across: list[float | None] = [None]
            if "alpha" in options:
                across = [*read_numbers(alphas, "alphas", 0, 1)]
            down = self._rows(guidances, stepses)
            if len(across) * len(down) > MAX_CELLS:
                words = f"These are {len(across) * len(down)} pictures; {MAX_CELLS} are the most."
                raise FieldProblem("make-compare", words)
            who, seed = self.identity(session), wishes.seeds()[0]
            columns.extend(_say_dial(alpha) for alpha in across)
            rows.extend(f"guidance {g:g}, {s:g} steps" for g, s in down)
            plans.extend(
                Plan(who, options | _options(alpha, guidance, steps), seed)
                for (guidance, steps), alpha in product(down, across)
            )
            return plans

        def show(variants: Sequence[Variant]) -> str:
            return show_grid(variants, plans, columns, rows)

        session.results.pop(self.name, None)
        yield from self.draw(session, plan, show)

    def _rows(self, guidances: str, stepses: str) -> list[tuple[float, float]]:
        most = self.studio.pipe.limits.max_steps
        scales = read_numbers(guidances, "guidances", 0, 50)
        steps = read_numbers(stepses, "stepses", 1, most)
        if any(number != int(number) for number in steps):
            raise FieldProblem("stepses", "Steps are whole numbers.")
        return list(product(scales, steps))


def _options(alpha: float | None, guidance: float, steps: float) -> dict[str, Any]:
    dial = {} if alpha is None else {"alpha": alpha}
    return dial | {"guidance_scale": guidance, "num_inference_steps": int(steps)}


def _say_dial(alpha: float | None) -> str:
    if alpha is None:
        return "as given"
    named = {0.0: "words", 1.0: "picture"}
    return named.get(alpha, f"{alpha:.0%} picture")
