"""What outputs look like, from given sights: styles, attributes, scenes, sharpness."""

import numpy as np
import pytest
from PIL import Image

from facestudio.evaluation.appearance import (
    Seen,
    is_photographic,
    judge_quality,
    judge_sharpness,
    judge_styles,
    judge_variety,
    judge_words,
    scenes,
    see,
)
from facestudio.evaluation.features import Features
from facestudio.evaluation.outputs import SEED, WORDS, Condition
from facestudio.evaluation.real import RealPictures

PLAIN = Condition("prompt-0", "prompt", "a photo")
NOBODY = Condition("prompt-0-nobody", "prompt", "a photo", identity=False)
INK = Condition("named-ink", "prompt", "ink", look="ink")
SHOWN = Condition("shown-photo", "shown", "photo", look="photo")
SMILE = Condition("words-smiling", "prompt", "smiling", attribute="smiling", purpose=WORDS)
AGAIN = Condition("seed-1", "prompt", "a photo", purpose=SEED, noise=1)
NO_EYES = np.full((2, 2), np.nan)


def sight(n=4, styles=0, attributes=False, sharp=1.0, scene=1.0) -> Seen:
    """N outputs that look alike."""
    maps = np.full((n, 3, 4, 4), 1.0, np.float32)
    maps[:, 0] = scene
    flat = maps.reshape(n, -1)
    holds = np.broadcast_to(np.asarray(attributes), (2, n)).T
    return Seen(Features(flat, flat, flat, maps), np.broadcast_to(styles, n), holds,
                np.full(n, sharp), np.stack([NO_EYES] * n), (16, 16))  # fmt: skip


@pytest.fixture
def real(real_set, classifiers):
    return RealPictures([real_set], classifiers.styles, ("test",))


def test_see_tells_style_attributes_and_sharpness(classifiers):
    pictures = [Image.new("RGB", (32, 32), colour) for colour in ("#ebebeb", "#3c3c78")]
    found = see(classifiers, pictures, np.stack([NO_EYES, NO_EYES]))
    assert [classifiers.heads["style"].names[i] for i in found.styles] == ["ink", "photo"]
    assert found.attributes.shape == (2, 2)
    assert found.attributes[1].tolist() == [False, True]  # dark: no smile; blue: a woman
    assert found.sharpness.tolist() == [0, 0]
    assert found.picture_px == (32, 32)


def test_styles_recognised_and_what_they_were_taken_for(classifiers):
    seen = {"named-ink": sight(styles=[1, 1, 1, 0]), "shown-photo": sight(styles=0)}
    ink, photo = judge_styles([INK, SHOWN, PLAIN], seen, classifiers)
    assert (ink.by, ink.recognised.mean, ink.taken_for) == ("prompt", 0.75, {"photo": 0.25})
    assert (photo.by, photo.recognised.mean, photo.taken_for) == ("picture", 1, {})
    assert ink.on_real == 1


def test_attributes_against_the_same_peoples_plain_pictures(classifiers):
    asked = sight(attributes=[[True, True, True, False], [False] * 4])
    plain = sight(n=6, attributes=[[True, False, False, False, True, True], [False] * 6])
    (smile,) = judge_words([PLAIN, SMILE], {"prompt-0": plain, SMILE.name: asked}, classifiers)
    assert (smile.found.mean, smile.base.mean, smile.points.mean) == (0.75, 0.25, 0.5)
    assert smile.attribute == "smiling"
    assert 0 <= smile.wrongly_on_real < smile.on_real <= 1


def test_scenes_with_and_without_identity(classifiers):
    seen = {"prompt-0": sight(), "prompt-0-nobody": sight(scene=-1.0)}
    assert scenes([PLAIN, NOBODY], {**seen, "prompt-0-nobody": sight()}) == pytest.approx([1] * 4)
    assert scenes([PLAIN, NOBODY], seen) == pytest.approx([1 / 3] * 4)
    assert len(scenes([PLAIN], {"prompt-0": sight()})) == 0


def test_variety_is_between_one_persons_pictures():
    one, other = sight(n=3), sight(n=2, scene=-1.0)
    assert judge_variety([PLAIN, AGAIN], {"prompt-0": one, "seed-1": other}) == pytest.approx(2 / 3)
    assert np.isnan(judge_variety([PLAIN], {"prompt-0": one}))


def test_sharpness_is_compared_within_a_style(real):
    seen = {"prompt-0": sight(sharp=10.0), "named-ink": sight(sharp=20.0)}
    found = judge_sharpness([PLAIN, INK, NOBODY], seen, real, 8)
    assert found.keys() == {"photo", "ink"}
    assert found["ink"].outputs == 20
    assert found["ink"].ratio == pytest.approx(20 / found["ink"].real)


def test_quality_beside_real_pictures(classifiers, real):
    seen = {"prompt-0": sight(n=5), "prompt-0-nobody": sight(n=5)}
    found = judge_quality([PLAIN, NOBODY], seen, classifiers, real, 8)
    assert found.n == 5
    assert found.frechet > found.frechet_real > 0
    assert found.scene.mean == pytest.approx(1)
    assert found.sharpness_ratio == found.sharpness["photo"].ratio
    assert judge_quality([INK], {"named-ink": sight()}, classifiers, real, 8) is None


def test_what_counts_as_photographic():
    own = Condition("own-style", "own_style", "the reference photo")
    asked = [PLAIN, NOBODY, INK, SHOWN, SMILE, AGAIN, own]
    assert [each.name for each in asked if is_photographic(each)] == ["prompt-0", "shown-photo"]
