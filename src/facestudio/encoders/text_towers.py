"""Text towers: words become one vector, the outputs of several CLIP text towers side by side.

Text tower i and image tower i were trained as a pair and share a space (Radford et al., arXiv
2103.00020); the prior brings text vectors to image vectors. All towers read the same tokens. On
disk: `text_encoder_0`, `text_encoder_1`, ... and one `tokenizer`, as transformers writes them.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from facestudio.encoders.folders import load_clip, quiet_bars, read_size, tower_folders
from facestudio.encoders.vectors import to_unit_rms
from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.settings import from_dict

if TYPE_CHECKING:
    from transformers import CLIPTextModelWithProjection, PreTrainedTokenizerBase

PREFIX = "text_encoder_"
TOKENIZER = "tokenizer"
STACK = 5  # from the warning up to the caller of the towers, past torch's two call frames


class PromptWarning(UserWarning):
    """A prompt was cut, or holds words the text towers never learned."""


@dataclass(frozen=True)
class TextReport:
    """What the towers could not take of a prompt: whether it is cut, which words are unknown."""

    truncated: bool
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class TextTowerConfig:
    """Sizes of one text tower; the number of words comes from the tokenizer."""

    output_dim: int
    width: int
    layers: int
    heads: int
    context_length: int = 77
    act: str = "quick_gelu"
    kind: Literal["clip"] = "clip"

    def __post_init__(self) -> None:
        if self.kind != "clip":
            raise BadOption(f"text tower: kind must be clip, found {self.kind}")
        if self.width % self.heads:
            raise BadOption(f"text tower: heads must divide width {self.width}, found {self.heads}")


class TextTowers(nn.Module):
    """Several towers over one text: texts of a batch -> vectors (B, text_dim), RMS 1 per tower."""

    def __init__(
        self,
        networks: Sequence[CLIPTextModelWithProjection],
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        super().__init__()
        if not networks:
            raise BadOption("text towers: the list of towers is empty; give at least one")
        self.towers = nn.ModuleList(networks)
        self.tokenizer = tokenizer
        self.tower_dims = tuple(int(network.config.projection_dim) for network in networks)
        self.text_dim = sum(self.tower_dims)
        self.context_length = min(n.config.max_position_embeddings for n in networks)
        for network in networks:
            _check_vocabulary(network, tokenizer)

    @classmethod
    def from_config(
        cls,
        towers: Sequence[Mapping[str, Any] | TextTowerConfig],
        tokenizer: PreTrainedTokenizerBase,
    ) -> TextTowers:
        """Towers with fresh weights over the tokenizer's words; raises BadOption."""
        configs = [
            from_dict(TextTowerConfig, tower, "text_towers")
            if isinstance(tower, Mapping)
            else tower
            for tower in towers
        ]
        return cls([_build(config, tokenizer) for config in configs], tokenizer)

    @classmethod
    def load(cls, folder: str | Path) -> TextTowers:
        """The towers and the tokenizer of a model folder, in eval mode.

        Raises MissingWeights or BadModel.
        """
        from transformers import CLIPTextModelWithProjection

        root = Path(folder)
        tokenizer = load_tokenizer(root / TOKENIZER)
        paths = tower_folders(root, PREFIX)
        networks = [load_clip(CLIPTextModelWithProjection, path) for path in paths]
        return cls(networks, tokenizer).eval()

    @classmethod
    def measure(cls, folder: str | Path) -> int:
        """The `text_dim` of the towers in a model folder; raises MissingWeights, BadModel."""
        paths = tower_folders(Path(folder), PREFIX)
        return sum(read_size(path, "projection_dim", "CLIPTextConfig") for path in paths)

    def save(self, folder: str | Path) -> None:
        """Write `text_encoder_<n>` for each tower and `tokenizer` under `folder`."""
        root = Path(folder)
        self.tokenizer.save_pretrained(root / TOKENIZER)
        for index, network in enumerate(self.towers):
            with quiet_bars():
                network.save_pretrained(root / f"{PREFIX}{index}")  # type: ignore[operator]

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Vectors (B, text_dim); warns (PromptWarning) of cut texts and unknown words."""
        for text in texts:
            _warn(text, self.explain(text))
        return self.encode(self.tokenize(texts))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token numbers (B, L), L at most `context_length`, on the towers' device; says nothing."""
        ids = self._read(list(texts))
        return torch.tensor(ids, device=next(self.parameters()).device)

    def encode(self, tokens: Tensor) -> Tensor:
        """Vectors (B, text_dim) of token numbers (B, L)."""
        return torch.cat(self.embed_each(tokens), dim=-1)

    def embed_each(self, tokens: Tensor) -> list[Tensor]:
        """One batch of vectors (B, tower_dims[i]) of RMS 1 per tower, from token numbers (B, L)."""
        return [to_unit_rms(network(input_ids=tokens).text_embeds) for network in self.towers]

    def explain(self, text: str) -> TextReport:
        """What of `text` the towers cannot take.

        A word is unknown if a WordPiece vocabulary does not hold it whole; numbers and punctuation
        are not words. Byte-pair tokenizers (OpenAI's) were trained on words in pieces: for them
        no word is unknown.
        """
        cut = len(self._read([text], return_overflowing_tokens=True)) > 1
        return TextReport(cut, _unknown_words(text, self.tokenizer))

    def _read(self, texts: list[str], **options: bool) -> list[list[int]]:
        """Token numbers; padding and truncation never change, as threads share the tokenizer."""
        limits = {"padding": True, "truncation": True, "max_length": self.context_length}
        ids: list[list[int]] = self.tokenizer(texts, **limits, **options)["input_ids"]
        return ids


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder; raises MissingWeights or BadModel."""
    from transformers import AutoTokenizer

    if not folder.is_dir():
        raise MissingWeights(f"no {folder.name} folder in {folder.parent}", file=folder)
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise BadModel(f"{folder} is not a tokenizer: {error}", file=folder) from error


def _build(
    config: TextTowerConfig, tokenizer: PreTrainedTokenizerBase
) -> CLIPTextModelWithProjection:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    sizes = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.width * 4,
        projection_dim=config.output_dim,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=config.context_length,
        hidden_act=config.act,
        bos_token_id=_first_id(tokenizer.bos_token_id, tokenizer.cls_token_id),
        eos_token_id=_first_id(tokenizer.eos_token_id, tokenizer.sep_token_id),
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModelWithProjection(sizes)


def _first_id(*candidates: int | None) -> int:
    return next(number for number in candidates if number is not None)


def _check_vocabulary(
    network: CLIPTextModelWithProjection, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows, words = network.config.vocab_size, len(tokenizer)
    if words > rows:
        raise BadModel(f"the tokenizer has {words} tokens, a text tower only {rows}")


def _unknown_words(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    from transformers import BertTokenizer

    if not isinstance(tokenizer, BertTokenizer):
        return ()
    backend = tokenizer.backend_tokenizer
    pieces = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    vocabulary = tokenizer.get_vocab()
    words = dict.fromkeys(word for word, _ in pieces if not _is_number_or_mark(word))
    return tuple(word for word in words if word not in vocabulary)


def _is_number_or_mark(word: str) -> bool:
    """Whether every character is a digit, punctuation or an ASCII symbol such as + or $."""
    return all(
        unicodedata.category(c)[0] in "NP" or (c.isascii() and not c.isalpha()) for c in word
    )


def _warn(text: str, report: TextReport) -> None:
    start = text if len(text) <= 60 else text[:60] + "…"
    if report.unknown:
        words = ", ".join(report.unknown)
        warnings.warn(f"unknown words in {start!r}: {words}", PromptWarning, stacklevel=STACK)
    if report.truncated:
        warnings.warn(f"too long, its end is cut: {start!r}", PromptWarning, stacklevel=STACK)
