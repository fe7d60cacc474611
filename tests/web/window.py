"""What the tests of the page in a browser stand on: Chromium, the page served, files to give."""

from __future__ import annotations

import gc
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from facestudio.faces.embed import NetworkEncoder
from facestudio.identities.store import IdentityStore
from tests.pipeline.conftest import make_pipe

WAIT_S = 300  # for a busy machine; each wait ends as soon as there is what it waits for
CHROMIUM = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--window-size=1280,1000")  # fmt: skip


class Gated:
    """The tiny pipeline; while its gate is closed, it stands still at the end of a step."""

    def __init__(self, encoder: NetworkEncoder, detector: Any) -> None:
        self.pipe = make_pipe(encoder)
        self.pipe.detector = detector
        self.gate = threading.Event()
        self.gate.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)

    def __call__(self, *args: Any, callback_on_step_end: Callable[..., Any], **options: Any) -> Any:
        def on_step_end(*step: Any) -> Any:
            result = callback_on_step_end(*step)
            self.gate.wait()
            return result

        return self.pipe(*args, callback_on_step_end=on_step_end, **options)


@contextmanager
def open_chromium(downloads: Path) -> Iterator[Any]:
    """Chromium, which saves what it downloads in `downloads`; skips where it is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="make test-browser installs it")
    binary, helper = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and helper):
        pytest.skip("Chromium is missing: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in CHROMIUM:
        options.add_argument(word)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    browser = webdriver.Chrome(options, webdriver.ChromeService(helper))
    browser.set_script_timeout(WAIT_S)
    browser.downloads = downloads
    try:
        yield browser
    finally:
        browser.quit()


@contextmanager
def page_served(pipe: Any, store: IdentityStore | None) -> Iterator[str]:
    """The address of the page over a pipeline."""
    from facestudio.web.serve import serving

    with serving(pipe, store=store) as address:
        yield address
    gc.collect()  # Gradio leaves sockets for the collector to close; tests of others shall not see


class Window:
    """A tab of the browser with the page in it; elements are named by CSS selectors."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver = driver
        driver.get(address)
        self.wait_for_page()

    def wait_for_page(self) -> None:
        """Return once the page has been laid."""
        self.wait(lambda: self.all("#file-you") and self.all("#make-portrait"))

    def reload(self, *, forget: bool = False) -> None:
        """Open the page anew; `forget`: with nothing remembered."""
        if forget:
            self.run("localStorage.clear()")
        self.driver.refresh()
        self.wait_for_page()

    def run(self, script: str, *values: Any) -> Any:
        """What the script returns, run in the page."""
        return self.driver.execute_script(script, *values)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def shown(self, selector: str) -> list[Any]:
        return [element for element in self.all(selector) if element.is_displayed()]

    def wait(self, ready: Callable[[], Any]) -> Any:
        """What `ready` gives, once it is true. What it looked at may be drawn anew meanwhile."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        changing = [StaleElementReferenceException]
        waiting = WebDriverWait(self.driver, WAIT_S, 0.1, ignored_exceptions=changing)
        return waiting.until(lambda _: ready())

    def see(self, selector: str, words: str = "") -> Any:
        """The first element shown that holds the words, once there is one."""
        return self.wait(lambda: next((e for e in self.shown(selector) if words in e.text), None))

    def press(self, selector: str, words: str = "") -> None:
        element = self.see(selector, words)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def give(self, field: str, path: Path) -> None:
        self.all(f"#file-{field}")[0].send_keys(str(path))

    def give_photo(self, field: str, path: Path) -> None:
        """Choose a photo, and see its face found."""
        self.give(field, path)
        self.wait(lambda: self.shown(f"div:has(> .drop #file-{field}) .photo"))

    def agree(self) -> None:
        if not self.all("#consent input")[0].is_selected():
            self.press("#consent input")

    def fill(self, field: str, words: str) -> None:
        """Write words into a text field."""
        place = self.see(f"#{field} textarea, #{field} input")
        self.run("arguments[0].scrollIntoView({block: 'center'})", place)
        place.clear()
        place.send_keys(words)

    def open_tab(self, name: str) -> None:
        self.press("[role=tab]", name)

    def problem(self, words: str) -> Any:
        return self.see("p.problem[role=alert]", words)

    def resize(self, width: int, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def set_dark(self, dark: bool) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def judge_access(self) -> list[str]:
        """What axe finds wrong for people with a screen reader, a keyboard or weak eyes."""
        if not self.run("return !!window.axe"):
            self.run(resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
        script = "axe.run(document, {resultTypes: ['violations']}).then(arguments[0])"
        found = self.driver.execute_async_script(script)["violations"]
        return [f"{v['id']}: {json.dumps([n['html'][:120] for n in v['nodes']])}" for v in found]


def offered_files(folder: Path, photo: Image.Image) -> dict[str, Path]:
    """What someone may give: good photos and bad ones."""
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
