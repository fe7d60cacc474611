"""Settings of the server: three sources, in order, and nothing unknown."""

from __future__ import annotations

import pytest

from facestudio.errors import BadOption, MissingFile
from facestudio.server.settings import is_loopback, read_settings


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "serve.toml"
    file.write_text('port = 1\nmax_queue = 2\nmodel = "a"\n', "utf-8")
    named = {"FACESTUDIO_SERVE_MAX_QUEUE": "3", "FACESTUDIO_SERVE_MODEL": "b", "PATH": "x"}
    settings = read_settings(file, ["model=c"], named)
    assert (settings.port, settings.max_queue, settings.model) == (1, 3, "c")


@pytest.mark.parametrize(
    ("flags", "named", "text"),
    [
        (["max_que=3"], {}, "unknown setting max_que; nearest is max_queue"),
        ([], {"FACESTUDIO_SERVE_PROT": "3"}, "unknown setting prot; nearest is port"),
        (["port=many"], {}, "port is 'many'"),
        (["port=70000"], {}, "from 0 to 65535"),
        (["max_queue=0"], {}, "max_queue is 0; it must be over 0"),
        (["engine=steam"], {}, "'local', 'ray'"),
    ],
)
def test_what_is_unknown_or_wrong_is_refused(flags, named, text):
    with pytest.raises(BadOption, match=text):
        read_settings(None, flags, named)


def test_unknown_settings_in_the_file_and_no_file_are_refused(tmp_path):
    (tmp_path / "a.toml").write_text("quue = 1", "utf-8")
    with pytest.raises(BadOption, match="quue"):
        read_settings(tmp_path / "a.toml", [], {})
    with pytest.raises(MissingFile):
        read_settings(tmp_path / "b.toml", [], {})


@pytest.mark.parametrize(
    ("flags", "needed"),
    [
        ([], False),
        (["host=localhost"], False),
        (["host=::1"], False),
        (["host=127.0.0.9"], False),
        (["host=0.0.0.0"], True),
        (["host=example.org"], True),
        (["require_key=true"], True),
    ],
)
def test_any_address_but_loopback_needs_a_key(flags, needed):
    assert read_settings(None, flags, {}).needs_key is needed


def test_names_that_only_look_like_loopback_are_none():
    assert not is_loopback("localhost.example.org")


def test_what_belongs_to_the_server_lies_in_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESTUDIO_HOME", str(tmp_path))
    assert read_settings(None, [], {}).folder == tmp_path / "server"
