"""Photograph the page in Debian's Chromium, with portraits by mini on it.

    .venv/bin/python -m docs.shoot_page PHOTO docs/web.jpg [--style oil] [--seed 1]

from the root of the checkout, after `make test-browser` has installed what it needs.
"""

from __future__ import annotations

import argparse
import base64
import io
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from facestudio import FaceStudioPipeline
from tests.web.window import Window, open_chromium, page_served

WIDTH_PX = 1280


def main() -> None:
    """Draw four portraits of the photo on the page and save what it looks like."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--style", default="oil")
    parser.add_argument("--seed", default="1")
    words = parser.parse_args()
    pipe = FaceStudioPipeline.from_pretrained("mini")
    with (
        TemporaryDirectory() as folder,
        page_served(pipe, None) as address,
        open_chromium(Path(folder)) as driver,
    ):
        window = Window(driver, address)
        make_portraits(window, words.photo.resolve(), words.style, words.seed)
        photograph(window).save(words.out, quality=88)


def make_portraits(window: Window, photo: Path, style: str, seed: str) -> None:
    """Go through the steps of the page up to four finished portraits."""
    window.resize(WIDTH_PX)
    window.give_photo("you", photo)
    window.agree()
    window.press(f".swatch[data-pick='{style}']")
    window.see(f".swatch[data-pick='{style}'][aria-pressed=true]")
    window.press("button", "More settings")
    window.fill("seed", seed)
    window.press("button", "More settings")
    window.press("#make-portrait")
    window.see(".status", "ready")


def photograph(window: Window) -> Image.Image:
    """The page from top to bottom."""
    window.run("document.activeElement.blur(); scrollTo(0, 0)")
    bottom = "return document.querySelector('.foot').getBoundingClientRect().bottom"
    window.resize(WIDTH_PX, round(window.run(bottom)) + 24)
    data = window.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


if __name__ == "__main__":
    main()
