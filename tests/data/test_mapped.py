"""Mapped arrays equal read ones; rows over several arrays are one array; damage is an error."""

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from facestudio.data.mapped import Rows, map_arrays


@pytest.fixture
def path(tmp_path, rng):
    arrays = {
        "a": rng.standard_normal((3, 2, 2)).astype(np.float16),
        "b": np.arange(5, dtype=np.uint8),
        "c": rng.standard_normal((3, 4)).astype(np.float32),
        "d": np.arange(4, dtype=np.int64),
        "e": np.zeros((0, 2), np.float32),
    }
    save_file(arrays, tmp_path / "x.safetensors", {"made": "here"})
    return tmp_path / "x.safetensors"


def test_mapped_arrays_are_the_files(path):
    mapped, read = map_arrays(path), load_file(path)
    assert mapped.keys() == read.keys()
    for name, array in read.items():
        assert mapped[name].dtype == array.dtype
        assert np.array_equal(mapped[name], array)
    with pytest.raises(ValueError, match="read-only"):
        mapped["d"][0] = 1


@pytest.mark.parametrize("left", [4, 40, 150])
def test_a_file_that_is_cut_off_is_an_error(path, left):
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(SafetensorError):
        map_arrays(path)


def test_rows_of_several_arrays_are_one():
    first, second = np.arange(6).reshape(3, 2), np.arange(10, 18).reshape(4, 2)
    rows = Rows([first, second], [np.array([0, 2]), np.array([1, 3])])
    wanted = np.array([[0, 1], [4, 5], [12, 13], [16, 17]])
    assert (len(rows), rows.shape, rows.dtype) == (4, (4, 2), first.dtype)
    assert np.array_equal(np.asarray(rows), wanted)
    assert rows[2].tolist() == rows[-2].tolist() == [12, 13]
    assert np.array_equal(rows[np.array([3, 0, 3])], wanted[[3, 0, 3]])
    assert np.array_equal(rows[np.array([True, False, False, True])], wanted[[0, 3]])
    assert np.asarray(rows, np.float32).dtype == np.float32
