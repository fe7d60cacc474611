"""Shards: written whole, read back equal, damaged ones left out and named."""

import numpy as np
import pytest

from facestudio.data.shards import PreparedSet, Sample, shard_names, write_json, write_shard
from facestudio.errors import BadModel, MissingFile
from tests.data.conftest import picture_bytes


def make_sample(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    arrays = {
        "latents": rng.standard_normal((2, 3, 3)),
        "latents_flipped": rng.standard_normal((2, 3, 3)),
        "identity": rng.standard_normal(4),
        "style": rng.standard_normal(5),
        "mask": np.zeros((3, 3)),
        "eyes": np.zeros((2, 2)),
        "box": np.zeros(4),
    }
    return Sample(arrays, picture_bytes(seed), {"key": f"k{seed}", "source": "toy"})


@pytest.fixture
def folder(tmp_path):
    write_json(tmp_path / "dataset.json", {"format": 1})
    write_shard(tmp_path, "000-00000", [make_sample(0), make_sample(1)])
    write_shard(tmp_path, "000-00001", [make_sample(2)])
    return tmp_path


def test_arrays_and_records_come_back_in_order(folder):
    data = PreparedSet([folder], ("latents", "identity"))
    assert [record["key"] for record in data.records] == ["k0", "k1", "k2"]
    wanted = make_sample(1).arrays["latents"].astype(np.float16)
    assert np.array_equal(data.arrays["latents"][1], wanted)
    assert data.arrays["identity"].shape == (3, 4)


def test_arrays_in_another_memory_order_come_back_equal(tmp_path):
    sample = make_sample(0)
    turned = np.asfortranarray(np.arange(18.0).reshape(2, 3, 3))
    write_json(tmp_path / "dataset.json", {})
    turned_sample = Sample({**sample.arrays, "latents": turned}, sample.picture, sample.record)
    write_shard(tmp_path, "a", [turned_sample, turned_sample])
    assert np.array_equal(PreparedSet([tmp_path], ("latents",)).arrays["latents"][1], turned)


def test_pictures_come_back_from_their_bytes(folder):
    data = PreparedSet([folder], ("pictures",))
    assert data.picture(2).shape == (48, 48, 3)
    assert not np.array_equal(data.picture(0), data.picture(2))


def test_sets_without_latents_are_written(tmp_path):
    sample = make_sample(0)
    bare = {k: v for k, v in sample.arrays.items() if not k.startswith("latents")}
    write_json(tmp_path / "dataset.json", {})
    write_shard(tmp_path, "a", [Sample(bare, sample.picture, sample.record)])
    assert len(PreparedSet([tmp_path], ("style",))) == 1


def test_damaged_shard_is_left_out_counted_and_named(folder):
    whole = (folder / "000-00000.safetensors").read_bytes()
    (folder / "000-00000.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="000-00000 left out"):
        data = PreparedSet([folder], ("latents",))
    assert [record["key"] for record in data.records] == ["k2"]
    assert data.damaged == [str(folder / "000-00000")]


def test_samples_with_broken_numbers_are_left_out_and_named(tmp_path):
    broken = make_sample(1)
    broken.arrays["identity"][0] = np.nan
    write_json(tmp_path / "dataset.json", {})
    write_shard(tmp_path, "a", [make_sample(0), broken, make_sample(2)])
    with pytest.warns(UserWarning, match="a: k1 left out"):
        data = PreparedSet([tmp_path], ("identity", "pictures"))
    assert [record["key"] for record in data.records] == ["k0", "k2"]
    wanted = PreparedSet([tmp_path], ("pictures",)).picture(2)
    assert np.array_equal(data.picture(1), wanted)


def test_half_written_shards_are_not_there(folder):
    (folder / "000-00002.safetensors").write_bytes(b"no records beside it")
    assert shard_names(folder) == ["000-00000", "000-00001"]


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(MissingFile, match=r"no dataset\.json"):
        PreparedSet([tmp_path], ("latents",))


def test_an_empty_set_is_refused(tmp_path):
    write_json(tmp_path / "dataset.json", {})
    with pytest.raises(BadModel, match="no samples"):
        PreparedSet([tmp_path], ("latents",))
