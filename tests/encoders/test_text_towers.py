"""Text towers: shapes and scale, what is unknown or cut, folders, refusals."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizer, CLIPTextModelWithProjection, CLIPTokenizer

from facestudio.encoders.presets import PAPER_TEXT_TOWERS
from facestudio.encoders.text_towers import PromptWarning, TextReport, TextTowerConfig, TextTowers
from facestudio.errors import BadModel, BadOption, MissingWeights

TEXTS = ["a man with a hat", "smiling"]


@pytest.fixture
def bpe_tokenizer() -> CLIPTokenizer:
    words = ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[("a", "b</w>")])


def test_shape_and_rms_per_tower(text_towers: TextTowers) -> None:
    vectors = text_towers(TEXTS)
    assert vectors.shape == (2, text_towers.text_dim) == (2, 20)
    for part in vectors.split(text_towers.tower_dims, dim=-1):
        torch.testing.assert_close(part.square().mean(-1), torch.ones(2))


def test_padding_changes_nothing(text_towers: TextTowers) -> None:
    alone = torch.cat([text_towers([text]) for text in TEXTS])
    torch.testing.assert_close(text_towers(TEXTS), alone, rtol=1e-4, atol=1e-5)


def test_the_vector_is_read_at_the_end_of_the_text(
    text_towers: TextTowers, tokenizer: BertTokenizer
) -> None:
    tokens = text_towers.tokenize(["a hat"])
    assert tokens[0].tolist() == tokenizer("a hat")["input_ids"]
    network = text_towers.towers[0]
    assert isinstance(network, CLIPTextModelWithProjection)
    states = network.text_model(input_ids=tokens).last_hidden_state
    expected = network.text_projection(states[:, -1])
    cosine = torch.cosine_similarity(text_towers.embed_each(tokens)[0], expected)
    torch.testing.assert_close(cosine, torch.ones(1))


def test_gradients_reach_every_used_weight(text_towers: TextTowers) -> None:
    text_towers.train().encode(text_towers.tokenize(TEXTS))[:, ::2].sum().backward()
    assert all(p.grad is not None for p in text_towers.parameters())


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("", ()),
        ("a man with 2 hats, 3/4!", ("hats",)),
        ("Pencil MAN", ()),
        ("wobbly wobbly man", ("wobbly",)),
        ("猫 + 😀", ("猫", "😀")),
        ("½ – “man”", ()),
    ],
)
def test_unknown_words(text_towers: TextTowers, text: str, unknown: tuple[str, ...]) -> None:
    assert text_towers.explain(text).unknown == unknown


@pytest.mark.parametrize(("words", "cut"), [(10, False), (11, True), (500, True)])
def test_the_context_has_room_for_ten_words(text_towers: TextTowers, words: int, cut: bool) -> None:
    text = "man " * words
    assert text_towers.explain(text).truncated is cut
    assert text_towers.tokenize([text]).shape == (1, 12)


def test_a_known_prompt_is_taken_in_silence(text_towers: TextTowers) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text_towers(TEXTS)


def test_unknown_words_are_warned_of_where_the_towers_are_called(text_towers: TextTowers) -> None:
    with pytest.warns(PromptWarning, match="wobbly") as caught:
        text_towers(["a wobbly man"])
    assert caught[0].filename == __file__


def test_a_cut_prompt_is_warned_of(text_towers: TextTowers) -> None:
    with pytest.warns(PromptWarning, match="cut"):
        text_towers(["man " * 30])


def test_training_reads_tokens_in_silence(text_towers: TextTowers) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text_towers.encode(text_towers.tokenize(["wobbly " * 30]))


def test_folders_hold_the_same_towers(text_towers: TextTowers, tmp_path: Path) -> None:
    text_towers.save(tmp_path)
    again = TextTowers.load(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "text_encoder_0",
        "text_encoder_1",
        "tokenizer",
    }
    assert not again.training
    assert torch.equal(again(TEXTS), text_towers(TEXTS))
    assert again.explain("a wobbly man") == text_towers.explain("a wobbly man")


def test_openais_tokenizer_works_and_knows_words_by_pieces(
    bpe_tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    config = TextTowerConfig(output_dim=4, width=8, layers=1, heads=2, context_length=6)
    towers = TextTowers.from_config([config], bpe_tokenizer).eval()
    assert towers.explain("ab ba") == TextReport(truncated=False, unknown=())
    vectors = towers(["ab", "ab ba"])
    torch.testing.assert_close(vectors[:1], towers(["ab"]))
    towers.save(tmp_path)
    assert torch.equal(TextTowers.load(tmp_path)(["ab", "ab ba"]), vectors)


def test_the_papers_towers_are_expressible(tokenizer: BertTokenizer) -> None:
    with torch.device("meta"):
        towers = TextTowers.from_config(PAPER_TEXT_TOWERS, tokenizer)
    assert towers.tower_dims == (768, 512, 512)
    assert towers.context_length == 77


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"heads": 3}, "heads must divide width 16, found 3"),
        ({"kind": "t5"}, "kind"),
        ({"layer": 2}, "nearest is text_towers.layers"),
    ],
)
def test_impossible_settings_are_refused(
    tokenizer: BertTokenizer, change: dict[str, object], named: str
) -> None:
    good: dict[str, object] = {"output_dim": 8, "width": 16, "layers": 1, "heads": 2}
    with pytest.raises(BadOption, match=named):
        TextTowers.from_config([good | change], tokenizer)


def test_no_towers_are_refused(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="at least one"):
        TextTowers.from_config([], tokenizer)
    with pytest.raises(MissingWeights, match="tokenizer"):
        TextTowers.load(tmp_path)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(MissingWeights, match="text_encoder_0"):
        TextTowers.load(tmp_path)


def test_an_empty_tokenizer_folder_is_refused(text_towers: TextTowers, tmp_path: Path) -> None:
    text_towers.save(tmp_path)
    for path in (tmp_path / "tokenizer").iterdir():
        path.unlink()
    with pytest.raises(BadModel, match="tokenizer"):
        TextTowers.load(tmp_path)


def test_a_tokenizer_with_more_words_than_the_towers_is_refused(
    text_towers: TextTowers, tokenizer: BertTokenizer
) -> None:
    tokenizer.add_tokens(["wobbly"])
    networks = [n for n in text_towers.towers if isinstance(n, CLIPTextModelWithProjection)]
    with pytest.raises(BadModel, match="tokens"):
        TextTowers(networks, tokenizer)
