"""Networks run in the type that suits the machine; what is added up stays in float32."""

import math

import numpy as np
import pytest
import torch

from facestudio import FaceStudioPipeline
from facestudio.errors import BadOption
from facestudio.pipeline import precision
from facestudio.pipeline.precision import choose_dtype, read_dtype

CPU = torch.device("cpu")


def claim(monkeypatch: pytest.MonkeyPatch, **able: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)


@pytest.mark.parametrize(
    ("able", "wanted"),
    [
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_the_processor_decides(monkeypatch, able, wanted):
    claim(monkeypatch, **able)
    assert choose_dtype(CPU) == wanted


def test_without_onednn_a_processor_computes_in_float32(monkeypatch):
    claim(monkeypatch, amx_bf16=True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert choose_dtype(CPU) == torch.float32


@pytest.mark.parametrize(("able", "wanted"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_card_computes_in_half(monkeypatch, able, wanted):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: able)
    assert choose_dtype(torch.device("cuda")) == wanted


def test_what_is_asked_for_counts(monkeypatch):
    claim(monkeypatch, amx_bf16=True)
    assert read_dtype("float32", CPU) == torch.float32
    assert read_dtype(torch.float16, CPU) == torch.float16
    assert read_dtype("auto", CPU) == read_dtype(None, CPU) == torch.bfloat16


@pytest.mark.parametrize("given", ["bf17", torch.int8])
def test_other_types_are_refused(given):
    with pytest.raises(BadOption, match="give "):
        read_dtype(given, CPU)


def test_a_card_is_chosen_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert precision.choose_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert precision.choose_device().type == "cpu"


@pytest.fixture(scope="module")
def pipes() -> dict[torch.dtype, FaceStudioPipeline]:
    types = (torch.float32, torch.bfloat16)
    return {dtype: FaceStudioPipeline.from_pretrained("mini", torch_dtype=dtype) for dtype in types}


def test_mini_in_bf16_draws_what_it_draws_in_fp32(pipes):
    exact, half = (
        pipe(None, "a smiling woman", seed=3, output_type="np", watermark=False).images[0]
        for pipe in pipes.values()
    )
    error = float(np.mean((exact - half) ** 2))
    assert -10 * math.log10(error) > 30


def test_what_is_added_up_stays_in_float32(pipes):
    pipe = pipes[torch.bfloat16]
    assert pipe.unet.dtype == torch.bfloat16
    assert {pipe.guidance.dtype, pipe.prior.dtype, pipe.codec.dtype} == {torch.float32}
    assert pipe(None, "a man", num_inference_steps=1, output_type="latent").images.dtype == (
        torch.float32
    )
