"""Batches are functions of the step; their parts make the whole, however many share it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facestudio.training.batches import batch_rng, part_of


def test_batches_depend_on_seed_step_and_micro_batch_alone():
    same = [batch_rng(1, 2, 0).random() for _ in range(2)]
    assert same[0] == same[1]
    others = {batch_rng(*numbers).random() for numbers in [(1, 2, 0), (1, 3, 0), (1, 2, 1)]}
    assert len(others) == 3


def test_parts_put_together_are_the_batch():
    batch = {"x": torch.arange(12.0).view(6, 2), "y": torch.arange(6)}
    parts = [part_of(batch, process, 3) for process in range(3)]
    for name, whole in batch.items():
        assert torch.equal(torch.cat([part.tensors[name] for part in parts]), whole)
    assert [part.weight for part in parts] == [1, 1, 1]


@given(st.integers(1, 20), st.integers(1, 6))
def test_weighted_means_of_the_parts_have_the_mean_of_the_batch(size, processes):
    batch = {"x": torch.arange(float(size)) ** 2}
    parts = [part_of(batch, process, processes) for process in range(processes)]
    mean = sum(part.tensors["x"].mean() * part.weight for part in parts) / processes
    assert float(mean) == pytest.approx(float(batch["x"].mean()), rel=1e-5)


def test_a_process_without_rows_keeps_company_and_counts_nothing():
    part = part_of({"x": torch.tensor([5.0])}, 0, 2)
    assert part.tensors["x"].tolist() == [5.0]
    assert part.weight == 0
