"""`facestudio init`: the door; putting parts together is tested with the pipeline."""

from pathlib import Path

import pytest

from facestudio.pipeline import assemble as assembling

PARTS = 'generator = "g"\ncodec = "c"\ntowers = "t"\nidentity = "dlib"\n'


@pytest.fixture
def config(at_home) -> Path:
    path = Path("model.toml")
    path.write_text(PARTS)
    return path


def test_the_folder_is_told_with_its_size(cli, config, monkeypatch):
    def assemble(settings, folder):
        assert settings.generator == Path("g")
        folder.mkdir(exist_ok=True)
        (folder / "weights").write_bytes(bytes(1_500_000))

    monkeypatch.setattr(assembling, "assemble", assemble)
    assert "1.5 MB" in cli("init", config, "-o", "out").out
    answer = cli("init", config, "-o", "out", "--json").json
    assert (answer["ok"], answer["out"], answer["size_mb"]) == (True, "out", 1.5)


def test_parts_that_are_not_there(cli, config):
    answer = cli("init", config, "-o", "out", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "missing_weights")
    assert not Path("out").exists()


def test_a_folder_must_be_given(cli, config):
    answer = cli("init", config, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
