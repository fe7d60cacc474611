"""Encoders: the real dlib against its own geometry, tiny networks, and what is refused."""

from __future__ import annotations

import builtins
import json
import sys
from types import ModuleType, SimpleNamespace

import dlib
import numpy as np
import pytest

from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.faces import embed
from facestudio.faces.align import align_face
from facestudio.faces.calibration import Calibration
from facestudio.faces.detect import packaged_model
from facestudio.faces.embed import (
    DlibEncoder,
    InsightFaceEncoder,
    NetworkEncoder,
    OnnxEncoder,
    encoder_id,
)
from facestudio.faces.encoder_folder import NetworkConfig, save_network
from facestudio.faces.load import load_identity_encoder, save_identity_encoder

TINY = NetworkConfig(widths=(4, 6, 8), depths=(1, 1, 1), pooled_dim=12, grid_dim=2)


@pytest.fixture(scope="module")
def dlib_encoder():
    return DlibEncoder()


@pytest.fixture
def crops(rng):
    return rng.integers(0, 255, (3, 112, 112, 3), np.uint8)


def test_dlibs_network_is_read_when_a_face_is_embedded(crops):
    encoder = DlibEncoder()
    assert "_model" not in vars(encoder)
    encoder.embed(crops)
    assert "_model" in vars(encoder)


@pytest.fixture
def network():
    torch = pytest.importorskip("torch")
    from facestudio.faces.network import IdentityNetwork

    torch.manual_seed(0)
    return IdentityNetwork(TINY.widths, TINY.depths, TINY.pooled_dim, TINY.grid_dim)


@pytest.fixture
def network_folder(tmp_path, network):
    calibration = Calibration(np.zeros(12, np.float32), 0.25)
    save_network(
        network, TINY, tmp_path / "enc", name="tiny", version="3", licence="none",
        calibration=calibration,
    )  # fmt: skip
    return tmp_path / "enc"


@pytest.fixture
def onnx_file(tmp_path):
    """A recogniser in an ONNX file, written by hand: the mean of each channel, three numbers."""
    pytest.importorskip("onnxruntime")
    path = tmp_path / "mean.onnx"
    path.write_bytes(mean_of_channels())
    return path


def field(number, value):
    """One protobuf field: a number, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def mean_of_channels():
    """An ONNX model: GlobalAveragePool of (N, 3, 112, 112)."""

    def tensor(name, *dims):
        shape = b"".join(
            field(1, field(2, dim) if isinstance(dim, bytes) else field(1, dim)) for dim in dims
        )
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))

    node = field(1, b"in") + field(2, b"out") + field(4, b"GlobalAveragePool")
    graph = field(1, node) + field(2, b"mean")
    graph += field(11, tensor(b"in", b"n", 3, 112, 112)) + field(12, tensor(b"out", b"n", 3, 1, 1))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


# dlib


def test_dlib_vectors_are_those_of_its_own_chip(astronaut, astronaut_face, dlib_encoder):
    pixels = np.asarray(astronaut)
    rectangle = dlib.rectangle(*(round(v) for v in astronaut_face.box))
    predictor = dlib.shape_predictor(str(packaged_model("shape_predictor_5_face_landmarks.dat")))
    model = packaged_model("dlib_face_recognition_resnet_model_v1.dat")
    chip = dlib.get_face_chip(pixels, predictor(pixels, rectangle))
    wanted = np.array(
        dlib.face_recognition_model_v1(str(model)).compute_face_descriptor(chip), np.float32
    )
    crop = align_face(astronaut, astronaut_face.eyes)
    vector = dlib_encoder.embed(crop[None])[0]
    cosine = vector @ wanted / np.linalg.norm(vector) / np.linalg.norm(wanted)
    assert cosine > 0.99


def test_dlib_contract(dlib_encoder, crops):
    vectors = dlib_encoder.embed(crops)
    assert (vectors.shape, vectors.dtype) == ((3, 128), np.float32)
    assert np.sqrt((vectors**2).mean(-1)) == pytest.approx(1, rel=1e-5)
    assert (dlib_encoder.embed(crops[1:2])[0] == vectors[1]).all()
    assert dlib_encoder.embed(crops[:0]).shape == (0, 128)
    assert encoder_id(dlib_encoder) == "dlib@v1"


def test_dlib_comes_calibrated(dlib_encoder, astronaut, astronaut_face):
    crop = align_face(astronaut, astronaut_face.eyes)
    moved = align_face(astronaut, astronaut_face.eyes + np.array([1.5, -1]))
    mirrored = crop[:, ::-1].copy()
    same, noisy, other = dlib_encoder.embed(np.stack([crop, moved, mirrored]))
    similarity = dlib_encoder.calibration.similarity
    assert float(similarity(same, same)) == pytest.approx(1, abs=1e-5)
    assert float(similarity(same, noisy)) > 0.8
    assert float(similarity(same, other)) > 0.6
    assert dlib_encoder.calibration.mean.shape == (128,)


# Our own network


def test_network_contract(network_folder, network, crops):
    torch = pytest.importorskip("torch")
    encoder = NetworkEncoder(network_folder)
    vectors = encoder.embed(crops)
    assert (encoder.dimension, encoder.compare_dim) == (12 + 2 * 16, 12)
    assert (vectors.shape, vectors.dtype) == ((3, 44), np.float32)
    assert np.sqrt((vectors[:, :12] ** 2).mean(-1)) == pytest.approx(1, rel=1e-5)
    with torch.no_grad():
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2) / 127.5 - 1
        wanted = network.eval()(pixels).numpy()
    assert np.allclose(vectors[:, :12], wanted[:, :12] * np.sqrt(12), atol=1e-4)
    assert np.allclose(vectors[:, 12:], wanted[:, 12:], atol=1e-4)
    assert encoder.embed(crops[:0]).shape == (0, 44)


def test_one_crop_does_not_depend_on_its_batch(network_folder, crops):
    encoder = NetworkEncoder(network_folder)
    assert np.allclose(encoder.embed(crops)[2], encoder.embed(crops[2:])[0], atol=1e-5)


def test_network_is_described(network_folder):
    encoder = load_identity_encoder(network_folder)
    assert encoder_id(encoder) == "tiny@3"
    assert encoder.licence == "none"
    assert encoder.calibration.strangers == 0.25


def test_network_travels(network_folder, tmp_path, crops):
    encoder = load_identity_encoder(network_folder)
    save_identity_encoder(encoder, tmp_path / "copy")
    save_identity_encoder(encoder, network_folder)  # onto itself
    copy = load_identity_encoder(str(tmp_path / "copy"))
    assert (copy.embed(crops) == encoder.embed(crops)).all()
    assert encoder_id(copy) == encoder_id(encoder)


def test_damaged_network_folders(network_folder, tmp_path):
    described = json.loads((network_folder / "identity.json").read_text())
    described["network"]["pooled_dim"] = 13
    (network_folder / "identity.json").write_text(json.dumps(described))
    with pytest.raises(BadModel, match="does not fit"):
        load_identity_encoder(network_folder)
    (network_folder / "identity.safetensors").unlink()
    with pytest.raises(MissingWeights, match="copy the whole model folder"):
        load_identity_encoder(network_folder)
    with pytest.raises(MissingWeights, match="no identity encoder"):
        load_identity_encoder(tmp_path / "none")


@pytest.mark.parametrize("text", ["{", '{"kind": "magic"}', "[]", '{"kind": "dlib", "nmae": "x"}'])
def test_damaged_descriptions(tmp_path, text):
    (tmp_path / "identity.json").write_text(text)
    with pytest.raises(BadModel, match=r"identity\.json"):
        load_identity_encoder(tmp_path)


def test_a_folder_of_another_kind_is_no_network(tmp_path, dlib_encoder):
    save_identity_encoder(dlib_encoder, tmp_path)
    with pytest.raises(BadModel, match="dlib"):
        NetworkEncoder(tmp_path)


# ONNX


def test_onnx_value_ranges(onnx_file, crops):
    mean = crops.mean((1, 2))
    for value_range, wanted in (("0..255", mean), ("-1..1", mean / 127.5 - 1)):
        encoder = OnnxEncoder(onnx_file, value_range=value_range)
        vectors = encoder.embed(crops)
        assert vectors.dtype == np.float32
        assert np.allclose(
            vectors, wanted / np.sqrt((wanted**2).mean(-1, keepdims=True)), atol=1e-3
        )
    assert (encoder.name, encoder.dimension, encoder.compare_dim) == ("mean", 3, 3)
    assert len(encoder.version) == 12
    assert encoder.embed(crops[:0]).shape == (0, 3)


def test_onnx_by_name(onnx_file):
    assert load_identity_encoder(onnx_file).value_range == "-1..1"
    assert load_identity_encoder(f"{onnx_file}:0..255").value_range == "0..255"


def write_wide_recogniser(path) -> None:
    """A file that sees colours in 0..255: beside its bias those in -1..1 are nothing."""
    onnx = pytest.importorskip("onnx", reason="onnx is missing: pip install 'facestudio[train]'")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(0)
    weights = {"weight": rng.standard_normal((3 * 49, 8)), "bias": 1000 * rng.standard_normal(8)}
    pool = {"kernel_shape": [16, 16], "strides": [16, 16]}
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["data"], ["pooled"], **pool),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["seen"]),
            helper.make_node("Add", ["seen", "bias"], ["vector"]),
        ],
        "recogniser",
        [helper.make_tensor_value_info("data", kind, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("vector", kind, ["n", 8])],
        [onnx.numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


def test_an_onnx_file_fed_the_wrong_range_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "wide.onnx"
    write_wide_recogniser(path)
    with pytest.raises(BadModel, match="same vector") as refused:
        load_identity_encoder(path)
    assert "wide.onnx:0..255" in refused.value.hint
    assert load_identity_encoder(f"{path}:0..255").dimension == 8


def test_onnx_travels(onnx_file, tmp_path, crops):
    calibration = Calibration(np.zeros(3, np.float32), 0.1)
    encoder = OnnxEncoder(onnx_file, "face", value_range="0..255", calibration=calibration)
    save_identity_encoder(encoder, tmp_path / "copy")
    copy = load_identity_encoder(tmp_path / "copy")
    assert (copy.embed(crops) == encoder.embed(crops)).all()
    assert encoder_id(copy) == encoder_id(encoder)
    assert copy.calibration.strangers == 0.1


def test_onnx_refusals(onnx_file, tmp_path):
    with pytest.raises(BadOption, match="value range"):
        OnnxEncoder(onnx_file, value_range="0..1")
    with pytest.raises(MissingWeights):
        OnnxEncoder(tmp_path / "none.onnx", value_range="0..255")
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(BadModel, match="no usable ONNX"):
        OnnxEncoder(tmp_path / "bad.onnx", value_range="0..255")
    other = onnx_file.read_bytes().replace(field(1, 3), field(1, 5), 1)
    (tmp_path / "other.onnx").write_bytes(other)
    with pytest.raises(BadModel, match="does not take"):
        OnnxEncoder(tmp_path / "other.onnx", value_range="0..255")


# InsightFace, by a stand-in for the package


@pytest.fixture
def fake_insightface(monkeypatch):
    def get_feat(blue_first):
        return np.stack([np.tile(crop.mean((0, 1)), 171)[:512] for crop in blue_first])

    models = {"recognition": SimpleNamespace(get_feat=get_feat)}
    app = ModuleType("insightface.app")
    app.FaceAnalysis = lambda name, root, allowed_modules: SimpleNamespace(
        models=models if name == "buffalo_l" else {}
    )
    monkeypatch.setitem(sys.modules, "insightface", ModuleType("insightface"))
    monkeypatch.setitem(sys.modules, "insightface.app", app)


@pytest.mark.usefixtures("fake_insightface")
def test_insightface_is_given_blue_first(crops, tmp_path):
    encoder = load_identity_encoder("insightface:buffalo_l")
    vectors = encoder.embed(crops)
    assert vectors.shape == (3, 512)
    mean = crops.mean((1, 2))
    assert vectors[:, 0] / vectors[:, 2] == pytest.approx(mean[:, 2] / mean[:, 0], rel=1e-4)
    assert encoder.embed(crops[:0]).shape == (0, 512)
    save_identity_encoder(encoder, tmp_path)
    assert encoder_id(load_identity_encoder(tmp_path)) == "insightface:buffalo_l@1"
    assert load_identity_encoder("insightface").name == encoder.name


@pytest.mark.usefixtures("fake_insightface")
def test_insightface_pack_without_recogniser():
    with pytest.raises(BadModel, match="antelope"):
        InsightFaceEncoder("antelope")


@pytest.mark.parametrize("package", ["insightface", "onnxruntime"])
def test_missing_extras_are_named(monkeypatch, tmp_path, package):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.onnx").touch()
    spec = {"insightface": "insightface:buffalo_l", "onnxruntime": str(tmp_path / "a.onnx")}
    with pytest.raises(MissingWeights, match=r"facestudio\["):
        load_identity_encoder(spec[package])


# All


def test_dlib_by_name_and_from_a_folder(tmp_path, dlib_encoder):
    save_identity_encoder(load_identity_encoder("dlib"), tmp_path)
    encoder = load_identity_encoder(tmp_path)
    assert encoder_id(encoder) == "dlib@v1"
    assert np.allclose(encoder.calibration.mean, dlib_encoder.calibration.mean, atol=1e-5)


@pytest.mark.parametrize("shape", [(112, 112, 3), (1, 128, 112, 3), (1, 3, 112, 112)])
def test_crops_of_another_shape_are_refused(dlib_encoder, shape):
    with pytest.raises(BadOption, match="align_face"):
        dlib_encoder.embed(np.zeros(shape, np.uint8))
    with pytest.raises(BadOption, match="float"):
        dlib_encoder.embed(np.zeros((1, 112, 112, 3)))


def test_an_encoder_of_unknown_kind_is_not_written(tmp_path):
    stranger = SimpleNamespace(name="x", version="1", dimension=1, compare_dim=1, licence="")
    with pytest.raises(BadModel, match="cannot be written"):
        save_identity_encoder(stranger, tmp_path)


def test_batches_join_in_order():
    run = lambda crops: crops.reshape(len(crops), -1)[:, :2].astype(np.float32)  # noqa: E731
    crops = np.arange(7 * 4).reshape(7, 2, 2)
    assert (embed._in_batches(run, crops, 3, 2) == run(crops)).all()
