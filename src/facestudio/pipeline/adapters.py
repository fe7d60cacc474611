"""The guidance of a run for models with public adapters: words, a style picture, faces.

Words are Stable Diffusion's own text tokens; the style picture and each face add tokens of their
own (`guidance/adapter.py`). The paper's alpha between words (0) and style picture (1) becomes:
the style's attention counts alpha, and from alpha = 0.5 on the words fade into the empty prompt.
So alpha = 0 is the base model, 0.5 is what IP-Adapter's authors advise for words with a picture,
and 1 is the picture alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from facestudio.errors import BadOption, MissingWeights
from facestudio.faces.identity import Identity
from facestudio.guidance.adapter import Adapter, AdapterGuidance, unit_length
from facestudio.guidance.attention import AddedTokens, GuidanceContext
from facestudio.guidance.hybrid import blend
from facestudio.pipeline.conditions import needs_cfg
from facestudio.pipeline.parts import Parts
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import Scene


def make_adapter_context(
    parts: Parts,
    request: Request,
    people: Sequence[Identity | None],
    scene: Scene,
    generators: Sequence[Generator],
) -> GuidanceContext:
    """The guidance of a run for one picture per generator; cfg's unconditional half comes first.

    Raises MissingWeights where the model has no adapter for what is given, BadOption for a
    background it does not know.
    """
    if request.background == "random":
        raise BadOption("background='random': give style or fixed; adapters know no random style")
    assert isinstance(parts.guidance, AdapterGuidance)
    assert request.alpha is not None
    sets = len(people) + (scene.masks is not None)  # the background's stands last
    words = read_words(parts, request, len(generators))  # (B, L, W)
    tokens = words[:, None].expand(-1, sets, -1, -1)
    added = []
    if request.alpha > 0:
        weight = request.alpha * request.style_scale
        added.append(add_style(parts, scene, words, sets, weight, needs_cfg(request)))
    if any(person is not None for person in people):
        weight = request.identity_scale
        added.append(add_faces(parts, people, words, sets, weight, needs_cfg(request)))
    masks = None if scene.masks is None else torch.from_numpy(scene.masks).to(words.device)
    return GuidanceContext(tokens, masks, added=added)


def read_words(parts: Parts, request: Request, count: int) -> Tensor:
    """Text tokens (B, L, W) of `count` pictures; with cfg the negative prompt's come first."""
    assert request.alpha is not None
    texts = [request.negative_prompt or "", "", request.prompt or ""]
    negative, nothing, prompt = parts.word_tokens(texts).to(next(parts.guidance.parameters()))
    fading = max(2 * request.alpha - 1, 0.0)
    rows = [negative, blend(nothing, prompt, fading)]
    chosen = rows if needs_cfg(request) else rows[1:]
    return torch.stack(chosen).repeat_interleave(count, 0)


def add_style(
    parts: Parts, scene: Scene, words: Tensor, sets: int, weight: float, cfg: bool
) -> AddedTokens:
    """The style picture's tokens, the same in every set."""
    adapter = parts.guidance.style
    if adapter is None or parts.image_towers is None:
        raise _no_adapter(parts, "style picture", "give words alone", "ip-adapter")
    assert scene.style is not None
    vector = parts.style_vector(scene.style, scene.shown).to(words)  # (1, style_dim)
    tokens = _project(adapter, vector, words, cfg).expand(-1, sets, -1, -1)
    return AddedTokens(tokens, (weight,) * sets, adapter.layers(parts.unet))


def add_faces(
    parts: Parts,
    people: Sequence[Identity | None],
    words: Tensor,
    sets: int,
    weight: float,
    cfg: bool,
) -> AddedTokens:
    """Each person's tokens in their set; nobody's set and the background's count nothing."""
    adapter = parts.guidance.face
    if adapter is None:
        raise _no_adapter(parts, "face", "give words or a style picture", "ip-adapter-faceid")
    nobody = np.zeros(parts.guidance.identity_dim, dtype=np.float32)
    told = [nobody if person is None else person.compared for person in people]
    told += [nobody] * (sets - len(told))
    vectors = unit_length(torch.from_numpy(np.stack(told))).to(words)  # (sets, identity_dim)
    weights = [0.0 if person is None else weight for person in people]
    weights += [0.0] * (sets - len(weights))
    return AddedTokens(_project(adapter, vectors, words, cfg), weights, adapter.layers(parts.unet))


def _project(adapter: Adapter, vectors: Tensor, words: Tensor, cfg: bool) -> Tensor:
    """Tokens (B, P, K, W) of vectors (P, dim), for as many rows as `words` has.

    The unconditional half of cfg gets what the adapter makes of zeros, as it was trained.
    """
    given = adapter(vectors)[None]  # (1, P, K, W)
    if not cfg:
        return given.expand(len(words), -1, -1, -1)
    half = len(words) // 2
    without = adapter(torch.zeros_like(vectors))[None]
    return torch.cat([without.expand(half, -1, -1, -1), given.expand(half, -1, -1, -1)])


def _no_adapter(parts: Parts, what: str, instead: str, adapter: str) -> MissingWeights:
    return MissingWeights(
        f"the model {parts.config.name!r} takes no {what}",
        hint=f"{instead}, or make a model with `facestudio init sd15 --adapter {adapter}` or both",
    )
