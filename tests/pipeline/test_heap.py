"""What is freed between what is in use goes back to the system."""

import ctypes
from pathlib import Path

import pytest
import torch

from facestudio import FaceStudioPipeline
from facestudio.pipeline import pipeline
from facestudio.pipeline.heap import give_back

MB = 2**20


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc"
)
def test_gaps_go_back():
    give_back()
    before = resident()
    blocks = [torch.ones(MB // 128) for _ in range(4000)]  # 32 kB each: below what is mapped alone
    full = resident()
    del blocks[::2]
    blocks[0] += 1
    give_back()
    assert full - before > 100 * MB
    assert resident() < before + 0.75 * (full - before)


@pytest.mark.parametrize("keep", [True, False])
def test_only_a_lean_pipeline_gives_back_at_each_picture(keep, monkeypatch):
    calls = []
    monkeypatch.setattr(pipeline, "give_back", lambda: calls.append(None))
    pipe = FaceStudioPipeline.from_pretrained("mini", keep_encoders=keep)
    pipe(None, prompt="a hat", num_inference_steps=1, output_type="latent")
    assert len(calls) == (0 if keep else 2)  # once read, and once drawn
