"""Sentences say what the labels say, no more, and the same every time."""

import json
import random

import pytest

from facestudio.data.captions import (
    caption,
    captions_of,
    facts_of,
    medium_of,
    own_sentences,
    with_article,
)
from facestudio.data.drawing import STYLE_WORDS
from facestudio.data.phrases import PHRASES

WOMAN = {"attributes": ["Blond_Hair", "Smiling", "Eyeglasses", "No_Beard", "Wavy_Hair", "Young"]}
MAN = {"attributes": ["Male", "Black_Hair", "Mustache", "Wearing_Hat"]}


def many(record, txt=None, look=None, count=300) -> set[str]:
    rng = random.Random(0)
    return {caption(record, txt, rng, look) for _ in range(count)}


def test_celeba_attributes_become_a_person():
    said = many(WOMAN)
    assert all("woman" in text for text in said)
    for words in ("smil", "glasses", "blond", "wavy"):
        assert any(words in text for text in said), words
    assert any(text.startswith("a photo of a") for text in said)
    assert len(said) > 100


def test_what_is_not_there_is_not_mentioned():
    assert not any("beard" in text for text in many(WOMAN))
    assert any("beard" in text for text in many(MAN))
    assert not any("smil" in text for text in many(MAN))
    assert not any("hair" in text for text in many(MAN)), "a hat hides it"


def test_man_and_woman_are_not_mixed_up():
    assert all(" man" in f" {text}" and "woman" not in text for text in many(MAN))


def test_every_celeba_name_can_be_said_or_is_known_to_be_left_out():
    unsaid = {"Blurry", "Male", "No_Beard", "Smiling", "Young"}
    said = {name for group in ("before", "feature", "extra", "worn", "hair", "curl")
            for name in PHRASES[group]}  # fmt: skip
    assert len(said | unsaid) == 40
    assert said | unsaid == PHRASES["celeba"]


@pytest.mark.parametrize(
    ("age", "gender", "noun"),
    [(1, "male", "baby boy"), (8, "female", "girl"), (16, "male", "teenage boy"),
     (25, "female", "young woman"), (45, "male", "middle-aged man"), (80, "female", "old woman")],
)  # fmt: skip
def test_age_and_gender_choose_the_noun(age, gender, noun):
    assert facts_of({"age": age, "gender": gender}).noun == noun
    assert all(noun in text for text in many({"age": age, "gender": gender}))


def test_sketch_codes_are_read():
    woman = {"person": "x", "gender": "1", "smile": "0", "kind": "drawn", "style": "sketch 2"}
    man = {"person": "y", "gender": "0", "smile": "1", "kind": "photo", "style": "sketch 2"}
    assert facts_of(woman).smiling
    assert all("woman" in text for text in many(woman))
    assert any("sketch" in text for text in many(woman))
    assert not facts_of(man).smiling
    assert not any("sketch" in text or "drawing" in text for text in many(man)), "it is the photo"


def test_drawn_pictures_always_name_their_style():
    record = {"person": "x", "kind": "drawn", "style": "caricature"}
    assert all("caricature" in text for text in many(record))
    assert all("photo" not in text for text in many(record))


def test_artists_categories_become_medium_and_manner():
    said = many({"style": ["Painting", "Oil", "Surrealism", "Italy"]})
    assert all("oil" in text for text in said)
    assert any("surrealism" in text for text in said)
    assert not any("italy" in text.lower() for text in said)
    assert all(text.startswith("a portrait") or "a portrait" in text
               for text in many({"style": ["Italy"]}))  # fmt: skip


@pytest.mark.parametrize("look", STYLE_WORDS)
def test_looks_are_named_by_their_words(look):
    for text in [*captions_of(WOMAN, None, look), *many(WOMAN, look=look, count=20)]:
        assert any(words in text for words in STYLE_WORDS[look]), text


def test_words_of_a_look_as_style_are_that_look():
    record = {**MAN, "kind": "drawn", "style": list(STYLE_WORDS["oil"])}
    said = captions_of(record, "a photo of a man in a hat")
    assert any(text.endswith("of a man in a hat") for text in said)
    assert all(any(words in text for words in STYLE_WORDS["oil"]) for text in said)


def test_own_sentences_are_tidied_and_not_repeated():
    record = {"captions": ["A dog runs .", "A  dog\nruns", 3], "caption": "a dog"}
    assert own_sentences(record, " A dog runs . ") == ["A dog runs", "a dog"]
    assert captions_of({}, "a dog.") == ["a dog"]
    assert caption({}, "a dog.", random.Random(0)) == "a dog"


def test_own_sentences_go_along_with_made_ones():
    record = {"person": "x", "gender": "1", "kind": "drawn", "style": "pencil"}
    said = captions_of(record, "a grey pencil drawing of a person")
    assert said[0] == "a grey pencil drawing of a person"
    assert any("woman" in text for text in said)
    assert len(said) == len(set(said))


def test_a_look_replaces_the_photo_in_an_own_sentence():
    assert captions_of({}, "a photo of a piano", "ink")[0].endswith(" of a piano")
    assert "photo" not in captions_of({}, "a photo of a piano", "ink")[0]
    assert captions_of({}, "two dogs run", "ink")[0].startswith("two dogs run, ")


def test_nothing_known_says_nothing():
    assert caption({}, None, random.Random(0)) == ""
    assert captions_of({"width": 3}, "  ") == []


def test_same_labels_give_the_same_sentences():
    turned = json.loads(json.dumps(WOMAN))
    assert captions_of(WOMAN, None) == captions_of(turned, None)
    one, two = random.Random(5), random.Random(5)
    assert [caption(MAN, None, one) for _ in range(9)] == [
        caption(MAN, None, two) for _ in range(9)
    ]


@pytest.mark.parametrize("record", [WOMAN, MAN, {"age": 30, "gender": "male"}, {"person": "x"}])
def test_sentences_are_well_formed(record):
    for text in many(record):
        assert text == text.strip()
        assert "  " not in text
        assert " ," not in text
        assert " a a" not in f" {text}"
        assert "and and" not in text


@pytest.mark.parametrize("odd", [{"gender": None, "age": "old"}, {"style": 3}, {"attributes": "x"},
                                 {"attributes": ["Unheard_Of"]}, {"smile": "perhaps"}])  # fmt: skip
def test_odd_labels_are_passed_over(odd):
    assert captions_of(odd, None) == []


def test_articles():
    assert with_article("old man") == "an old man"
    assert with_article("young man") == "a young man"


def test_unknown_styles_are_named_as_they_are():
    assert medium_of("avatar unknown") == PHRASES["medium"]["avatar"]
    assert medium_of("neon_glow") == ("a picture in neon glow style",)
