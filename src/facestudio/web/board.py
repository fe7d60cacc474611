"""The places of the page that handlers write on, and events wired to handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from typing import Any

import gradio as gr

from facestudio.web.giving import Giving, View
from facestudio.web.people import People
from facestudio.web.photos import MAX_UPLOAD_MB
from facestudio.web.session import Session

PLAIN: dict[str, Any] = {"apply_default_css": False}  # the looks are page.css's alone
# A handler has answered: fields that were reading are so no more.
IDLE_JS = "() => document.querySelectorAll('[aria-busy]').forEach(e => e.ariaBusy = null)"


def read_asset(name: str) -> str:
    """The text of a style sheet or script of the page."""
    return resources.files("facestudio.web").joinpath("assets", name).read_text("utf-8")


class Board:
    """Places by name; a view says what is to stand on which.

    The name of a place says what a view's value for it is: "running:TAB" whether something is
    drawn, "count:NAME" how many of a row of components are there, any other its HTML.
    """

    def __init__(self) -> None:
        self.session = gr.State(Session())
        self.places: dict[str, gr.HTML] = {}
        self.cancels: dict[str, gr.Button] = {}
        self.rows: dict[str, list[gr.Dropdown]] = {}
        self._wires: list[tuple[Any, Any, Sequence[Any], str]] = []

    def slot(self, name: str, value: str = "") -> gr.HTML:
        """A place that is not seen while nothing stands on it."""
        self.places[name] = gr.HTML(value, elem_classes="slot", js_on_load=None, **PLAIN)
        return self.places[name]

    def problem(self, field: str) -> gr.HTML:
        """The place for what is wrong with a field."""
        return self.slot(f"problem:{field}")

    def field(self, name: str, value: str | Callable[[], str]) -> gr.HTML:
        """A place for pictures, with the events upload, pick and refuse.

        value: what stands on it, or what makes that anew for whoever opens the page.
        """
        script = read_asset("focus.js") + read_asset("field.js")
        self.places[name] = gr.HTML(value, js_on_load=script, max_mb=MAX_UPLOAD_MB, **PLAIN)
        return self.places[name]

    def photo(self, field: str, giving: Giving, people: People) -> None:
        """A place for a person, with its problem; a new one shows in the scene too."""
        place = self.field(f"photo-{field}", lambda: giving.show_person(Session(), field))
        self.problem(f"photo-{field}")
        who = self.rows.setdefault("places", [])

        def take(session: Session, said: View, *chosen: str) -> View:
            taken = giving.take_photo(session, field, str(said.get("path")))
            return taken | people.preview(session, chosen)

        def pick(session: Session, said: View, *chosen: str) -> View:
            picked = giving.choose(session, field, str(said.get("value")))
            return picked | people.preview(session, chosen)

        def refuse(session: Session, said: View) -> View:
            return giving.refuse(f"photo-{field}", str(said.get("reason")))

        self.on(place.upload, take, who)
        self.on(place.pick, pick, who)
        self.on(place.refuse, refuse)

    def cards(self, tab: str, empty: str) -> gr.HTML:
        """A place for results, with the events more and restyle; at first `empty` stands there."""
        name = f"cards:{tab}"
        script = read_asset("focus.js") + read_asset("results.js")
        self.places[name] = gr.HTML(empty, elem_classes="slot", js_on_load=script, **PLAIN)
        return self.places[name]

    def on(
        self,
        event: Callable[..., Any],
        handle: Callable[..., View | Iterator[View]],
        inputs: Sequence[Any] = (),
        *,
        then_js: str = IDLE_JS,
    ) -> None:
        """Have `handle(session, said, *inputs)` called on an event, once `connect` is called.

        said: what the browser tells of the event, as a dict.
        """
        self._wires.append((event, handle, inputs, then_js))

    def connect(self) -> None:
        """Wire all events; every handler may write on every place that has been laid."""
        for event, handle, inputs, then_js in self._wires:
            event(
                self._answer(handle),
                inputs=[self.session, *inputs],
                outputs=self._outputs(),
                show_progress="hidden",
                api_visibility="private",
                concurrency_limit=None,
            ).then(None, js=then_js)

    def _answer(self, handle: Callable[..., View | Iterator[View]]) -> Callable[..., Any]:
        """The handler in Gradio's form."""

        def answer(said: gr.EventData, session: Session, *values: Any) -> Iterator[Any]:
            given = handle(session, getattr(said, "_data", None) or {}, *values)
            for view in [given] if isinstance(given, dict) else given:
                yield self._update(view)

        return answer

    def _outputs(self) -> list[Any]:
        rows = [component for row in self.rows.values() for component in row]
        return [*self.places.values(), *self.cancels.values(), *rows]

    def _update(self, view: View) -> dict[Any, Any]:
        updates: dict[Any, Any] = {}
        for name, value in view.items():
            kind, _, which = name.partition(":")
            if kind == "running":
                updates[self.cancels[which]] = gr.update(visible=value)
            elif kind == "count":
                for i, component in enumerate(self.rows[which]):
                    updates[component] = gr.update(visible=i < value)
            else:
                updates[self.places[name]] = value
        return updates
