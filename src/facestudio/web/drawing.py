"""Handlers of what is drawn: one loop for all tabs, from the button to the last card."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facestudio.errors import FaceStudioError
from facestudio.web.fields import show_styles
from facestudio.web.giving import View
from facestudio.web.markup import problem, status
from facestudio.web.problems import FieldProblem, field_of, in_words
from facestudio.web.results import show_cards, show_progress
from facestudio.web.session import OWN, Session
from facestudio.web.studio import Plan, Progress, Studio, Variant
from facestudio.web.wishes import Wishes, read_seed

if TYPE_CHECKING:
    from facestudio.faces.identity import Identity

Show = Callable[[Sequence[Variant]], str]

log = logging.getLogger(__name__)

MORE_STRENGTH = 0.55  # how far "more like this" leaves its picture behind
CANCELLED = "Cancelled. What was finished stays."
READY = ("The picture is ready.", "The pictures are ready.")
WITHHELD = "{} of {} withheld by the content checker: see below."
UNKNOWN = "Something went wrong that should not have. What it was stands in the terminal."
CHECKED = (
    "consent", "photo-you", "words", "style", "seed", "steps", "guidance", "count", "dial",
)  # fmt: skip


class Tab:
    """What all tabs share: checks first, then pictures as they come, on a place of their own.

    name: of the tab. fields: where problems of this tab alone are shown.
    """

    name = ""
    fields: tuple[str, ...] = ()

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def identity(self, session: Session, field: str = "you") -> Identity:
        """Who is in the photo of a field. Raises FieldProblem where there is none."""
        return session.photo(field).identity(self.studio.pipe)

    def cancel(self, session: Session) -> View:
        """Stop at once; what is finished stays."""
        session.cancel()
        return {f"progress:{self.name}": status(CANCELLED), f"running:{self.name}": False}

    def draw(
        self, session: Session, plan: Callable[[], Sequence[Plan]], show: Show = show_cards
    ) -> Iterator[View]:
        """Views until all that `plan` asks for is drawn; problems stand beside their fields."""
        session.cancel()
        fields = (*CHECKED, *self.fields, f"make-{self.name}")
        yield {f"problem:{field}": "" for field in fields} | {f"progress:{self.name}": ""}
        try:
            session.require_consent()
            plans = list(plan())
            yield from self._follow(session, plans, show)
        except FieldProblem as found:
            yield self._problem(found.field, found.words)
        except FaceStudioError as error:
            yield self._problem(field_of(error, f"make-{self.name}"), in_words(error))
        except Exception:
            log.exception("a drawing failed")
            yield self._problem(f"make-{self.name}", UNKNOWN)

    def _follow(self, session: Session, plans: Sequence[Plan], show: Show) -> Iterator[View]:
        progress, running = f"progress:{self.name}", f"running:{self.name}"
        drawing = session.drawing = self.studio.start(plans)
        older = show_cards(session.results.get(self.name, []))
        begun = show_progress(Progress(0, len(plans), 0.0))
        yield {running: True, progress: begun, f"cards:{self.name}": older}
        done: list[Variant] = []
        try:
            for event in drawing:
                if isinstance(event, Progress):
                    yield {progress: show_progress(event)}
                    continue
                done.append(event)
                yield {f"cards:{self.name}": show(session.keep(self.name, done))}
        finally:
            drawing.cancel()
        if session.drawing in (drawing, None):  # else a newer drawing has the place
            session.drawing = None
            words = CANCELLED if len(done) < len(plans) else _say_ready(done)
            yield {progress: status(words), running: False}

    def _problem(self, field: str, words: str) -> View:
        return {
            f"problem:{field}": problem(words),
            f"progress:{self.name}": "",
            f"running:{self.name}": False,
        }

    def more(self, session: Session, index: int, wishes: Wishes) -> Iterator[View]:
        """Variants of one result: drawn again from it, with other noise."""

        def plan() -> list[Plan]:
            known = self._result(session, index)
            options = known.plan.options | {"image": known.image, "strength": MORE_STRENGTH}
            seeds = replace(wishes, seed=str(read_seed(""))).seeds()
            return [replace(known.plan, options=options, seed=seed) for seed in seeds]

        yield from self.draw(session, plan)

    def use_as_style(self, session: Session, index: int) -> View:
        """The styles, with one result as the own picture."""
        try:
            session.own_style = self._result(session, index).image
        except FieldProblem as found:
            return {f"problem:{found.field}": problem(found.words)}
        session.style = OWN
        return {"style": show_styles(session), "problem:style": ""}

    def _result(self, session: Session, index: int) -> Variant:
        results: list[Any] = session.results.get(self.name, [])
        if not 0 <= index < len(results):
            raise FieldProblem(f"make-{self.name}", "This picture is not there any more.")
        found: Variant = results[index]
        return found


def _say_ready(done: Sequence[Variant]) -> str:
    withheld = sum(variant.withheld for variant in done)
    return WITHHELD.format(withheld, len(done)) if withheld else READY[len(done) > 1]


class Portrait(Tab):
    """One person, in a style, in words, or between the two."""

    name = "portrait"

    def make(self, session: Session, wishes: Wishes) -> Iterator[View]:
        """Variants of one portrait."""

        def plan() -> list[Plan]:
            options = wishes.options(session.style_picture())
            who = self.identity(session)
            return [Plan(who, options, seed) for seed in wishes.seeds()]

        yield from self.draw(session, plan)
