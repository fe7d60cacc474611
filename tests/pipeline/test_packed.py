"""Packed networks draw what the networks do, under the same names, and can be put back."""

import math

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from facestudio import FaceStudioPipeline
from facestudio.codec.kl import KLCodec
from facestudio.guidance.attention import GuidanceContext, call_unet, install_region_attention
from facestudio.pipeline.packed import can_pack, pack, share_first, unpack
from facestudio.pipeline.packed_layers import (
    Packed,
    PackedConv2d,
    PackedPointwise,
    pack_convolution,
)
from facestudio.pipeline.reuse import reuse
from facestudio.pipeline.speed import SpeedSettings
from tests.pipeline.conftest import assert_alike

BF16 = torch.bfloat16
pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="this processor has no instructions for bf16 (AVX-512)",
)


def make_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(32, 64),
        cross_attention_dim=48,
        attention_head_dim=4,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    install_region_attention(unet)
    return unet.eval().requires_grad_(False)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def predict(unet, dtype: torch.dtype, masks: torch.Tensor | None = None) -> torch.Tensor:
    context = GuidanceContext(draw(1, 2, 2, 5, 48), masks).to(dtype)
    return call_unet(unet, draw(2, 2, 4, 16, 16).to(dtype), torch.tensor(300), context).float()


def distance(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one - two).norm() / two.norm())


@pytest.mark.parametrize("by_region", [False, True])
def test_packed_is_as_near_to_fp32_as_unpacked(by_region):
    masks = None
    if by_region:
        masks = torch.zeros(1, 16, 16)
        masks[:, :, :8] = 1
    exact = predict(make_unet(), torch.float32, masks)
    plain = make_unet().to(BF16)
    rounded = distance(predict(plain, BF16, masks), exact)
    packed = distance(predict(pack(plain), BF16, masks), exact)
    assert packed < 1.5 * rounded


def test_every_convolution_and_every_transformer_is_packed():
    unet = pack(make_unet().to(BF16))
    left = [type(layer).__name__ for layer in unet.modules()]
    assert left.count("Conv2d") == 0
    assert left.count("Transformer2DModel") == 0
    assert left.count("PackedTransformer") == 4
    assert left.count("PackedPointwise") == 8 + 5  # of the transformers, and shortcuts


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_of_one_pixel_is_a_product(added, layout, bias):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(12, 20, 1, bias=bias).to(BF16)
    x, more = (draw(i, 2, c, 6, 5).to(BF16).to(memory_format=layout) for i, c in ((1, 12), (2, 20)))
    given = (x, more) if added else (x,)
    with torch.no_grad():
        exact = conv.float()(x.float()) + (more.float() if added else 0)
        packed = pack_convolution(conv.to(BF16))
        made = packed(*given)
    assert isinstance(packed, PackedPointwise)
    assert made.shape == exact.shape
    assert distance(made.float(), exact) < 2**-8


@pytest.mark.parametrize("wrong", [{"stride": 2}, {"padding": 1}, {"groups": 4}])
def test_other_convolutions_of_one_pixel_stay_convolutions(wrong):
    conv = torch.nn.Conv2d(12, 20, 1, **wrong).to(BF16)
    x = draw(1, 2, 12, 6, 5).to(BF16)
    shape = conv(x).shape
    packed = pack_convolution(conv)
    assert isinstance(packed, PackedConv2d)
    assert packed(x).shape == shape


def test_the_halves_of_cfg_share_what_comes_before_the_first_guidance():
    unet = pack(make_unet().to(BF16))
    latents = draw(2, 1, 4, 16, 16).to(BF16).expand(2, -1, -1, -1)
    context = GuidanceContext(draw(1, 2, 1, 5, 48)).to(BF16)
    apart = call_unet(unet, latents, torch.tensor(300), context)
    rows = []
    first = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    first.to_q.register_forward_hook(lambda layer, given, made: rows.append(len(made)))
    share_first(unet)
    assert torch.equal(call_unet(unet, latents, torch.tensor(300), context), apart)
    other = draw(2, 2, 4, 16, 16).to(BF16)
    call_unet(unet, other, torch.tensor(300), context)
    assert rows == [1, 2]


def test_weights_keep_their_names_and_values():
    unet = make_unet().to(BF16)
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    after = pack(unet).state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_unpacked_it_is_what_it_was():
    unet = make_unet().to(BF16)
    before, modules = predict(unet, BF16), [type(layer) for layer in unet.modules()]
    unpack(pack(pack(unet)))
    assert [type(layer) for layer in unet.modules()] == modules
    assert torch.equal(predict(unet, BF16), before)


def test_weights_are_held_once():
    unet = make_unet().to(BF16)
    kept = [layer for layer in pack(unet).modules() if isinstance(layer, PackedConv2d)]
    assert kept
    assert all(layer._plain[0].weight.numel() == 0 for layer in kept)


def test_an_autoencoder_is_packed_too():
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=[16, 32],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        norm_num_groups=4,
        sample_size=32,
    ).eval()
    codec, latents = KLCodec(vae), draw(3, 1, 4, 16, 16)
    with torch.no_grad():
        exact = codec.decode(latents)
        rounded = KLCodec(vae.to(BF16)).decode(latents)
        packed = pack(codec).decode(latents)
    left = {type(layer).__name__ for layer in codec.modules()}
    assert "PackedResnet" in left
    assert "ResnetBlock2D" not in left
    assert packed.dtype == torch.float32
    assert distance(packed, exact) < 1.5 * distance(rounded, exact)


def test_reuse_between_steps_works_on_it():
    unet = pack(make_unet().to(BF16))
    speed = SpeedSettings(deep_every=2, outer_layers=1, gate=0.5)
    reusing = reuse(unet, speed, 4)
    context = GuidanceContext(draw(1, 2, 1, 5, 48)).to(BF16)
    inputs, time = draw(2, 2, 4, 16, 16).to(BF16), torch.tensor(300)
    full = call_unet(unet, inputs, time, context)
    steps = [call_unet(reusing, inputs, time, context) for _ in range(4)]
    assert all(torch.equal(step, full) for step in steps)  # the same inputs at every step


def test_it_pays_for_bf16_on_a_processor_alone():
    unet = make_unet()
    assert not can_pack(unet)
    assert can_pack(unet.to(BF16))
    with torch.device("meta"):
        assert not can_pack(torch.nn.Linear(2, 2).to(BF16))


def test_a_pipeline_is_packed_and_put_back(tmp_path):
    pipe = FaceStudioPipeline.from_pretrained("mini", torch_dtype=BF16)
    assert pipe.packed
    say = {"seed": 3, "output_type": "np", "watermark": False, "num_inference_steps": 4}
    packed = pipe(None, "a smiling woman", **say).images[0]
    pipe.save_pretrained(tmp_path)
    again = FaceStudioPipeline.from_pretrained(tmp_path, torch_dtype=BF16)
    assert_alike(again(None, "a smiling woman", **say).images[0], packed)
    plain = pipe.to(torch.float32)(None, "a smiling woman", **say).images[0]
    assert not any(isinstance(layer, Packed) for layer in pipe.unet.modules())
    assert -10 * math.log10(float(np.mean((packed - plain) ** 2))) > 30
