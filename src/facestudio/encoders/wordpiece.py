"""A small WordPiece vocabulary (Devlin et al., arXiv 1810.04805) built from captions.

Words seen often stand in it whole; every other word is spelled from common pieces and, at worst,
single letters, so that no word of the Latin alphabet becomes "unknown" to the tokenizer.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers
from transformers import BertTokenizer

from facestudio.errors import BadOption

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ALPHABET = string.ascii_lowercase + string.digits
PIECE_LENGTHS = range(2, 6)


def build_vocabulary(
    captions: Iterable[str],
    extra_words: Sequence[str] = (),
    *,
    size: int = 6000,
    min_count: int = 3,
    pieces: int = 600,
) -> list[str]:
    """The tokens of a vocabulary in the order of their numbers, at most `size`; the same each time.

    First the special tokens, the characters and `pieces` continuations (`##ing`), then the words
    the captions hold `min_count` times or more, most frequent first, then `extra_words` as given
    (most useful first) until it is full. Raises BadOption if `size` has no room for any word.
    """
    counts = _count_words(captions)
    extra = _count_words(extra_words)
    base = [*SPECIAL, *string.punctuation, *ALPHABET, *(f"##{c}" for c in ALPHABET)]
    base += _common_pieces({*counts, *extra}, pieces)
    if size <= len(base):
        raise BadOption(f"size must be over {len(base)} to have room for words, found {size}")
    frequent = sorted((w for w, n in counts.items() if n >= min_count), key=_by_count(counts))
    return list(dict.fromkeys([*base, *frequent, *extra]))[:size]


def make_tokenizer(vocabulary: Sequence[str], context_length: int) -> BertTokenizer:
    """A lower-casing BERT tokenizer over `vocabulary`; its `save_pretrained` writes the folder."""
    numbers = {token: number for number, token in enumerate(vocabulary)}
    return BertTokenizer(vocab=numbers, model_max_length=context_length)


def write_tokenizer(vocabulary: Sequence[str], context_length: int, folder: str | Path) -> None:
    """Write the tokenizer folder (`tokenizer.json`, `tokenizer_config.json`) of a vocabulary."""
    make_tokenizer(vocabulary, context_length).save_pretrained(folder)


def _count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs, split and lower-cased as by the tokenizer, in order of sight."""
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        pairs = splitter.pre_tokenize_str(normalizer.normalize_str(text))
        counts.update(word for word, _ in pairs if any(c.isalpha() for c in word))
    return counts


def _by_count(counts: Counter[str]) -> Callable[[str], tuple[int, str]]:
    return lambda word: (-counts[word], word)


def _common_pieces(words: Iterable[str], number: int) -> list[str]:
    """The `number` continuations that spell the most letters of the distinct words."""
    counts: Counter[str] = Counter()
    for word in words:
        counts.update(_continuations(word))
    saved = Counter({piece: n * (len(piece) - 1) for piece, n in counts.items() if n > 1})
    return [f"##{piece}" for piece in sorted(saved, key=_by_count(saved))[:number]]


def _continuations(word: str) -> Iterator[str]:
    for length in PIECE_LENGTHS:
        for start in range(1, len(word) - length + 1):
            piece = word[start : start + length]
            if all(c in ALPHABET for c in piece):
                yield piece
