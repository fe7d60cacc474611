"""Classifiers are fitted on prepared sets, tested on what is held out, and read back."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from facestudio.data.shards import PreparedSet
from facestudio.errors import BadOption, MissingFile
from facestudio.evaluation.classifiers import (
    AGE,
    ATTRIBUTES,
    GENDER,
    STYLE,
    Classifiers,
    choose_samples,
    fit_classifiers,
    label_of,
    measure_accuracy,
    portrait_features,
)


def test_what_can_be_told_is_told_on_held_out_pictures(classifiers):
    assert classifiers.heads[STYLE].names == ("photo", "ink")
    assert classifiers.accuracy[STYLE]["ink"].found == 1
    assert classifiers.accuracy[STYLE]["ink"].wrongly_found == 0
    assert classifiers.accuracy[STYLE]["ink"].n == 16
    assert classifiers.mean_accuracy(GENDER) > 0.9
    assert set(classifiers.right()) == {STYLE, ATTRIBUTES, GENDER, AGE}


def test_classifiers_are_read_back(classifiers, classifier_settings):
    again = Classifiers.load(classifier_settings.out)
    assert again.accuracy == classifiers.accuracy
    assert again.styles == {"photo": ("photo",), "ink": ("pen",)}
    for kind, head in classifiers.heads.items():
        assert again.heads[kind].names == head.names
        assert (again.heads[kind].weight == head.weight).all()


def test_what_was_fitted_is_written_down(classifiers, classifier_settings):
    info = json.loads((classifier_settings.out / "classifiers.json").read_text("utf-8"))
    assert info["settings"]["attributes"] == {"smiling": ["Smiling"], "woman": ["!Male"]}
    assert info["heads"][ATTRIBUTES]["accuracy"]["woman"]["n"] > 0


def test_missing_classifiers_are_named(tmp_path):
    with pytest.raises(MissingFile, match="no fitted classifiers"):
        Classifiers.load(tmp_path)


def test_nothing_held_out_is_refused(classifier_settings, seen_by_colour):
    with pytest.raises(BadOption, match="held out"):
        fit_classifiers(dataclasses.replace(classifier_settings, held_out=()))


def test_progress_counts_every_picture(classifier_settings, seen_by_colour):
    told = []
    fit_classifiers(classifier_settings, lambda *given: told.append(given))
    assert told == [(number + 1, 96) for number in range(96)]


def test_softened_pictures_are_fitted_and_tested_on_too(classifier_settings, seen_by_colour):
    told = []
    soft = dataclasses.replace(classifier_settings, softened=(0.5, 1.5))
    fitted = fit_classifiers(soft, lambda *given: told.append(given))
    assert told == [(number + 1, 192) for number in range(192)]
    assert fitted.accuracy[STYLE]["ink"].n == 32
    assert fitted.accuracy[STYLE]["ink"].found == 1


def test_no_more_pictures_than_asked_for(classifier_settings, real_set):
    records = PreparedSet([real_set], ("pictures",)).records
    few = dataclasses.replace(classifier_settings, per_style=8, portraits=12)
    chosen = choose_samples(records, few)
    assert len(chosen[STYLE]) == 2 * (8 + 2)
    assert len(chosen[ATTRIBUTES]) == 12 + 3
    assert (chosen[AGE] == choose_samples(records, few)[AGE]).all()


@pytest.mark.parametrize(
    ("kind", "record", "label"),
    [(STYLE, {"kind": "drawn", "style": "pen"}, 1), (STYLE, {"style": "oil"}, None),
     (ATTRIBUTES, {"attributes": ["Smiling"]}, [True, True]), (ATTRIBUTES, {}, None),
     (GENDER, {"attributes": ["Male"]}, 1), (GENDER, {"gender": "female"}, 0),
     (GENDER, {"gender": "1"}, None), (GENDER, {"attributes": [], "kind": "drawn"}, None),
     (AGE, {"age": 40}, 2), (AGE, {}, None)],
)  # fmt: skip
def test_label_of_a_record(classifier_settings, kind, record, label):
    assert label_of(kind, record, classifier_settings) == label


def test_accuracy_counts_both_ways():
    truth = np.array([True, True, False, False, False])
    found = np.array([True, False, True, False, False])
    accuracy = measure_accuracy(truth, found)
    assert (accuracy.found, accuracy.wrongly_found, accuracy.n) == (0.5, pytest.approx(1 / 3), 2)


def test_portraits_are_framed_by_their_eyes(seen_by_colour):
    picture = Image.new("RGB", (200, 200), "red")
    picture.paste("blue", (100, 0, 200, 200))
    eyes = np.array([[[140.0, 80.0], [160.0, 80.0]], [[np.nan] * 2] * 2])
    framed, whole = portrait_features(seen_by_colour, [picture, picture], eyes).scene
    assert framed[2].mean() > 0.95, "the frame around these eyes is all blue"
    assert whole[2].mean() == pytest.approx(0.5, abs=0.02)
