"""The page laid out: what goes in on the left, what comes out on the right.

Nothing is decided here; every event goes to a handler of `giving`, `drawing`, `tabs` or `people`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from facestudio.web.board import PLAIN, Board, read_asset
from facestudio.web.fields import show_styles
from facestudio.web.giving import Giving, View
from facestudio.web.panels import Panels, lay_step
from facestudio.web.people import People
from facestudio.web.session import YOU, Session
from facestudio.web.studio import Studio
from facestudio.web.wishes import MAX_VARIANTS, MAX_WORDS

if TYPE_CHECKING:
    from facestudio.identities.store import IdentityStore

HEAD = f"""<header class="masthead">{read_asset("icon.svg")}<div><h1>FaceStudio</h1>
<p>Portraits of a person from one photo. They are drawn on this machine.</p></div></header>"""
FOOT = '<p class="foot">A made picture is no photograph: say so where you show it.</p>'
CONSENT = "I am the person in each photo I use here, or that person agrees."


def build_page(studio: Studio, folder: Path, store: IdentityStore | None = None) -> gr.Blocks:
    """The page over one studio, ready to be served; `folder` is where uploads arrive.

    store: of the saved people who can be chosen; None for none.
    """
    giving, people = Giving(studio.pipe, folder, store), People(studio)
    with gr.Blocks(title="FaceStudio", analytics_enabled=False) as blocks:
        board = Board()
        gr.HTML(HEAD, **PLAIN)
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                _lay_photo(board, blocks, giving, people)
                _lay_style(board, giving)
                wishes = _lay_words(board, studio)
            with (
                gr.Column(scale=7, min_width=320, elem_classes="results"),
                gr.Column(elem_classes="card"),
            ):
                lay_step(4, "Your portraits")
                Panels(board, studio, giving, people, wishes).lay()
        gr.HTML(FOOT, **PLAIN)
        board.connect()
    return blocks.queue(max_size=64, api_open=False)


def _lay_photo(board: Board, blocks: gr.Blocks, giving: Giving, people: People) -> None:
    with gr.Column(elem_classes="card"):
        lay_step(1, "Your photo")
        board.photo(YOU, giving, people)
        agreed = gr.Checkbox(label=CONSENT, container=False, elem_id="consent")
        board.problem("consent")
    _remember_consent(board, blocks, agreed, giving)


def _remember_consent(board: Board, blocks: gr.Blocks, agreed: gr.Checkbox, giving: Giving) -> None:
    """Consent is asked once: the browser keeps the answer, and nothing but the answer."""
    remembered = gr.BrowserState(False, storage_key="facestudio-consent", secret="facestudio")

    def recall(session: Session, known: Any) -> bool:
        giving.consent(session, known is True)
        return known is True

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    blocks.load(recall, [board.session, remembered], agreed, **quiet)
    agreed.input(lambda given: given, agreed, remembered, **quiet)
    board.on(agreed.input, lambda session, said, given: giving.consent(session, given), [agreed])


def _lay_style(board: Board, giving: Giving) -> None:
    with gr.Column(elem_classes="card"):
        lay_step(2, "A style")
        styles = board.field("style", show_styles(Session()))
        board.problem("style")

    def take(session: Session, said: View) -> View:
        return giving.take_style(session, str(said.get("path")))

    def pick(session: Session, said: View) -> View:
        return giving.choose_style(session, str(said.get("value")))

    board.on(styles.upload, take)
    board.on(styles.pick, pick)
    board.on(styles.refuse, lambda session, said: giving.refuse("style", str(said.get("reason"))))


def _lay_words(board: Board, studio: Studio) -> list[Any]:
    """The components whose values `Wishes` takes, in its order."""
    with gr.Column(elem_classes="card"):
        lay_step(3, "Words, if you like")
        words = gr.Textbox(
            label="What the picture shows",
            placeholder="a woman, smiling",
            max_length=MAX_WORDS,
            elem_id="words",
        )
        board.problem("words")
        dial = gr.Slider(
            0,
            100,
            50,
            step=5,
            label="Words or style picture",
            info="Counts where both are given.",
            elem_id="dial",
        )
        board.problem("dial")
        with gr.Accordion("More settings", open=False):
            return [words, dial, *_lay_settings(board, studio)]


def _lay_settings(board: Board, studio: Studio) -> list[Any]:
    limits = studio.pipe.limits
    count = gr.Slider(1, MAX_VARIANTS, 4, step=1, label="How many variants", elem_id="count")
    board.problem("count")
    seed = gr.Textbox(
        label="Seed",
        placeholder="random",
        info="The same seed draws the same picture again.",
        elem_id="seed",
    )
    board.problem("seed")
    most = min(100, limits.max_steps)
    steps = gr.Slider(1, most, limits.num_inference_steps, step=1, label="Steps", elem_id="steps")
    board.problem("steps")
    guidance = gr.Slider(
        0, 15, limits.guidance_scale, step=0.5, label="How closely to follow (guidance scale)"
    )
    board.problem("guidance")
    face = gr.Slider(0, 200, 100, step=10, label="Weight of the face, in per cent")
    return [count, seed, steps, guidance, face]
