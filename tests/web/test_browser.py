"""The page in a real Chromium: photo, face, portraits, likeness, download, cancel, bad input."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from facestudio.images import read_metadata

pytestmark = pytest.mark.browser

WAIT_S = 120  # for a busy machine; each wait ends as soon as there is what it waits for
CHROMIUM = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--window-size=1280,1000")  # fmt: skip


class Slow:
    """The tiny pipeline with time to press a button between two steps."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self.step_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)

    def __call__(self, *args: Any, callback_on_step_end: Callable[..., Any], **options: Any) -> Any:
        def on_step_end(*step: Any) -> Any:
            time.sleep(self.step_s)
            return callback_on_step_end(*step)

        return self.pipe(*args, callback_on_step_end=on_step_end, **options)


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Any]:
    """Chromium, which saves what it downloads in `driver.downloads`."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="make test-browser installs it")
    binary, helper = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and helper):
        pytest.skip("Chromium is missing: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in CHROMIUM:
        options.add_argument(word)
    folder = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    browser = webdriver.Chrome(options, webdriver.ChromeService(helper))
    browser.downloads = folder
    yield browser
    browser.quit()


class Window:
    """A tab of the browser with the page in it; elements are named by CSS selectors."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver = driver
        driver.get(address)
        self.wait(lambda: self.all("#file-you") and self.all("#make-portrait"))

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def wait(self, ready: Callable[[], Any]) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, WAIT_S, 0.1).until(lambda _: ready())

    def see(self, selector: str, words: str = "") -> Any:
        """The first element shown that holds the words, once there is one."""

        def find() -> Any:
            shown = (e for e in self.all(selector) if words in e.text and e.is_displayed())
            return next(shown, None)

        return self.wait(find)

    def press(self, selector: str, words: str = "") -> None:
        element = self.see(selector, words)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def give(self, field: str, path: Path) -> None:
        self.all(f"#file-{field}")[0].send_keys(str(path))

    def agree(self) -> None:
        if not self.all("#consent input")[0].is_selected():
            self.press("#consent input")

    def problem(self, words: str) -> None:
        self.see("p.problem[role=alert]", words)


@pytest.fixture(scope="module")
def files(tmp_path_factory, _astronaut_picture) -> dict[str, Path]:
    """What someone may give: good photos and bad ones."""
    folder = tmp_path_factory.mktemp("files")
    photo = _astronaut_picture
    couple = Image.new("RGB", (900, 512))
    couple.paste(photo, (0, 0))
    couple.paste(photo.crop((60, 0, 448, 388)), (512, 60))
    pictures = {
        "one": photo,
        "couple": couple,
        "small": photo.resize((160, 160)),
        "wall": Image.new("RGB", (300, 200), "teal"),
    }
    paths = {name: folder / f"{name}.png" for name in pictures}
    for name, picture in pictures.items():
        picture.save(paths[name])
    contents = {"notes": b"only words", "empty": b"", "cut": paths["one"].read_bytes()[:3000]}
    for name, content in contents.items():
        paths[name] = folder / f"{name}.jpg"
        paths[name].write_bytes(content)
    paths["huge"] = folder / "huge.png"
    paths["huge"].write_bytes(b"\0" * (21 * 1024 * 1024))
    return paths


@pytest.fixture
def slow(studio) -> Slow:
    return Slow(studio.pipe)


@pytest.fixture
def window(slow, driver) -> Iterator[Window]:
    """The page, served and opened."""
    from facestudio.web.serve import serving

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio's own, about what its libraries deprecate
        with serving(slow) as address:
            yield Window(driver, address)


def test_photo_face_portraits_download(window, files):
    window.give("you", files["couple"])
    window.see(".status", "2 faces found")
    faces = window.all(".face")
    other = next(face for face in faces if face.get_attribute("aria-pressed") == "false")
    other.click()
    window.wait(lambda: other.get_attribute("aria-pressed") == "true")
    window.agree()
    window.press("#make-portrait")
    window.wait(lambda: len(window.all(".cards li")) == 4)
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


def test_cancel_works_at_once(window, slow, files):
    window.give("you", files["one"])
    window.see(".status", "One face found")
    window.agree()
    slow.step_s = 0.5
    window.press("#make-portrait")
    window.see(".progress progress")
    window.press("#cancel-portrait")
    window.see(".status", "Cancelled")
    window.wait(lambda: not any(e.is_displayed() for e in window.all("#cancel-portrait")))


def test_each_bad_photo_is_told_beside_it(window, files):
    for name, words in (
        ("notes", "notes.jpg is not a picture"),
        ("empty", "not a picture"),
        ("cut", "damaged or cut off"),
        ("huge", "over 20 MB"),
        ("wall", "No face was found"),
        ("small", "too small"),
    ):
        window.give("you", files[name])
        window.problem(words)
    window.give("you", files["one"])
    window.see(".status", "One face found")
    assert [e for e in window.all("p.problem") if e.is_displayed()] == []


def test_what_is_missing_is_asked_for(window, files):
    window.driver.execute_script("localStorage.clear()")
    window.driver.refresh()
    window.wait(lambda: window.all("#file-you"))
    window.press("#make-portrait")
    window.problem("tick the box")
    window.agree()
    window.press("#make-portrait")
    window.problem("Choose a photo first")


def test_consent_is_asked_once(window, files):
    window.agree()
    window.wait(lambda: window.driver.execute_script("return localStorage.length"))
    window.driver.refresh()
    window.wait(lambda: window.all("#consent input:checked"))
    window.give("you", files["one"])
    window.see(".status", "One face found")
    window.press("#make-portrait")
    window.see(".likeness", "%")


def test_keyboard_alone(window, files):
    """Every control is reached by Tab and pressed by Enter."""
    from selenium.webdriver.common.keys import Keys

    window.give("you", files["one"])
    window.see(".status", "One face found")
    oil = window.all(".swatch[data-pick=oil]")[0]
    window.all(".swatch")[0].send_keys(Keys.TAB + Keys.TAB)
    assert window.driver.switch_to.active_element.get_attribute("data-pick") == "oil"
    window.driver.switch_to.active_element.send_keys(Keys.ENTER)
    window.wait(lambda: oil.get_attribute("aria-pressed") == "true")


@pytest.mark.parametrize("width", [360, 390, 768])
def test_no_sideways_scrolling(window, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    window.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        wide = window.driver.execute_script("return document.documentElement.scrollWidth")
    finally:
        window.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= width


def test_every_control_has_a_name(window):
    """What a screen reader says of each button and field that is shown."""
    script = """return [...document.querySelectorAll('button, input, textarea')]
      .filter(e => e.offsetParent && !(e.innerText || e.ariaLabel || e.title || e.placeholder
        || (e.labels && e.labels.length) || e.getAttribute('aria-labelledby')))
      .map(e => e.outerHTML.slice(0, 120))"""
    assert window.driver.execute_script(script) == []


def test_nothing_is_asked_of_other_machines(window):
    script = "return performance.getEntriesByType('resource').map(e => e.name)"
    asked = window.driver.execute_script(script)
    assert [
        name for name in asked if "127.0.0.1" not in name and not name.startswith("data:")
    ] == []


def test_uploads_do_not_stay_on_disk(window, files):
    window.give("you", files["one"])
    window.see(".status", "One face found")
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    assert [path for path in folder.rglob("*") if path.is_file()] == []
