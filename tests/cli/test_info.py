"""`facestudio info` and what the command says about itself."""

import json
from pathlib import Path

import facestudio


def test_installation(cli):
    facts = cli("info", "--json").json
    assert facts["ok"] is True
    assert facts["facestudio"] == facestudio.__version__
    assert facts["user_folder"].endswith("home")
    assert "torch" in cli("info").out


def test_model(cli, model, pipe):
    facts = cli("info", model, "--json").json
    assert facts["model"] == "tiny"
    assert facts["folder"] == str(model)
    unet = sum(parameter.numel() for parameter in pipe.unet.parameters())
    assert facts["parts"]["unet"]["parameters"] == unet
    assert {"guidance", "codec", "identity", "image_encoder_0"} <= facts["parts"].keys()
    assert facts["parameters"] == sum(part["parameters"] for part in facts["parts"].values())
    assert facts["identity"]["encoder"] == "tiny@1"
    assert facts["identity"]["calibrated"] is True
    assert facts["licence"] == "not stated"


def test_model_for_people(cli, model):
    text = cli("info", model).out
    assert "unet parameters" in text
    assert "tiny@1" in text


def test_licence_is_read_off_the_card(cli, model, at_home):
    from shutil import copytree

    copytree(model, "copy")
    Path("copy/README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Tiny\n")
    assert cli("info", "copy", "--json").json["licence"] == "cc-by-nc-4.0"


def test_a_damaged_index(cli, model, at_home):
    from shutil import copytree

    copytree(model, "copy")
    for damaged in ("{", json.dumps([1])):
        Path("copy/model_index.json").write_text(damaged)
        answer = cli("info", "copy", "--json")
        assert (answer.code, answer.json["error"]["code"]) == (4, "bad_model")


def test_no_such_model(cli):
    answer = cli("info", "nothing", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "missing_weights")


def test_help_lists_every_command(cli):
    text = cli().out
    assert cli("--help").out == text
    for command in (
        "generate",
        "info",
        "identity",
        "prepare",
        "train",
        "evaluate",
        "calibrate",
        "init",
    ):
        assert f"  {command} " in text
    for part in ("unet", "towers", "prior", "codec", "encoder"):
        assert f"  {part} " in cli("train").out
    assert cli("identity").code == 0


def test_version(cli):
    assert cli("--version").out == f"facestudio {facestudio.__version__}\n"


def test_unknown_command(cli):
    answer = cli("paint", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
