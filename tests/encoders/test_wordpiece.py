"""The vocabulary: deterministic, whole words first by use, pieces for the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, BertTokenizer

from facestudio.encoders.wordpiece import (
    SPECIAL,
    build_vocabulary,
    make_tokenizer,
    write_tokenizer,
)
from facestudio.errors import BadOption

CAPTIONS = ["A man, smiling.", "a man with Café hair", "a man walking", "smiling and talking"]


def test_order_is_special_then_characters_then_words() -> None:
    vocabulary = build_vocabulary(CAPTIONS, ["zebra", "apple"], min_count=2)
    assert tuple(vocabulary[:5]) == SPECIAL
    assert vocabulary[-4:] == ["man", "smiling", "zebra", "apple"]
    assert "walking" not in vocabulary
    assert len(set(vocabulary)) == len(vocabulary)


def test_the_order_of_captions_does_not_matter() -> None:
    assert build_vocabulary(CAPTIONS) == build_vocabulary(CAPTIONS[::-1])


def test_size_caps_it_and_keeps_the_most_useful() -> None:
    full = build_vocabulary(CAPTIONS, ["zebra", "apple"], min_count=1)
    assert (
        build_vocabulary(CAPTIONS, ["zebra", "apple"], min_count=1, size=len(full) - 1) == full[:-1]
    )


def test_common_endings_become_pieces() -> None:
    vocabulary = build_vocabulary(["smiling walking talking"], pieces=5)
    assert "##lking" in vocabulary
    assert "##ing" in vocabulary


@pytest.mark.parametrize("word", ["xylophone", "q", "zzz9zz", "rhythm"])
def test_every_latin_word_is_spelled(word: str) -> None:
    tokenizer = make_tokenizer(build_vocabulary(CAPTIONS), 16)
    pieces = tokenizer.tokenize(word)
    assert "[UNK]" not in pieces
    assert "".join(piece.removeprefix("##") for piece in pieces) == word


def test_words_are_counted_as_the_tokenizer_reads_them() -> None:
    tokenizer = make_tokenizer(build_vocabulary(CAPTIONS, min_count=1), 16)
    assert tokenizer.tokenize("CAFÉ, Man.") == ["cafe", ",", "man", "."]


def test_the_folder_is_transformers_own_form(tmp_path: Path) -> None:
    vocabulary = build_vocabulary(CAPTIONS)
    write_tokenizer(vocabulary, 16, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(tokenizer, BertTokenizer)
    assert tokenizer.model_max_length == 16
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) == vocabulary


def test_a_size_without_room_for_words_is_refused() -> None:
    with pytest.raises(BadOption, match="found 100"):
        build_vocabulary(CAPTIONS, size=100)
