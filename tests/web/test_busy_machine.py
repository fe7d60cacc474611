"""The page opens on a machine that is too busy to answer itself within Gradio's three seconds."""

from __future__ import annotations

import pytest

from tests.web.window import Gated, page_served

pytestmark = [
    pytest.mark.browser,
    # Gradio's own: sockets that it leaves to the collector, what its libraries deprecate.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_a_machine_too_busy_to_answer_itself_still_opens_the_page(
    encoder, page_detector, monkeypatch
):
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)
    with page_served(Gated(encoder, page_detector), None) as address:
        assert address.startswith("http://127.0.0.1")
