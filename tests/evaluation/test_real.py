"""Real pictures are found by style and split, the same ones each time."""

import numpy as np
import pytest

from facestudio.errors import BadOption
from facestudio.evaluation.real import RealPictures

STYLES = {"photo": ("photo",), "ink": ("pen", "line")}


@pytest.fixture
def real(real_set):
    return RealPictures([real_set], STYLES, ("test",))


def test_only_the_splits_asked_for(real_set, real):
    everything = RealPictures([real_set], STYLES, ("test", "train"))
    assert (real.count("photo"), everything.count("photo")) == (16, 48)
    assert real.count("oil") == 0


def test_pictures_are_of_the_style(real):
    assert min(np.asarray(each).mean() for each in real.read("ink")) > 200
    assert max(np.asarray(each).mean() for each in real.read("photo")) < 200


def test_the_same_pictures_each_time(real):
    first, again = real.read("photo", 5), real.read("photo", 5)
    assert len(first) == 5
    assert first == again
    assert real.pick("photo", "anna") == real.pick("photo", "anna")
    assert len({real.pick("photo", f"p{i}").tobytes() for i in range(30)}) > 5


def test_styles_without_pictures_are_refused(real):
    with pytest.raises(BadOption, match="'oil'"):
        real.read("oil")
