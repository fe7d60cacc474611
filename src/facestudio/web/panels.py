"""The tabs laid out: each has fields of its own, a button, and a place for its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from facestudio.web.board import PLAIN, Board
from facestudio.web.drawing import Portrait, Tab
from facestudio.web.giving import Giving, View, show_start
from facestudio.web.markup import escape
from facestudio.web.people import CHOICES, NOBODY, OTHERS, People
from facestudio.web.places import MAX_PLACES
from facestudio.web.session import Session
from facestudio.web.studio import Studio
from facestudio.web.tabs import Compare, Mixing, Start
from facestudio.web.wishes import Wishes

Make = Callable[..., Iterator[View]]

CHOICES_SHOWN = [NOBODY, *CHOICES]
FIRST_HELP = "Choose a photo, tick the box under it, press the button. Portraits appear here."
MIXING_HELP = "One face out of two: the person of step 1 and another."
PLACES_HELP = (
    "A picture with several people says where they stand; without one, two stand side by side."
)
START_HELP = "A picture that is drawn again with the face of step 1."
COMPARE_HELP = "One seed under several settings, as a table of 20 pictures at most."


def lay_step(number: int, words: str) -> None:
    """The heading of a step."""
    heading = f'<h2 class="step"><b aria-hidden="true">{number}</b>{escape(words)}</h2>'
    gr.HTML(heading, **PLAIN)


def lay_help(words: str) -> None:
    """What a tab is for."""
    gr.HTML(f'<p class="help">{escape(words)}</p>', **PLAIN)


class Panels:
    """All tabs over one board; `wishes` are the components that all of them read."""

    def __init__(
        self, board: Board, studio: Studio, giving: Giving, people: People, wishes: Sequence[Any]
    ) -> None:
        self.board = board
        self.studio = studio
        self.giving = giving
        self.people = people
        self.wishes = list(wishes)

    def lay(self) -> None:
        """The tabs, the simplest first."""
        with gr.Tabs():
            with gr.Tab("Portrait"):
                portrait = Portrait(self.studio)
                self._lay_make(portrait, portrait.make, "Make portraits")
            with gr.Tab("Mix two"):
                self._lay_mixing(Mixing(self.studio))
            with gr.Tab("Several"):
                self._lay_people()
            with gr.Tab("From picture"):
                self._lay_start(Start(self.studio))
            with gr.Tab("Compare"):
                self._lay_compare(Compare(self.studio))

    def _lay_make(
        self, tab: Tab, make: Make, label: str, inputs: Sequence[Any] = (), *extras: gr.Button
    ) -> None:
        """The button that draws, the one that cancels, and what comes of it."""
        board, name = self.board, tab.name
        with gr.Row(equal_height=True):
            button = gr.Button(label, variant="primary", elem_id=f"make-{name}", scale=2)
            for extra in extras:
                extra.render()
            cancel = gr.Button("Cancel", visible=False, elem_id=f"cancel-{name}", variant="stop")
        board.cancels[name] = cancel
        board.problem(f"make-{name}")
        board.slot(f"progress:{name}")
        empty = f'<p class="empty">{FIRST_HELP}</p>' if isinstance(tab, Portrait) else ""
        cards = board.cards(name, empty)
        board.on(button.click, _with_wishes(make, len(self.wishes)), [*self.wishes, *inputs])
        focus = f"() => document.querySelector('#make-{name}')?.focus()"
        board.on(cancel.click, lambda session, said: tab.cancel(session), then_js=focus)
        self._wire_cards(tab, cards)

    def _wire_cards(self, tab: Tab, cards: gr.HTML) -> None:
        def more(session: Session, said: View, *values: Any) -> Iterator[View]:
            return tab.more(session, _number(said, "index"), Wishes(*values))

        def restyle(session: Session, said: View) -> View:
            return tab.use_as_style(session, _number(said, "index"))

        self.board.on(cards.more, more, self.wishes)
        self.board.on(cards.restyle, restyle)

    def _lay_mixing(self, tab: Mixing) -> None:
        lay_help(MIXING_HELP)
        self.board.photo("other", self.giving, self.people)
        share = gr.Slider(
            0, 100, 50, step=5, label="How much of the other person, in per cent", elem_id="share"
        )
        strip = gr.Button("Strip from one to the other", render=False, elem_id="strip", scale=2)
        self._lay_make(tab, tab.make, "Make the mix", [share], strip)
        self.board.on(strip.click, _with_wishes(tab.strip, len(self.wishes)), self.wishes)

    def _lay_people(self) -> None:
        board, people = self.board, self.people
        lay_help(PLACES_HELP)
        who = board.rows.setdefault("places", [])
        names = [CHOICES_SHOWN[min(i + 1, 2)] if i < 2 else NOBODY for i in range(MAX_PLACES)]
        first = people.preview(Session(), names)
        board.slot("scene", first["scene"])
        upload = board.field("scene-upload", first["scene-upload"])
        board.problem("scene")
        with gr.Row():
            who.extend(_lay_place(i, name, first["count:places"]) for i, name in enumerate(names))
        board.problem("places")
        self._lay_others()
        self._lay_make(people, _make_people(people), "Make the picture", who)
        self._wire_people(upload, who)

    def _lay_others(self) -> None:
        for number, name in enumerate(OTHERS):
            with gr.Accordion(f"Person {number + 2}", open=number == 0):
                self.board.photo(name, self.giving, self.people)

    def _wire_people(self, upload: gr.HTML, who: Sequence[gr.Dropdown]) -> None:
        board, people = self.board, self.people

        def take(session: Session, said: View, *chosen: str) -> View:
            return people.take_scene(session, str(said.get("path")), self.giving.folder, chosen)

        def refuse(session: Session, said: View) -> View:
            return self.giving.refuse("scene", str(said.get("reason")))

        def preview(session: Session, said: View, *chosen: str) -> View:
            return people.preview(session, chosen)

        board.on(upload.upload, take, who)
        board.on(upload.refuse, refuse)
        board.on(upload.pick, lambda session, said, *c: people.drop_scene(session, c), who)
        for choice in who:
            board.on(choice.input, preview, who)

    def _lay_start(self, tab: Start) -> None:
        board, giving = self.board, self.giving
        lay_help(START_HELP)
        start = board.field("start", show_start(None))
        board.problem("start")
        strength = gr.Slider(
            5, 100, 60, step=5, label="How far to leave the picture, in per cent", elem_id="leave"
        )
        board.problem("strength")
        self._lay_make(tab, tab.make, "Change the picture", [strength])

        def take(session: Session, said: View) -> View:
            return giving.take_start(session, str(said.get("path")))

        def refuse(session: Session, said: View) -> View:
            return giving.refuse("start", str(said.get("reason")))

        board.on(start.upload, take)
        board.on(start.refuse, refuse)

    def _lay_compare(self, tab: Compare) -> None:
        board, limits = self.board, self.studio.pipe.limits
        lay_help(COMPARE_HELP)
        alphas = gr.Textbox(
            "0, 0.5, 1", label="From words (0) to style picture (1)", elem_id="alphas",
            info="Counts where both are given.",
        )  # fmt: skip
        board.problem("alphas")
        scales = f"{limits.guidance_scale:g}, {limits.guidance_scale + 1:g}"
        guidances = gr.Textbox(scales, label="Guidance scales", elem_id="guidances")
        board.problem("guidances")
        stepses = gr.Textbox(f"{limits.num_inference_steps}", label="Steps", elem_id="stepses")
        board.problem("stepses")
        self._lay_make(tab, tab.make, "Compare", [alphas, guidances, stepses])


def _lay_place(number: int, chosen: str, shown: int) -> gr.Dropdown:
    return gr.Dropdown(
        CHOICES_SHOWN,
        value=chosen,
        label=f"Who is in place {number + 1}",
        min_width=140,
        visible=number < shown,
        elem_id=f"place-{number + 1}",
    )


def _with_wishes(make: Make, count: int) -> Make:
    """The handler with its first `count` values joined into the wishes."""

    def handle(session: Session, said: View, *values: Any) -> Iterator[View]:
        return make(session, Wishes(*values[:count]), *values[count:])

    return handle


def _make_people(people: People) -> Make:
    def make(session: Session, wishes: Wishes, *chosen: str) -> Iterator[View]:
        return people.make(session, wishes, chosen)

    return make


def _number(said: View, name: str) -> int:
    """A whole number that the browser says; -1 where it says anything else."""
    value = said.get(name)
    return int(value) if isinstance(value, (int, float)) else -1
