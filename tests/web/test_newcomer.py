"""From the one command to the first portrait by the model that ships: three clicks."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.web.window import Window, open_chromium

pytestmark = pytest.mark.browser


@pytest.fixture
def address(tmp_path, monkeypatch) -> Iterator[str]:
    """Where `facestudio web` says the page is."""
    monkeypatch.setenv("FACESTUDIO_HOME", str(tmp_path))
    command = [sys.executable, "-m", "facestudio", "web", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            said = server.stdout.readline()
            yield re.search(r"http://\S+", said)[0]
        finally:
            server.send_signal(signal.SIGINT)


def test_three_clicks_to_the_first_portrait(address, tmp_path, astronaut):
    photo = tmp_path / "photo.png"
    astronaut.save(photo)
    with open_chromium(tmp_path) as driver:
        window = Window(driver, address)
        window.run("window.presses = 0; addEventListener('pointerdown', () => { presses += 1 })")
        window.give_photo("you", photo)  # the first click: it opens the system's own dialog
        window.press("#consent input")
        window.press("#make-portrait")
        window.see(".likeness", "%")
        assert window.run("return window.presses") == 2
