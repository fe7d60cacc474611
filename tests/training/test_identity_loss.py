"""Recognisers out of ONNX files, against onnxruntime, and the loss on their vectors."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from facestudio.codec.patch import PatchCodec
from facestudio.errors import BadModel, MissingWeights
from facestudio.faces.align import ARCFACE_EYES, CROP_PX, PORTRAIT_EYE_X, PORTRAIT_EYE_Y
from facestudio.training.identity_loss import IdentityLoss, crop_grid
from facestudio.training.onnx_network import OPERATORS, OnnxNetwork


def write_graph(path, nodes, weights, shape, out):
    """An ONNX file of nodes (operator, inputs, outputs, attributes) from `in` to `out`."""
    made = [
        helper.make_node(op, takes, gives, **attributes) for op, takes, gives, attributes in nodes
    ]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def both(path, *inputs):
    """What this project and onnxruntime make of the same input."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {session.get_inputs()[0].name: inputs[0].numpy()})[0]
    return OnnxNetwork(path)(inputs[0]).numpy(), wanted


F32, I64 = np.float32, np.int64
X = ["in"]
THREE = numpy_helper.from_array(np.array([3.0], F32))
ONE_STEP = {
    "conv with uneven pads": (
        [("Conv", ["in", "w", "b"], ["out"],
          {"pads": [0, 1, 1, 0], "strides": [2, 2], "group": 2})],
        {"w": np.linspace(-1, 1, 72, dtype=F32).reshape(4, 2, 3, 3), "b": np.arange(4, dtype=F32)},
    ),
    "slice": (
        [("Slice", ["in", "a", "b", "c", "d"], ["out"], {})],
        {"a": np.array([1, 0], I64), "b": np.array([-1, 99], I64), "c": np.array([2, 3], I64),
         "d": np.array([2, 1], I64)},
    ),
    "reshape": ([("Reshape", ["in", "s"], ["out"], {})], {"s": np.array([0, 2, -1], I64)}),
    "gather": ([("Gather", ["in", "i"], ["out"], {"axis": 1})], {"i": np.array([-1, 0], I64)}),
    "gather one": ([("Gather", ["in", "i"], ["out"], {"axis": 2})], {"i": np.array(1, I64)}),
    "transpose": ([("Transpose", X, ["out"], {"perm": [0, 2, 3, 1]})], {}),
    "layer norm": (
        [("LayerNormalization", ["in", "w", "b"], ["out"], {"axis": -1})],
        {"w": np.linspace(1, 2, 6, dtype=F32), "b": np.ones(6, F32)},
    ),
    "batch norm": (
        [("BatchNormalization", ["in", "w", "b", "m", "v"], ["out"], {})],
        {"w": np.arange(1, 5, dtype=F32), "b": np.ones(4, F32), "m": np.ones(4, F32),
         "v": np.arange(1, 5, dtype=F32)},
    ),
    "norm": ([("ReduceL2", X, ["out"], {"axes": [-1], "keepdims": 1})], {}),
    "clip": ([("Clip", ["in", "low", ""], ["out"], {})], {"low": np.array(0.1, F32)}),
    "softmax": ([("Softmax", X, ["out"], {"axis": 1})], {}),
    "squeeze and back": (
        [("Unsqueeze", ["in", "a"], ["u"], {}), ("Squeeze", ["u", "b"], ["out"], {})],
        {"a": np.array([0, -1], I64), "b": np.array([0], I64)},
    ),
    "split": (
        [("Split", ["in", "s"], ["p", "q"], {"axis": 1}),
         ("Concat", ["q", "p"], ["out"], {"axis": 1})],
        {"s": np.array([1, 3], I64)},
    ),
    "shape arithmetic": (
        [("Shape", X, ["s"], {}), ("Div", ["s", "two"], ["h"], {}),
         ("Cast", ["h"], ["out"], {"to": 1})],
        {"two": np.array(2, I64)},
    ),
    "filled": (
        [("Shape", X, ["s"], {}),
         ("ConstantOfShape", ["s"], ["c"], {"value": THREE}),
         ("Add", ["in", "c"], ["out"], {})],
        {},
    ),
    "sum along": ([("CumSum", ["in", "a"], ["out"], {})], {"a": np.array(1, I64)}),
    "expand": ([("Expand", ["in", "s"], ["out"], {})], {"s": np.array([2, 1, 1, 1], I64)}),
    "prelu": ([("PRelu", ["in", "w"], ["out"], {})], {"w": np.full((4, 1, 1), 0.3, F32)}),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_STEP)
def test_operators_are_onnxruntimes(tmp_path, name):
    nodes, weights = ONE_STEP[name]
    path = write_graph(tmp_path / "g.onnx", nodes, weights, (1, 4, 5, 6), None)
    got, wanted = both(path, torch.linspace(-2, 2, 120).view(1, 4, 5, 6))
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["Cos", "Sin", "Erf", "Relu"])
def test_functions_of_one_number_are_onnxruntimes(tmp_path, name):
    path = write_graph(tmp_path / "g.onnx", [(name, X, ["out"], {})], {}, (1, 4), (1, 4))
    np.testing.assert_allclose(*both(path, torch.linspace(-2, 2, 4).view(1, 4)), atol=1e-5)


@pytest.mark.parametrize("name", ["Add", "Sub", "Mul", "Div", "MatMul"])
def test_functions_of_two_are_onnxruntimes(tmp_path, name):
    weights = {"w": np.linspace(1, 2, 16, dtype=F32).reshape(4, 4)}
    path = write_graph(
        tmp_path / "g.onnx", [(name, ["in", "w"], ["out"], {})], weights, (4, 4), (4, 4)
    )
    np.testing.assert_allclose(*both(path, torch.linspace(-2, 2, 16).view(4, 4)), atol=1e-5)


def test_a_recogniser_is_onnxruntimes_and_takes_any_batch(recogniser_file):
    pixels = torch.rand(3, 3, 112, 112) * 2 - 1
    got, wanted = both(recogniser_file, pixels)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    np.testing.assert_allclose(
        OnnxNetwork(recogniser_file)(pixels[:1]).numpy(), wanted[:1], atol=1e-5
    )


def test_an_unknown_operator_is_named(tmp_path):
    assert "Elu" not in OPERATORS
    path = write_graph(tmp_path / "g.onnx", [("Elu", X, ["out"], {})], {}, (1, 4), (1, 4))
    with pytest.raises(BadModel, match="Elu"):
        OnnxNetwork(path)


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(MissingWeights, match=r"gone\.onnx"):
        OnnxNetwork(tmp_path / "gone.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf" * 9)
    with pytest.raises(BadModel, match=r"broken\.onnx"):
        OnnxNetwork(tmp_path / "broken.onnx")


def test_the_crop_has_its_eyes_on_the_template():
    grid = crop_grid(128)[0]
    for (x, y), eye_x in zip(ARCFACE_EYES * CROP_PX, PORTRAIT_EYE_X, strict=True):
        found = (grid[int(y), int(x)] + 1) / 2
        wanted = torch.tensor([eye_x, PORTRAIT_EYE_Y])
        torch.testing.assert_close(found.float(), wanted.float(), atol=0.01, rtol=0)


def test_loss_is_zero_for_the_same_face_and_falls_by_its_gradient(recogniser_file):
    torch.manual_seed(0)
    loss = IdentityLoss(
        recogniser_file, PatchCodec(factor=8, channels=4, widths=(4, 4, 4), blocks=1)
    )
    reference = torch.randn(2, 4, 16, 16)
    assert loss(reference, reference).abs().max() < 1e-5
    latents = torch.randn(2, 4, 16, 16, requires_grad=True)
    before = loss(latents, reference)
    (gradient,) = torch.autograd.grad(before.sum(), latents)
    after = loss(latents - 0.02 * gradient / gradient.std(), reference)
    assert bool((after < before).all())
    assert not any(p.requires_grad for p in loss.parameters())
