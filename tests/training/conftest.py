"""A prepared set in the small: four people with two photos and a drawing each, and two scenes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from accelerate.state import AcceleratorState
from onnx import TensorProto, helper, numpy_helper

from facestudio.data.shards import Sample, write_json, write_shard
from tests.data.conftest import picture_bytes

CHANNELS, CELLS, IDENTITY_DIM, STYLE_DIM, PX = 4, 4, 6, 8, 32


def make_sample(key: str, seed: int, **record) -> Sample:
    rng = np.random.default_rng(seed)
    seen = record.pop("seen", True)
    latents = rng.standard_normal((CHANNELS, CELLS, CELLS))
    eyes = np.array([[0.375, 0.475], [0.625, 0.475]]) * PX
    arrays = {
        "latents": latents,
        "latents_flipped": latents[..., ::-1],
        "identity": rng.standard_normal(IDENTITY_DIM) * seen,
        "style": rng.standard_normal(STYLE_DIM),
        "style_whole": rng.standard_normal(STYLE_DIM),
        "mask": np.zeros((CELLS, CELLS)),
        "eyes": eyes if seen else np.full((2, 2), np.nan),
        "box": np.zeros(4),
    }
    full = {"key": key, "source": "toy", "split": "train", "has_face": seen, **record}
    return Sample(arrays, picture_bytes(seed, PX), full)


def person_samples(person: int) -> list[Sample]:
    """Two photos and a drawing; person 3 is held out."""
    split = "test" if person == 3 else "train"
    shared = {"person": f"p{person}", "split": split}
    return [
        make_sample(f"p{person}_a", 10 * person, **shared, captions=[f"a photo of man {person}"]),
        make_sample(
            f"p{person}_b", 10 * person + 1, **shared, captions=[f"a woman with hat {person}"]
        ),
        make_sample(
            f"p{person}_a_ink", 10 * person + 2, **shared, kind="drawn", captions=["an ink drawing"]
        ),
    ]


@pytest.fixture
def prepared(tmp_path):
    """The folder of the set."""
    samples = [sample for person in range(4) for sample in person_samples(person)]
    samples += [
        make_sample(f"s{i}", 90 + i, seen=False, source="scenes", captions=["a red ball"])
        for i in range(2)
    ]
    folder = tmp_path / "set"
    folder.mkdir()
    write_json(folder / "dataset.json", {"format": 1})
    write_shard(folder, "000-00000", samples)
    return folder


@pytest.fixture(autouse=True)
def _own_accelerator():
    """Accelerate keeps one state a process; each test starts with none."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def recogniser_file(tmp_path):
    """A small recogniser in an ONNX file: convolution, activation, pooling, eight numbers."""
    rng = np.random.default_rng(5)
    weights = {
        "w": rng.standard_normal((6, 3, 7, 7)).astype(np.float32) / 5,
        "m": rng.standard_normal((8, 6)).astype(np.float32),
        "b": rng.standard_normal(8).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["in", "w"], ["c"], strides=[4, 4], pads=[3, 3, 3, 3]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "m", "b"], ["out"], transB=1),
    ]
    picture = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 3, 112, 112])
    vector = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 8])
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "recogniser", [picture], [vector], stored)
    opset = helper.make_opsetid("", 17)
    path = tmp_path / "recogniser.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    return path
