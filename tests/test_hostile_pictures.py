"""Whatever is sent as a picture, the loader answers with a picture or with one clear error."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from facestudio.errors import PictureError
from facestudio.images import decode_picture, read_picture
from tests.hostile_pictures import HostilePicture, make_good_files, make_hostile_pictures

NUMBER = 320  # the whole corpus has 1,000: python -m benchmarks.hostile_pictures
MAX_PIXELS = 4_000_000
MAX_GROWTH_MB = 400


@pytest.fixture(scope="module")
def corpus() -> list[HostilePicture]:
    return list(make_hostile_pictures(NUMBER))


def peak_mb() -> float:
    """The most memory that this process has had."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def answer(read, *source) -> tuple[str, tuple[int, int] | str]:
    """What reading comes to: the size of a picture, or what the error says."""
    try:
        picture = read(*source, max_pixels=MAX_PIXELS)
    except PictureError as error:
        return error.code, error.message
    assert picture.mode == "RGB"
    return "picture", picture.size


@pytest.mark.filterwarnings("ignore")  # Pillow warns of much that it can read all the same
def test_each_is_a_picture_or_a_clear_error(corpus):
    before, answers = peak_mb(), Counter()
    for hostile in corpus:
        kind, said = answer(decode_picture, hostile.data, hostile.name)
        assert kind == "picture" or hostile.name in said
        assert kind != "picture" or said[0] * said[1] <= MAX_PIXELS
        answers[kind] += 1
    assert set(answers) == {"picture", "not_a_picture", "too_large"}
    assert min(answers.values()) > 5
    assert peak_mb() - before < MAX_GROWTH_MB


@pytest.mark.filterwarnings("ignore")
def test_files_are_answered_as_bytes_are(corpus, tmp_path):
    for number, hostile in enumerate(corpus[::8]):
        path = tmp_path / f"{number}{Path(hostile.name).suffix}"
        path.write_bytes(hostile.data)
        by_bytes, by_file = answer(decode_picture, hostile.data, "a"), answer(read_picture, path)
        assert by_file[0] == by_bytes[0]


def test_good_files_are_read():
    for good in make_good_files():
        assert isinstance(decode_picture(good.data, good.name), Image.Image)
        assert decode_picture(good.data, good.name).size == (80, 48)


def test_the_corpus_is_the_same_every_time(corpus):
    assert list(make_hostile_pictures(NUMBER)) == corpus
    assert len({hostile.data for hostile in corpus}) > 0.9 * NUMBER
