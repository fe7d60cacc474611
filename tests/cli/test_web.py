"""The page's command: refused before anything is loaded, served until Ctrl-C."""

from __future__ import annotations

import sys
from contextlib import contextmanager

import pytest

from facestudio.errors import BadOption, MissingWeights
from facestudio.web import serve
from facestudio.web.serve import check_address, require_gradio


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_no_password(host):
    check_address(host, None)


@pytest.mark.parametrize("password", [None, ""])
def test_others_are_not_let_in_without_a_password(cli, monkeypatch, password):
    with pytest.raises(BadOption, match="lets others"):
        check_address("0.0.0.0", password)
    check_address("0.0.0.0", "secret")
    monkeypatch.delenv(serve.PASSWORD, raising=False)
    ended = cli("web", "--host", "0.0.0.0")
    assert ended.code == 2
    assert serve.PASSWORD in ended.err


def test_without_the_extra_it_says_how_to_install_it(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingWeights, match="gradio"):
        require_gradio()
    ended = cli("web")
    assert ended.code == 4
    assert "facestudio[web]" in ended.err


def test_the_address_is_printed_and_ctrl_c_ends_it(cli, model, monkeypatch):
    served = []

    @contextmanager
    def serving(pipe, host, port, *, password, browser, store):
        served.append((host, port, browser, pipe.config.name, store is not None))
        yield "http://127.0.0.1:7860/"
        raise AssertionError("nobody interrupts")

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "require_gradio", lambda: None)
    monkeypatch.setattr(serve, "serving", serving)
    monkeypatch.setattr("facestudio.cli.web.wait_for_ctrl_c", interrupt)
    ended = cli("web", "--model", model, "--no-browser", "--port", "7999")
    assert served == [("127.0.0.1", 7999, False, "tiny", True)]
    assert "http://127.0.0.1:7860/" in ended.out
    assert ended.code == 130


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ((), True),
        (("--host", "0.0.0.0"), False),
        (("--no-people",), False),
        (("--host", "0.0.0.0", "--people"), True),
    ],
)
def test_saved_people_are_offered_to_this_machine_alone(cli, model, monkeypatch, words, offered):
    stores = []

    @contextmanager
    def serving(*given, store, **options):
        stores.append(store)
        yield "http://127.0.0.1:7860/"

    monkeypatch.setenv(serve.PASSWORD, "secret")
    monkeypatch.setattr(serve, "require_gradio", lambda: None)
    monkeypatch.setattr(serve, "serving", serving)
    monkeypatch.setattr("facestudio.cli.web.wait_for_ctrl_c", lambda: None)
    assert cli("web", "--model", model, *words).code == 0
    assert [store is not None for store in stores] == [offered]


@pytest.mark.parametrize("port", ["0", "70000", "x"])
def test_a_bad_port_is_refused(cli, port):
    assert cli("web", "--port", port).code == 2
