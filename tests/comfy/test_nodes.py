"""The nodes keep to ComfyUI's contract and do what the pipeline does; ComfyUI is not needed."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from skimage.data import astronaut as read_astronaut

from facestudio.comfy import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from facestudio.comfy.pictures import to_image, to_pil, to_regions
from facestudio.comfy.progress import report_steps
from facestudio.errors import BadOption, EncoderMismatch
from tests.pipeline.conftest import PX, TinyDetector, anna, ben, encoder, make_picture, pipe

__all__ = ["anna", "ben", "encoder", "pipe"]  # fixtures of the pipeline's tests, used here too

WIDGETS = {"STRING", "INT", "FLOAT", "BOOLEAN"}
SOCKETS = {"IMAGE", "MASK", "FACESTUDIO_MODEL", "FACESTUDIO_IDENTITY"}
PLAIN = {
    "prompt": "a hat",
    "negative_prompt": "",
    "seed": 3,
    "steps": 2,
    "guidance_scale": 3.0,
    "alpha": 0.5,
    "identity_scale": 1.0,
    "style_scale": 1.0,
    "count": 1,
}


@pytest.fixture(autouse=True)
def at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESTUDIO_HOME", str(tmp_path))


def run(node: str, **inputs):
    """What ComfyUI does with a node: make it and call the method that FUNCTION names."""
    kind = NODE_CLASS_MAPPINGS[node]
    return getattr(kind(), kind.FUNCTION)(**inputs)


def image(*seeds: int) -> torch.Tensor:
    return to_image([make_picture(seed) for seed in seeds])


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_a_node_has_comfyuis_form(name):
    kind = NODE_CLASS_MAPPINGS[name]
    inputs = kind.INPUT_TYPES()
    assert set(inputs) <= {"required", "optional", "hidden"}
    for group in inputs.values():
        for entry in group.values():
            assert isinstance(entry, tuple)
            assert isinstance(entry[0], list) or entry[0] in WIDGETS | SOCKETS
            if entry[0] in ("INT", "FLOAT"):
                assert entry[1]["min"] <= entry[1]["default"] <= entry[1]["max"]
    assert len(kind.RETURN_TYPES) == len(kind.RETURN_NAMES)
    assert set(kind.RETURN_TYPES) <= WIDGETS | SOCKETS
    assert kind.CATEGORY == "FaceStudio"
    assert name in NODE_DISPLAY_NAME_MAPPINGS


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_a_node_takes_what_it_says(name):
    kind = NODE_CLASS_MAPPINGS[name]
    takes = inspect.signature(getattr(kind, kind.FUNCTION)).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
        return
    said = {key for group in kind.INPUT_TYPES().values() for key in group}
    assert said == set(takes) - {"self"}


def test_a_model_is_loaded_by_name(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "tiny")
    (loaded,) = run(
        "FaceStudioLoadModel", name=str(tmp_path / "tiny"), precision="float32", device="cpu"
    )
    assert loaded.config.name == "tiny"
    assert loaded.like.dtype == torch.float32


def test_an_identity_is_read_off_photos(pipe):
    photo = torch.from_numpy(read_astronaut()[None].astype(np.float32) / 255)
    pipe.detector = TinyDetector(0.5)
    (person,) = run("FaceStudioReadIdentity", model=pipe, photos=photo, largest=False)
    expected = pipe.identity(to_pil(photo)[0])
    np.testing.assert_array_equal(person.embedding, expected.embedding)


def test_two_faces_are_mixed(anna, ben):
    (mixed,) = run("FaceStudioMixIdentities", first=anna, second=ben, weight=0.3)
    np.testing.assert_array_equal(mixed.embedding, anna.mix(ben, 0.3).embedding)


def test_the_picture_is_the_pipelines(pipe, anna):
    drawn, settings = run(
        "FaceStudioApply", model=pipe, identity=anna, style=image(2), **PLAIN | {"count": 2}
    )
    given = {"prompt": "a hat", "style": make_picture(2), "alpha": 0.5, "seed": 3}
    expected = pipe(
        anna, **given, guidance_scale=3.0, num_inference_steps=2, num_images_per_prompt=2
    )
    assert drawn.shape == (2, PX, PX, 3)
    assert drawn.dtype == torch.float32
    torch.testing.assert_close(drawn, to_image(expected.images))
    assert json.loads(settings)["seed"] == 3


def test_several_people_are_placed_by_masks(pipe, anna, ben):
    masks = torch.zeros(2, PX, PX)
    masks[0, :, : PX // 2] = masks[1, :, PX // 2 :] = 1
    drawn, settings = run(
        "FaceStudioApply", model=pipe, identity=anna, identity_2=ben, masks=masks, **PLAIN
    )
    assert drawn.shape[0] == 1
    assert len(json.loads(settings)["identity"]) == 2


def test_a_picture_is_started_from(pipe, anna):
    given = PLAIN | {"prompt": ""}
    _, settings = run(
        "FaceStudioApply", model=pipe, identity=anna, image=image(4), strength=0.5, **given
    )
    assert json.loads(settings)["strength"] == 0.5


def test_a_person_is_saved_and_loaded(pipe, anna):
    shown = run("FaceStudioSaveProfile", identity=anna, name="anna", replace=False)
    assert shown["result"] == (anna,)
    kind = NODE_CLASS_MAPPINGS["FaceStudioLoadProfile"]
    assert kind.INPUT_TYPES()["required"]["name"] == (["anna"],)
    assert kind.IS_CHANGED("anna") > 0
    (again,) = run("FaceStudioLoadProfile", model=pipe, name="anna")
    np.testing.assert_array_equal(again.embedding, anna.embedding)
    with pytest.raises(BadOption, match="saved already"):
        run("FaceStudioSaveProfile", identity=anna, name="anna", replace=False)


def test_a_person_of_another_encoder_is_refused(pipe, anna):
    run("FaceStudioSaveProfile", identity=anna, name="anna", replace=False)

    class Other:
        name, version = "other", "1"

    pipe.identity_encoder = Other()
    with pytest.raises(EncoderMismatch, match="other@1"):
        run("FaceStudioLoadProfile", model=pipe, name="anna")


def test_pictures_go_there_and_back():
    pictures = [make_picture(1), make_picture(2)]
    back = to_pil(to_image(pictures))
    for one, two in zip(pictures, back, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_what_is_no_image_is_refused():
    with pytest.raises(BadOption, match=r"\(2, 3\)"):
        to_pil(torch.zeros(2, 3))


def test_masks_are_split_at_one_half():
    regions = to_regions(torch.tensor([[0.2, 0.8]]))
    assert [region.tolist() for region in regions] == [[[0.0, 1.0]]]


def test_inside_comfyui_steps_are_shown_and_can_be_stopped(monkeypatch):
    shown = []

    class ProgressBar:
        def __init__(self, total: int) -> None:
            self.total = total

        def update_absolute(self, value: int, total: int) -> None:
            shown.append((value, total))

    utils, management = ModuleType("comfy.utils"), ModuleType("comfy.model_management")
    utils.ProgressBar = ProgressBar
    management.throw_exception_if_processing_interrupted = lambda: None
    for module in (ModuleType("comfy"), utils, management):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    callback = report_steps(2)
    assert callback(None, 0, None, {}) == {}
    assert shown == [(1, 2)]

    def interrupt():
        raise InterruptedError

    management.throw_exception_if_processing_interrupted = interrupt
    with pytest.raises(InterruptedError):
        callback(None, 1, None, {})


def test_outside_of_comfyui_nothing_is_shown():
    assert report_steps(3) is None


def test_knowing_the_nodes_loads_no_torch():
    code = "import sys, facestudio.comfy; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
