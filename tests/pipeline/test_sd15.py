"""Public files of full size, at tiny widths, become model folders that draw."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.guidance.adapter import AdapterGuidance
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.pipeline.origins import read_origins
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.pipeline.sd15 import Sd15Settings, assemble_sd15
from tests.pipeline.conftest import assert_alike
from tests.pipeline.ldm_file import to_single_file
from tests.pipeline.peers import UnknownEncoder, make_person
from tests.pipeline.sd15_files import (
    TINY,
    face_weights,
    make_base,
    make_tokenizer,
    make_vision,
    style_weights,
    write_adapter,
)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with everything that init takes, each in the form it is published in."""
    root = tmp_path_factory.mktemp("shelf")
    base = make_base(TINY)
    base.save_pretrained(root / "base")
    save_file(to_single_file(base), root / "base.safetensors")
    write_adapter(
        style_weights(base.unet, TINY), root / "IP-Adapter/models/ip-adapter_sd15.safetensors"
    )
    make_vision(TINY).save_pretrained(root / "IP-Adapter/models/image_encoder")
    write_adapter(face_weights(base.unet, TINY), root / "FaceID/ip-adapter-faceid_sd15.bin")
    write_vit(root / "vit", 12)
    write_resnet(root / "rn101/open_clip_model.safetensors")
    return root


def write_vit(folder, dim: int) -> None:
    """A whole CLIP model as transformers keeps it, with its tokenizer."""
    torch.manual_seed(dim)
    words = TINY.text["vocab_size"]
    text = TINY.text | {"bos_token_id": words - 2, "eos_token_id": words - 1}
    config = CLIPConfig(
        text_config=text | {"projection_dim": dim, "pad_token_id": words - 1},
        vision_config=TINY.vision | {"projection_dim": dim},
        projection_dim=dim,
    )
    CLIPModel(config).save_pretrained(folder)
    make_tokenizer(words).save_pretrained(folder)


def write_resnet(path) -> None:
    """A CLIP ResNet with its text half under open_clip's names."""
    from facestudio.encoders.clip_resnet import ModifiedResNet

    torch.manual_seed(4)
    tower = ModifiedResNet((1, 1, 1, 1), output_dim=10, heads=2, input_resolution=64, width=4)
    state = {f"visual.{name}": value for name, value in tower.state_dict().items()}
    width, words = 64, TINY.text["vocab_size"]
    block = "transformer.resblocks.0"
    state |= {
        "token_embedding.weight": torch.randn(words, width),
        "positional_embedding": torch.randn(77, width),
        "ln_final.weight": torch.ones(width),
        "ln_final.bias": torch.zeros(width),
        "text_projection": torch.randn(width, 10),
        "logit_scale": torch.ones(()),
        f"{block}.attn.in_proj_weight": torch.randn(3 * width, width),
        f"{block}.attn.in_proj_bias": torch.zeros(3 * width),
        f"{block}.attn.out_proj.weight": torch.randn(width, width),
        f"{block}.attn.out_proj.bias": torch.zeros(width),
        f"{block}.mlp.c_fc.weight": torch.randn(4 * width, width),
        f"{block}.mlp.c_fc.bias": torch.zeros(4 * width),
        f"{block}.mlp.c_proj.weight": torch.randn(width, 4 * width),
        f"{block}.mlp.c_proj.bias": torch.zeros(width),
    }
    for norm in ("ln_1", "ln_2"):
        state |= {
            f"{block}.{norm}.weight": torch.ones(width),
            f"{block}.{norm}.bias": torch.zeros(width),
        }
    path.parent.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in state.items()}, path)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whoever opens a connection fails the test."""

    def refuse(*_, **__):
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def encoder(monkeypatch):
    """An encoder of the face adapter's dimension, in place of a pack of 300 MB."""
    monkeypatch.setattr(
        "facestudio.pipeline.sd15.load_identity_encoder",
        lambda _: UnknownEncoder(TINY.identity_dim),
    )
    monkeypatch.setattr("facestudio.pipeline.load.save_identity_encoder", lambda *_: None)
    monkeypatch.setattr(
        "facestudio.pipeline.load.load_identity_encoder",
        lambda _: UnknownEncoder(TINY.identity_dim),
    )


@pytest.fixture
def settings(shelf, encoder) -> Sd15Settings:
    return Sd15Settings(
        base=str(shelf / "base"),
        towers=(str(shelf / "vit"), str(shelf / "rn101")),
        style_adapter=str(shelf / "IP-Adapter"),
        face_adapter=str(shelf / "FaceID"),
        tokenizer=str(shelf / "base/tokenizer"),
        identity="unknown",
    )


def draw(pipe, person=None, **options):
    steps = {"num_inference_steps": 2, "seed": 3, "output_type": "np"}
    return pipe(person, **steps | options).images[0]


def test_the_papers_way_gives_a_fresh_guidance_layer(settings, tmp_path, picture):
    made = assemble_sd15(settings, tmp_path)
    pipe = FaceStudioPipeline.from_pretrained(tmp_path)
    assert isinstance(pipe.guidance, HybridGuidance)
    assert (pipe.guidance.style_dim, pipe.guidance.identity_dim) == (12 + 10, TINY.identity_dim)
    assert pipe.guidance.width == TINY.text["hidden_size"]
    assert pipe.image_towers.tower_dims == pipe.text_towers.tower_dims == (12, 10)
    person = make_person(1, TINY.identity_dim)
    drawn = draw(pipe, person, style=picture(1))
    assert_alike(drawn, draw(made, person, style=picture(1)))
    with pytest.raises(MissingWeights, match="takes no words"):
        draw(pipe, person, prompt="a hat")


def test_the_seed_makes_the_guidance_layer(settings, tmp_path):
    one, same, other = (
        assemble_sd15(replace(settings, seed=seed), tmp_path / str(i)).guidance.join.weight
        for i, seed in enumerate([1, 1, 2])
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("adapter", ["ip-adapter", "ip-adapter-faceid", "both"])
def test_adapters_draw_at_once(settings, tmp_path, picture, adapter):
    made = assemble_sd15(replace(settings, adapter=adapter), tmp_path)
    pipe = FaceStudioPipeline.from_pretrained(tmp_path)
    assert isinstance(pipe.guidance, AdapterGuidance)
    person = None if adapter == "ip-adapter" else make_person(1, TINY.identity_dim)
    given = {"prompt": "a hat"} if adapter == "ip-adapter-faceid" else {"style": picture(1)}
    assert_alike(draw(pipe, person, **given), draw(made, person, **given))


def test_a_single_file_is_the_folder_it_was_made_from(settings, shelf, tmp_path, picture):
    settings = replace(settings, adapter="both")
    folder = assemble_sd15(settings, tmp_path / "a")
    file = replace(settings, base=str(shelf / "base.safetensors"))
    single = assemble_sd15(file, tmp_path / "b", config=shelf / "base")
    given = {"prompt": "a hat", "style": picture(1)}
    one, two = (draw(pipe, make_person(1, TINY.identity_dim), **given) for pipe in (folder, single))
    assert_alike(one, two)


def test_the_folder_says_where_its_parts_are_from(settings, tmp_path):
    assemble_sd15(replace(settings, adapter="both"), tmp_path)
    origins = read_origins(tmp_path)
    assert set(origins) == {"base", "style adapter", "face adapter", "identity encoder"}
    assert origins["face adapter"].source == "FaceID"
    assert origins["identity encoder"].licence == "none"
    assert "| style adapter | IP-Adapter |" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_weights_are_stored_in_16_bits(settings, tmp_path, kind):
    from safetensors.torch import load_file

    half = replace(settings, adapter="both", half=True, half_type=kind)
    assemble_sd15(half, tmp_path)
    weights = load_file(tmp_path / "unet/diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {getattr(torch, kind)}


def test_another_kind_of_half_is_refused(settings, tmp_path):
    with pytest.raises(BadOption, match="half_type='int8': give float16, bfloat16"):
        assemble_sd15(replace(settings, half_type="int8"), tmp_path)


MISSING = {
    "base": ("base", "Stable Diffusion 1.5 base"),
    "style_adapter": ("IP-Adapter", "style adapter"),
    "face_adapter": ("FaceID", "face adapter"),
}


@pytest.mark.parametrize("part", MISSING)
def test_a_missing_part_is_named_with_where_to_get_it(settings, tmp_path, part):
    nowhere = replace(settings, adapter="both", **{part: str(tmp_path / "nowhere")})
    with pytest.raises(MissingWeights, match=MISSING[part][1]):
        assemble_sd15(nowhere, tmp_path / "model")
    on_hub = replace(settings, adapter="both", offline=True, **{part: "some/where"})
    with pytest.raises(MissingWeights, match=r"offline") as caught:
        assemble_sd15(on_hub, tmp_path / "model")
    assert "https://huggingface.co/some/where" in str(caught.value.hint)
    assert not (tmp_path / "model").exists()


def test_a_tower_that_is_not_here_is_named(settings, tmp_path):
    with pytest.raises(MissingWeights, match="CLIP tower"):
        assemble_sd15(replace(settings, towers=("nowhere",)), tmp_path)


def test_offline_an_absent_pack_is_not_fetched(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    settings = replace(settings, adapter="both", offline=True, identity=None)
    with pytest.raises(MissingWeights, match="buffalo_l is not on this machine"):
        assemble_sd15(settings, tmp_path / "model")


def test_another_kind_of_adapter_is_refused(settings, shelf, tmp_path):
    swapped = replace(
        settings,
        adapter="ip-adapter",
        style_adapter=str(shelf / "FaceID/ip-adapter-faceid_sd15.bin"),
    )
    with pytest.raises(BadModel, match="is a face adapter; a style adapter is wanted"):
        assemble_sd15(swapped, tmp_path)


@pytest.mark.parametrize(
    ("changes", "what"), [({"in_channels": 9}, "inpainting"), ({"cross_attention_dim": 8}, "width")]
)
def test_another_kind_of_base_is_refused(settings, shelf, tmp_path, changes, what):
    from diffusers import UNet2DConditionModel

    base = make_base(TINY)
    base.save_pretrained(tmp_path / "base")
    config = dict(base.unet.config) | changes | {"_use_default_values": []}
    UNet2DConditionModel.from_config(config).save_pretrained(tmp_path / "base/unet")
    wrong = replace(settings, adapter="both", base=str(tmp_path / "base"))
    with pytest.raises(BadModel, match=what):
        assemble_sd15(wrong, tmp_path / "model")


def test_a_file_that_is_no_checkpoint_is_refused(settings, shelf, tmp_path):
    adapter = shelf / "IP-Adapter/models/ip-adapter_sd15.safetensors"
    with pytest.raises(BadModel, match=r"no Stable Diffusion 1\.5 base"):
        assemble_sd15(replace(settings, base=str(adapter)), tmp_path)


def test_an_unknown_adapter_is_refused(settings, tmp_path):
    with pytest.raises(BadOption, match="ip-adapter-faceid"):
        assemble_sd15(replace(settings, adapter="instantid"), tmp_path)
