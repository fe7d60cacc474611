"""`facestudio init sd15`: public files in, a model to describe and to draw with out."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pipeline.sd15_files import TINY
from tests.pipeline.test_sd15 import shelf

__all__ = ["shelf"]  # a fixture


@pytest.fixture
def arcface(tmp_path):
    """An ArcFace-style file, as mobilefacenet.onnx is: (N, 3, 112, 112) -> (N, dimension)."""
    onnx = pytest.importorskip("onnx", reason="onnx is missing: pip install 'facestudio[train]'")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = np.random.default_rng(0).standard_normal((3 * 49, TINY.identity_dim))
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["data"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]
            ),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["fc1"]),
        ],
        "arcface",
        [helper.make_tensor_value_info("data", kind, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("fc1", kind, ["n", TINY.identity_dim])],
        [onnx.numpy_helper.from_array(weight.astype(np.float32), "weight")],
    )
    path = tmp_path / "mobilefacenet.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


@pytest.fixture
def words(shelf, arcface):
    """The command that assembles a model with both adapters."""
    return [
        "init", "sd15", "--base", shelf / "base", "--adapter", "both", "--identity", arcface,
        "-s", f"style_adapter={shelf / 'IP-Adapter'}", "-s", f"face_adapter={shelf / 'FaceID'}",
        "-s", "name=portraits", "--offline",
    ]  # fmt: skip


def test_a_photo_and_words_give_a_portrait_without_training(cli, words, astronaut):
    made = cli(*words, "-o", "model", "--json")
    assert made.code == 0, made.out
    assert made.json["size_mb"] > 0
    drawn = cli(
        "generate", astronaut, "--prompt", "ink", "--style", astronaut, "--steps", 1,
        "--model", "model", "--seed", 1, "-o", "a.png", "--json",
    )  # fmt: skip
    assert drawn.code == 0, drawn.out
    assert drawn.json["settings"]["model"] == "portraits"
    assert drawn.json["settings"]["alpha"] == 0.5


def test_info_tells_sizes_types_licences_and_origins(cli, words):
    cli(*words, "--half", "-o", "model")
    facts = cli("info", "model", "--json").json
    assert facts["parts"]["unet"]["dtypes"] == ["F16"]
    assert facts["parts"]["guidance"]["parameters"] > 0
    assert facts["origins"]["style adapter"]["source"] == "IP-Adapter"
    assert facts["origins"]["base"]["licence"] == "not stated"
    assert facts["identity"]["encoder"].startswith("mobilefacenet@")
    assert "origins face adapter licence" in cli("info", "model").out


def test_a_base_is_asked_for(cli):
    answer = cli("init", "sd15", "-o", "model", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
    assert "--base" in answer.json["error"]["message"]


def test_a_base_that_is_not_here_is_named(cli):
    answer = cli("init", "sd15", "--base", "nowhere", "--identity", "dlib", "-o", "model", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "missing_weights")
    assert "nowhere" in answer.json["error"]["message"]


def test_options_of_full_size_do_not_go_with_trained_parts(cli):
    answer = cli("init", "model.toml", "--adapter", "both", "-o", "model", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
