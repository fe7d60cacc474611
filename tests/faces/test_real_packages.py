"""InsightFace and torchvision themselves, in place of stand-ins: files of the true form, made here.

Neither is among what the tests install; each test says what it lacks.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from facestudio.faces.embed import InsightFaceEncoder
from facestudio.faces.packs import pack_detector, tell_licence
from facestudio.faces.people import WEIGHTS, installed_segmenter

STRIDES, ANCHORS, EYE = (8, 16, 32), 2, (-1.0, -0.5)  # of a face, in strides from its anchor
NEEDS = "needs the extra facestudio[insightface]"

pytestmark = pytest.mark.slow


def constant(name: str, value: np.ndarray):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(value), name)


def save_graph(path, nodes, stored, inputs, outputs) -> None:
    import onnx
    from onnx import TensorProto, helper

    told = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in infos]
        for infos in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, path.stem, *told, initializer=stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))


def write_scrfd(path) -> None:
    """A detector of `det_10g.onnx`'s form that calls a cell of stride 32 a face if it is white."""
    from onnx import helper

    nodes, stored, outputs = [], [], []
    for kind, numbers in (("score", 1), ("box", 4), ("points", 10)):
        for stride in STRIDES:
            name, channels = f"{kind}_{stride}", ANCHORS * numbers
            weight = np.zeros((channels, 3, stride, stride), np.float32)
            bias = np.tile([0.0, 1.0][kind == "box"], channels).astype(np.float32)
            if kind == "score":
                weight[:] = 10 / (3 * stride**2) * (stride == STRIDES[-1])
                bias[:] = -5
            if kind == "points":
                bias[:] = np.tile([*EYE, *[0.0] * 8], ANCHORS)
            stored += [constant(f"w_{name}", weight), constant(f"b_{name}", bias)]
            stored.append(constant(f"rows_{name}", np.array([-1, numbers], np.int64)))
            nodes += [
                helper.make_node(
                    "Conv", ["in", f"w_{name}", f"b_{name}"], [f"c_{name}"], strides=[stride] * 2
                ),
                helper.make_node("Transpose", [f"c_{name}"], [f"t_{name}"], perm=[0, 2, 3, 1]),
            ]
            flat = name if kind != "score" else f"raw_{name}"
            nodes.append(helper.make_node("Reshape", [f"t_{name}", f"rows_{name}"], [flat]))
            if kind == "score":
                nodes.append(helper.make_node("Sigmoid", [flat], [name]))
            outputs.append((name, ["n", numbers]))
    save_graph(path, nodes, stored, [("in", [1, 3, "h", "w"])], outputs)


def write_recogniser(path, rng) -> np.ndarray:
    """A recogniser of ArcFace's form; its embedding is the returned matrix times mean colours."""
    from onnx import helper

    matrix = rng.standard_normal((3 * 7 * 7, 512)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["in"], ["p"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["out"]),
    ]
    save_graph(
        path,
        nodes,
        [constant("m", matrix)],
        [("in", ["n", 3, 112, 112])],
        [("out", ["n", 512])],
    )
    return matrix


@pytest.fixture
def pack(monkeypatch, tmp_path, rng):
    """A pack called `made` where packs lie, and its recogniser's matrix."""
    pytest.importorskip("insightface", reason=NEEDS)
    folder = tmp_path / "models" / "made"
    folder.mkdir(parents=True)
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    write_scrfd(folder / "det_made.onnx")
    tell_licence.cache_clear()
    return write_recogniser(folder / "made_r.onnx", rng)


def test_insightface_embeds_what_its_file_says(pack, rng):
    encoder = InsightFaceEncoder("made")
    crops = rng.integers(0, 256, (3, 112, 112, 3), np.uint8)
    pixels = (crops.astype(np.float32) - 127.5) / 127.5
    cells = pixels.reshape(3, 7, 16, 7, 16, 3).mean((2, 4)).transpose(0, 3, 1, 2)  # red first
    wanted = cells.reshape(3, -1) @ pack
    found = encoder.embed(crops)
    assert found.shape == (3, 512)
    assert found.dtype == np.float32
    wanted /= np.sqrt((wanted**2).mean(1, keepdims=True))
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_scrfd_finds_a_face_where_it_is(pack):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = pack_detector(InsightFaceEncoder("made"))
    picture = np.zeros((320, 640, 3), np.uint8)  # fills the square's upper half
    picture[96:128, 192:224] = 255
    (face,) = detector.detect(Image.fromarray(picture))
    assert face.box == pytest.approx((192 - 32, 96 - 32, 192 + 32, 96 + 32))
    np.testing.assert_allclose(face.eyes[0], [192 + 32 * EYE[0], 96 + 32 * EYE[1]])
    assert face.score > 0.9
    assert detector.detect(Image.fromarray(picture[:, :192])) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torchvision's own
def test_torchvision_outlines_what_it_calls_people(monkeypatch, tmp_path):
    pytest.importorskip("torchvision", reason="needs torchvision, of torch's own release")
    import torch
    from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

    torch.manual_seed(0)
    network = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    state = network.state_dict()
    state["roi_heads.box_predictor.cls_score.bias"][1] = 50  # everything is a person
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    torch.save(state, folder / WEIGHTS)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    installed_segmenter.cache_clear()
    segmenter = installed_segmenter()
    installed_segmenter.cache_clear()
    masks = segmenter.segment(Image.new("RGB", (160, 120), (90, 120, 150)))
    assert masks
    assert all(mask.shape == (120, 160) and mask.dtype == bool for mask in masks)
    state["roi_heads.box_predictor.cls_score.bias"][1] = -50
    segmenter._network.load_state_dict(state)
    assert segmenter.segment(Image.new("RGB", (160, 120))) == []
