"""The page in a real Chromium: photo, face, portraits, likeness, download, cancel, bad input."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from facestudio.identities.store import IdentityStore
from facestudio.images import read_metadata
from tests.pipeline.conftest import make_identity
from tests.web.window import Gated, Window, offered_files, open_chromium, page_served

pytestmark = [
    pytest.mark.browser,
    # Gradio's own: sockets that it leaves to the collector, what its libraries deprecate.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with open_chromium(tmp_path_factory.mktemp("downloads")) as browser:
        yield browser


@pytest.fixture(scope="module")
def files(tmp_path_factory, _astronaut_picture) -> dict[str, Path]:
    return offered_files(tmp_path_factory.mktemp("files"), _astronaut_picture)


@pytest.fixture(scope="module")
def gated(encoder, page_detector) -> Gated:
    return Gated(encoder, page_detector)


@pytest.fixture(scope="module")
def address(gated, encoder, tmp_path_factory):
    """The page served once for all tests, with Anna saved, and Carl by another encoder."""
    store = IdentityStore(tmp_path_factory.mktemp("home") / "people")
    store.add("anna", make_identity(encoder, 1))
    store.add("carl", replace(make_identity(encoder, 2), encoder="arcface@1"))
    with page_served(gated, store) as address:
        yield address


@pytest.fixture
def window(driver, address, gated):
    """The page, opened anew."""
    yield Window(driver, address)
    gated.gate.set()
    gated.pipe.content_checker = None


@pytest.fixture
def ready(window, files) -> Window:
    """The page with a photo and consent."""
    window.give_photo("you", files["one"])
    window.agree()
    return window


def test_photo_face_portraits_download(window, files):
    window.give("you", files["couple"])
    window.see(".status", "2 faces found")
    other = window.see(".face[aria-pressed=false]").get_attribute("data-pick")
    window.press(f".face[data-pick='{other}']")
    window.see(f".face[data-pick='{other}'][aria-pressed=true]")
    window.agree()
    window.press("#make-portrait")
    window.wait(lambda: len(window.all(".cards li")) == 4)
    window.see(".status", "The pictures are ready")
    assert "Likeness" in window.see(".likeness", "%").text
    seed = window.see(".seed").text
    window.press("button[data-save]")
    saved = window.driver.downloads / f"portrait-{seed}.png"
    window.wait(saved.exists)
    window.wait(lambda: read_metadata(saved))
    assert read_metadata(saved)["seed"] == int(seed)
    window.press("button[data-act=more]")
    window.wait(lambda: len(window.all(".cards li")) == 8)
    window.press("button[data-act=style]")
    window.see(".swatch[aria-pressed=true]", "Your picture")


def test_cancel_works_at_once(ready, gated):
    """The page has cancelled while the model still stands in the middle of a step."""
    gated.gate.clear()
    ready.press("#make-portrait")
    ready.see(".progress progress")
    ready.press("#cancel-portrait")
    ready.see(".status", "Cancelled")
    ready.wait(lambda: not ready.shown("#cancel-portrait"))
    assert not gated.gate.is_set()
    gated.gate.set()
    ready.press("#make-portrait")
    ready.wait(lambda: len(ready.all(".cards li")) == 4)


def test_the_next_person_is_told_to_wait(ready, gated, address, files):
    gated.gate.clear()
    ready.press("#make-portrait")
    ready.see(".progress progress")
    first = ready.driver.current_window_handle
    ready.driver.switch_to.new_window("tab")
    try:
        second = Window(ready.driver, address)
        second.give_photo("you", files["one"])
        second.press("#make-portrait")
        second.see(".status", "Waiting for another drawing")
        gated.gate.set()
        second.wait(lambda: len(second.all(".cards li")) == 4)
    finally:
        ready.driver.close()
        ready.driver.switch_to.window(first)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("notes", "notes.jpg is not a picture"),
        ("empty", "not a picture"),
        ("cut", "damaged or cut off"),
        ("huge", "over 20 MB"),
        ("wall", "No face was found"),
        ("small", "too small"),
    ],
)
def test_a_bad_photo_is_told_beside_it(window, files, name, words):
    window.give("you", files[name])
    window.problem(words)
    window.give_photo("you", files["one"])
    assert window.shown("p.problem") == []


def test_bad_pictures_elsewhere_are_told_beside_them(window, files):
    window.give("style", files["cut"])
    window.problem("damaged or cut off")
    window.open_tab("From picture")
    window.give("start", files["notes"])
    window.problem("not a picture")
    window.open_tab("Several")
    window.give("scene", files["wall"])
    window.problem("No face was found")


def test_bad_words_and_numbers_are_told_beside_them(ready):
    ready.press("button", "More settings")
    ready.fill("seed", "seven")
    ready.press("#make-portrait")
    ready.problem("whole number")
    ready.fill("seed", "7")
    ready.press(".swatch[data-pick=none]")
    ready.see(".swatch[data-pick=none][aria-pressed=true]")
    ready.press("#make-portrait")
    ready.problem("Write what the picture shows")
    assert len(ready.shown("p.problem")) == 1
    ready.open_tab("Compare")
    ready.fill("words", "a hat")
    ready.press(".swatch[data-pick=ink]")
    ready.see(".swatch[data-pick=ink][aria-pressed=true]")
    ready.fill("alphas", "0, x")
    ready.press("#make-compare")
    ready.problem("is not a number")


def test_what_is_missing_is_asked_for(window):
    window.reload(forget=True)
    window.press("#make-portrait")
    window.problem("tick the box")
    window.agree()
    window.press("#make-portrait")
    window.problem("Choose a photo first")


def test_consent_is_asked_once(window, files):
    window.agree()
    window.wait(lambda: window.run("return localStorage.length"))
    window.reload()
    window.wait(lambda: window.all("#consent input:checked"))
    window.give_photo("you", files["one"])
    window.press("#make-portrait")
    window.see(".likeness", "%")


def test_saved_people_are_chosen_in_place_of_photos(window):
    window.press(".chip", "carl")
    window.problem("saved with the encoder arcface@1")
    window.press(".chip", "anna")
    window.see(".status", "anna, saved from 1 photo")
    assert window.shown("p.problem") == []
    window.agree()
    window.open_tab("Mix two")
    window.press("[role=tabpanel] .chip", "anna")
    window.see("[role=tabpanel] .photo.saved")
    window.press("#make-mixing")
    window.see(".likeness", "%")
    window.open_tab("Several")
    window.press("[role=tabpanel] .chip", "anna")
    window.wait(lambda: len(window.all(".place img")) == 2)
    window.press("#make-people")
    window.see(".likeness", " · ")


@pytest.mark.filterwarnings("ignore::facestudio.provenance.content.ContentWarning")
def test_withheld_pictures_are_told_in_words(ready, gated):
    class Strict:
        name = "strict"

        def is_explicit(self, picture):
            return True

    gated.pipe.content_checker = Strict()
    ready.press("#make-portrait")
    ready.see(".status", "4 of 4 withheld")
    assert len(ready.shown(".withheld")) == 4
    assert ready.shown(".cards img") == []


def test_a_strip_and_a_table(ready, files):
    ready.open_tab("Mix two")
    ready.give_photo("other", files["one"])
    ready.press("#strip")
    ready.wait(lambda: len(ready.all(".strip li")) == 5)
    ready.open_tab("Compare")
    ready.press("#make-compare")
    ready.wait(lambda: len(ready.all(".grid img")) == 2)


def test_the_keyboard_alone_leads_to_a_download(ready):
    """From the photo on, every control is reached by Tab and pressed by Enter or the space bar."""
    from selenium.webdriver import ActionChains, Keys

    def strike(keys: str) -> None:  # at a field for files, `send_keys` means a file
        ActionChains(ready.driver).send_keys(keys).perform()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            if ready.run("return document.activeElement.matches(arguments[0])", selector):
                return
            strike(Keys.TAB)
        raise AssertionError(f"{selector} is not reached by Tab")

    ready.run("arguments[0].focus()", ready.all("#file-you")[0])
    tab_to("#consent input")
    tab_to(".swatch[data-pick=ink]")
    strike(Keys.ENTER)
    ready.see(".swatch[data-pick=ink][aria-pressed=true]")
    ready.wait(lambda: ready.run("return document.activeElement.dataset.pick") == "ink")
    tab_to("#words textarea, #words input")
    strike("a hat")
    tab_to("#make-portrait")
    strike(Keys.ENTER)
    ready.wait(lambda: len(ready.all(".cards li")) == 4)
    ready.see(".status", "ready")
    tab_to("button[data-save]")
    seed = ready.see(".seed").text
    strike(Keys.SPACE)
    ready.wait((ready.driver.downloads / f"portrait-{seed}.png").exists)


def test_a_screen_reader_and_weak_eyes_find_their_way(ready):
    """axe finds nothing: labels, roles, contrasts, in light and dark, in every tab."""
    ready.press("button", "More settings")
    ready.press("#make-portrait")
    ready.see(".status", "ready")
    assert ready.judge_access() == []
    for name in ("Mix two", "Several", "From picture", "Compare"):
        ready.open_tab(name)
        assert ready.judge_access() == []
    ready.set_dark(True)
    try:
        ready.wait(lambda: ready.all("body.dark"))
        assert ready.judge_access() == []
    finally:
        ready.set_dark(False)


@pytest.mark.parametrize("width", [360, 390, 768, 1024, 1280])
def test_everything_fits_and_portraits_stand_two_by_two(ready, width):
    """Nothing scrolls sideways or reaches out of its card, on a phone, a tablet, a screen."""
    ready.press("#make-portrait")
    ready.see(".status", "ready")
    ready.run("window.list = (css, tell) => [...document.querySelectorAll(css)].map(tell)")
    reach = "return Math.max(...list('.card', e => e.scrollWidth - e.clientWidth))"
    columns = "return new Set(list('.cards li', e => e.offsetLeft)).size"
    try:
        ready.resize(width)
        assert ready.run("return document.documentElement.scrollWidth") <= width
        assert ready.run(reach) <= 0
        assert ready.run(columns) == 2
    finally:
        ready.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_comparison_shows_two_columns_on_a_phone(ready):
    ready.fill("words", "a hat")
    ready.open_tab("Compare")
    ready.press("#make-compare")
    ready.see(".status", "ready")
    seen = """
        const edge = document.querySelector('.grid').getBoundingClientRect().right
        return [...document.querySelectorAll('.grid tbody tr:first-child td')].filter(
            cell => cell.getBoundingClientRect().right <= edge + 1).length
    """
    try:
        ready.resize(380)
        assert ready.run(seen) == 2
        assert ready.run("return document.documentElement.scrollWidth") <= 380
    finally:
        ready.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_button_stays_in_sight_beside_long_settings(ready):
    ready.resize(1280, 700)
    try:
        ready.press("button", "More settings")
        ready.run("scrollTo(0, document.body.scrollHeight)")
        box = "document.querySelector('#make-portrait').getBoundingClientRect()"
        assert 0 <= ready.run(f"return {box}.top") < 700
    finally:
        ready.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_asked_of_other_machines(ready):
    asked = ready.run("return performance.getEntriesByType('resource').map(e => e.name)")
    own = ("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:")
    assert [name for name in asked if not name.startswith(own)] == []


def test_uploads_do_not_stay_on_disk(ready):
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    assert [path for path in folder.rglob("*") if path.is_file()] == []
