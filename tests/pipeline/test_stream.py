"""Networks read tensor by tensor are what diffusers reads; other files are left to diffusers."""

import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from facestudio.guidance.attention import install_region_attention
from facestudio.pipeline.packed import pack, packs
from facestudio.pipeline.stream import read_header, read_streamed

FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(pipe, tmp_path):
    pipe.unet.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_it_is_the_network_that_diffusers_reads(pipe, folder, dtype, stored):
    path = folder / FILE
    save_file({name: tensor.to(stored) for name, tensor in load_file(path).items()}, path)
    kind = type(pipe.unet)
    mine = read_streamed(kind, folder, dtype)
    theirs = kind.from_pretrained(folder, torch_dtype=dtype)
    assert not mine.training
    told = dict(theirs.config)
    del told["_name_or_path"]  # where diffusers read it
    assert dict(mine.config) == told
    one, two = mine.state_dict(), theirs.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in two)
    assert {tensor.dtype for tensor in one.values()} == {dtype}


@pytest.mark.skipif(not packs(torch.bfloat16), reason="this processor packs nothing")
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_packed_as_it_is_read_it_is_what_is_packed_after(pipe, folder, stored):
    path = folder / FILE
    save_file({name: tensor.to(stored) for name, tensor in load_file(path).items()}, path)
    kind = type(pipe.unet)
    mine = read_streamed(kind, folder, torch.bfloat16, packed=True)
    after = read_streamed(kind, folder, torch.bfloat16)
    install_region_attention(after)
    pack(after)
    assert [type(layer) for layer in mine.modules()] == [type(layer) for layer in after.modules()]
    one, two = mine.state_dict(), after.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize("packed", [False, True])
def test_a_network_outlives_its_file(pipe, folder, packed):
    network = read_streamed(type(pipe.unet), folder, torch.bfloat16, packed)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    path = folder / FILE
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    path.unlink()
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_nothing_is_left_empty(pipe, folder):
    network = read_streamed(type(pipe.unet), folder, torch.float32)
    tensors = [*network.parameters(), *network.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}


@pytest.mark.parametrize("change", ["name", "shape", "absent", "two files"])
def test_files_of_other_forms_are_left_to_diffusers(folder, change):
    tensors = load_file(folder / FILE)
    bias = tensors.pop("conv_in.bias")
    if change == "name":
        tensors["conv_in.old_bias"] = bias
    if change == "shape":
        tensors["conv_in.bias"] = bias[:-1].clone()
    if change == "two files":
        save_file({"conv_in.bias": bias}, folder / "more.safetensors")
    save_file(tensors, folder / FILE)
    assert read_streamed(UNet2DConditionModel, folder, torch.float32) is None


def test_a_network_with_numbers_in_no_file_is_left_to_diffusers(folder):
    class Counting(UNet2DConditionModel):
        def __init__(self, **sizes):
            super().__init__(**sizes)
            self.register_buffer("ten", torch.arange(10), persistent=False)

    assert read_streamed(Counting, folder, torch.float32) is None


def test_a_file_that_ends_early_is_refused(folder):
    path = folder / FILE
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SafetensorError, match="ends within"):
        read_streamed(UNet2DConditionModel, folder, torch.float32)


@pytest.mark.parametrize("size", [0, 2**40])
def test_a_header_of_no_sense_is_refused(tmp_path, size):
    path = tmp_path / FILE
    path.write_bytes(size.to_bytes(8, "little") + json.dumps({}).encode())
    with pytest.raises(SafetensorError, match="header"):
        read_header(path)
