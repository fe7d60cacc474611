"""Model folders: round trip, half precision, and every way a folder can be wrong."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from facestudio import FaceStudioPipeline
from facestudio.encoders.looks import LookReader
from facestudio.errors import BadModel, MissingWeights
from facestudio.pipeline import folder as folders
from facestudio.pipeline.load import find_model, load_parts, store_as_half
from tests.pipeline.conftest import STYLE_DIM, assert_alike, make_kl_codec, make_look_reader

PARTS = ["unet", "scheduler", "guidance", "prior", "codec", "image_encoder_0", "text_encoder_0"]


@pytest.fixture
def folder(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit_index(folder, **changes):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def reload(seeing):
    """reload(folder): the pipeline in it, with a detector that is quick."""
    return lambda folder: FaceStudioPipeline.from_pretrained(folder, detector=seeing(0.5))


def draw(pipe, anna, picture):
    return pipe(anna, prompt="a hat", style=picture(4), seed=1)


def test_a_round_trip_gives_the_same_picture(pipe, folder, anna, picture, reload):
    before = draw(pipe, anna, picture)
    loaded = reload(folder)
    after = draw(loaded, anna, picture)
    assert_alike(before.images[0], after.images[0])
    np.testing.assert_allclose(after.likeness, before.likeness, atol=0.05)
    assert after.settings == before.settings
    assert loaded.config == pipe.config


def test_the_folder_has_diffusers_form(folder):
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "FaceStudioPipeline"
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert index["codec"] == ["facestudio.codec.patch", "PatchCodec"]
    assert index["config"]["name"] == "tiny"
    assert {path.name for path in folder.iterdir()} >= {*PARTS, "tokenizer", "identity.json"}
    weights = [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    assert not weights


def test_saving_over_itself_keeps_the_model(folder, anna, picture, reload):
    loaded = reload(folder)
    before = draw(loaded, anna, picture)
    loaded.save_pretrained(folder)
    after = draw(reload(folder), anna, picture)
    assert_alike(before.images[0], after.images[0])


def test_half_is_stored_as_fp16_and_loaded_as_fp32(pipe, tmp_path, anna, picture, reload):
    before = draw(pipe, anna, picture)
    pipe.save_pretrained(tmp_path, half=True)
    stored = [load_file(path) for path in tmp_path.rglob("*.safetensors")]
    dtypes = {tensor.dtype for tensors in stored for tensor in tensors.values()}
    assert torch.float16 in dtypes
    assert torch.float32 not in dtypes
    loaded = reload(tmp_path)
    assert {p.dtype for n in loaded.networks().values() for p in n.parameters()} == {torch.float32}
    after = draw(loaded, anna, picture)
    one, two = (np.asarray(out.images[0]).astype(int) for out in (before, after))
    assert np.abs(one - two).mean() < 2


def test_numbers_beyond_half_stay_whole(tmp_path):
    save_file(
        {"large": torch.tensor([1e6]), "small": torch.tensor([1.0])}, tmp_path / "a.safetensors"
    )
    store_as_half(tmp_path)
    stored = load_file(tmp_path / "a.safetensors")
    assert stored["large"].dtype == torch.float32
    assert stored["small"].dtype == torch.float16


def test_a_model_without_words_round_trips(pipe, tmp_path, anna, picture, reload):
    pipe.prior = pipe.text_towers = None
    pipe.save_pretrained(tmp_path)
    loaded = reload(tmp_path)
    assert loaded.prior is None
    with pytest.raises(MissingWeights, match="takes no words"):
        loaded(anna, prompt="a hat")


def test_a_look_reader_round_trips_and_must_fit(pipe, tmp_path, picture, reload):
    pipe.look_reader = make_look_reader()
    pipe.save_pretrained(tmp_path / "model", half=True)
    again = reload(tmp_path / "model")
    assert again.look_reader.means.dtype == torch.float32
    one, two = (p.style_vector(picture(2)) for p in (pipe, again))
    torch.testing.assert_close(one, two, atol=5e-3, rtol=1e-2)
    wide = LookReader((("photo", ("photo",)),), 2 * STYLE_DIM)
    wide.save_pretrained(tmp_path / "model" / "look_reader")
    with pytest.raises(BadModel, match=r"look reader's style_dim is 16"):
        reload(tmp_path / "model")


def test_without_one_given_the_detector_is_dlibs(folder):
    assert FaceStudioPipeline.from_pretrained(str(folder)).detector.name == "dlib-hog"


def test_stable_diffusions_autoencoder_is_kept_as_vae(pipe, tmp_path, anna, picture, reload):
    pipe.codec = make_kl_codec(pipe.codec.channels)
    before = draw(pipe, anna, picture)
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["vae"] == ["diffusers", "AutoencoderKL"]
    assert "codec" not in index
    after = draw(reload(tmp_path), anna, picture)
    assert_alike(before.images[0], after.images[0])


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(MissingWeights, match=part):
        load_parts(folder)


@pytest.mark.parametrize(
    "part", ["unet", "guidance", "prior", "codec", "image_encoder_0", "text_encoder_0"]
)
def test_missing_weights_are_named(folder, part):
    (path,) = (folder / part).glob("*.safetensors")
    path.unlink()
    with pytest.raises(MissingWeights, match=part) as caught:
        load_parts(folder)
    assert caught.value.file


@pytest.mark.parametrize("part", ["unet", "guidance", "codec"])
def test_damaged_weights_are_named(folder, part):
    (path,) = (folder / part).glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadModel, match=part):
        load_parts(folder)


def test_absent_weights_are_named(folder):
    (path,) = (folder / "guidance").glob("*.safetensors")
    save_file({"join.weight": load_file(path)["join.weight"]}, path, {"format": "pt"})
    with pytest.raises(BadModel, match=r"guidance.*join\.bias"):
        load_parts(folder)


def test_weights_of_another_shape_are_named(folder):
    path = folder / "guidance" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_tokens": 5}))
    with pytest.raises(BadModel, match="guidance"):
        load_parts(folder)


def test_a_folder_without_an_identity_encoder_says_so(folder):
    (folder / "identity.json").unlink()
    with pytest.raises(MissingWeights, match=r"identity\.json"):
        load_parts(folder)


def test_a_folder_without_an_index_is_no_model(tmp_path):
    with pytest.raises(MissingWeights, match=r"model_index\.json is missing"):
        load_parts(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '"a"'])
def test_an_index_that_is_none_is_refused(folder, text):
    (folder / "model_index.json").write_text(text)
    with pytest.raises(BadModel, match=r"model_index\.json"):
        load_parts(folder)


@pytest.mark.parametrize(
    "entry",
    [["os", "system"], ["facestudio.guidance", "Nothing"], ["facestudio.nowhere", "A"], "unet", 3],
)
def test_only_our_own_and_diffusers_classes_are_built(folder, entry):
    edit_index(folder, unet=entry)
    with pytest.raises(BadModel, match="cannot be built"):
        load_parts(folder)


@pytest.mark.parametrize("part", ["unet", "scheduler", "guidance", "image_encoder", "codec"])
def test_an_index_that_names_no_part_is_refused(folder, part):
    edit_index(folder, **{part: None})
    with pytest.raises(BadModel, match="names n"):
        load_parts(folder)


def test_an_unknown_setting_is_refused(folder):
    edit_index(folder, config={"guidance_scal": 2.0})
    with pytest.raises(BadModel, match="guidance_scale"):
        load_parts(folder)


def test_a_shipped_model_is_found_by_name(folder, monkeypatch):
    monkeypatch.setattr(folders, "SHIPPED", folder.parent)
    assert find_model("model") == folder


def test_an_unknown_name_says_where_it_was_looked_for():
    with pytest.raises(MissingWeights, match="no model 'huge'") as caught:
        find_model("huge")
    assert "facestudio init" in str(caught.value)


def test_a_hub_is_asked_only_for_what_is_not_here(folder, monkeypatch):
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, tuple(allow_patterns)))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: None)
    assert find_model(folder) == folder
    assert not asked
    assert find_model("somebody/faces") == folder
    assert asked[0][0] == "somebody/faces"
    assert not any(pattern.endswith((".bin", ".pt")) for pattern in asked[0][1])


def test_a_hub_that_does_not_answer_is_told(monkeypatch):
    def snapshot_download(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: None)
    with pytest.raises(MissingWeights, match=r"somebody/faces.*no route"):
        find_model("somebody/faces")
