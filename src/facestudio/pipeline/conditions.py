"""Embeddings become the guidance of a run: e_h, e_T, e_f -> e_g, for both halves of cfg.

Names as in the paper (FaceStudio, arXiv 2312.02663): e_h a style picture, e_T words brought into
the same space, e_f a face, e_g the guidance. Here n counts pictures and P people.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Generator, Tensor

from facestudio.errors import MissingWeights
from facestudio.faces.identity import Identity
from facestudio.guidance.attention import GuidanceContext
from facestudio.guidance.face_map import lay_out
from facestudio.guidance.hybrid import HybridGuidance, blend
from facestudio.pipeline.parts import Parts
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import Scene

CONDITION_STREAM = 0x5EED


@dataclass(frozen=True)
class Imagined:
    """e_T (n, style_dim) of a request's words and of its negative words, where it has any."""

    prompt: Tensor | None
    negative: Tensor | None


def make_context(
    parts: Parts,
    request: Request,
    people: Sequence[Identity | None],
    scene: Scene,
    generators: Sequence[Generator],
    imagined: Imagined | None = None,
) -> GuidanceContext:
    """The guidance of a run for one picture per generator; cfg's unconditional half comes first.

    imagined: what `imagine_together` gave for this request, if it was asked.
    """
    assert request.alpha is not None
    count, generators = len(generators), condition_generators(generators)
    e_f, maps = tell_people(people, parts)
    e_h = look(parts, scene, count) if request.alpha > 0 else None
    e_T = None  # noqa: N806
    if request.alpha < 1:
        e_T = imagined.prompt if imagined else imagine(parts, request.prompt, generators)  # noqa: N806
    blending = (request.alpha, request.style_scale, request.identity_scale)
    e_g = make_guidance(parts.guidance, e_h, e_T, e_f, *blending)
    if scene.masks is not None:
        background = (
            random_background(parts.guidance, generators)
            if request.background == "random"
            else make_guidance(parts.guidance, e_h, e_T, torch.zeros_like(e_f[:1]), *blending)
        )
        e_g = torch.cat([e_g, background], dim=1)
    if needs_cfg(request):
        negative = imagined.negative if imagined else imagine_negative(parts, request, generators)
        e_g = torch.cat([unconditional(parts, negative, count, e_g.shape[1]), e_g])
    masks = None if scene.masks is None else torch.from_numpy(scene.masks).to(e_g.device)
    face_map = None
    if maps is not None:
        factor = parts.codec.factor
        size = (request.frame[0] // factor, request.frame[1] // factor)
        placed = lay_out(request.identity_scale * maps, masks, size).expand(count, -1, -1, -1)
        nobody = [torch.zeros_like(placed)] if needs_cfg(request) else []
        face_map = torch.cat([*nobody, placed])
    style = request.style_scale * blend_styles(e_h, e_T, request.alpha)
    return GuidanceContext(e_g, masks, face_map, style=style)


def needs_cfg(request: Request) -> bool:
    """Whether the call asks for classifier-free guidance: a scale over 1."""
    return request.guidance_scale is not None and request.guidance_scale > 1


def condition_generators(generators: Sequence[Generator]) -> list[Generator]:
    """One generator per picture for the conditions, apart from the one of its latents.

    The latents' noise so stays the same whether or not the conditions need noise of their own,
    and a sweep over alpha changes alpha alone.
    """
    return [Generator().manual_seed(g.initial_seed() ^ CONDITION_STREAM) for g in generators]


def tell_people(people: Sequence[Identity | None], parts: Parts) -> tuple[Tensor, Tensor | None]:
    """e_f (P, identity_dim), and the face maps (P, F, cells, cells) of a model that takes them.

    Both are zero for nobody.
    """
    nobody = np.zeros(parts.identity_encoder.dimension, dtype=np.float32)
    told = np.stack([nobody if person is None else person.embedding for person in people])
    return split_embeddings(torch.from_numpy(told).to(parts.like), parts)


def split_embeddings(told: Tensor, parts: Parts) -> tuple[Tensor, Tensor | None]:
    """What of embeddings (P, dimension) the guidance takes, and what the U-Net's input takes.

    e_f (P, identity_dim), and face maps (P, F, cells, cells) or None.
    """
    e_f, rest = told.tensor_split([parts.guidance.identity_dim], dim=1)
    if not parts.map_features:
        return e_f, None
    cells = math.isqrt(rest.shape[1] // parts.map_features)
    return e_f, rest.unflatten(1, (parts.map_features, cells, cells))


def look(parts: Parts, scene: Scene, count: int) -> Tensor:
    """e_h (count, style_dim) of a scene's style picture, whose face is hidden."""
    assert scene.style is not None
    return parts.style_vector(scene.style, scene.shown).expand(count, -1)


def imagine(parts: Parts, text: str | None, generators: Sequence[Generator]) -> Tensor:
    """e_T (n, style_dim): what a picture of `text` could look like, drawn once per generator.

    Raises MissingWeights if the model takes no words.
    """
    return _imagine(parts, [text or ""] * len(generators), generators)


def imagine_negative(
    parts: Parts, request: Request, generators: Sequence[Generator]
) -> Tensor | None:
    """e_T (n, style_dim) of the request's negative words; None where it has none."""
    text = (request.negative_prompt or "").strip()
    return imagine(parts, request.negative_prompt, generators) if text else None


def imagine_together(
    parts: Parts, requests: Sequence[Request], generators: Sequence[Sequence[Generator]]
) -> list[Imagined]:
    """What each request's words could look like: one run of the prior for all of them."""
    texts: list[str] = []
    drawn_by: list[Generator] = []
    for request, own in zip(requests, generators, strict=True):
        stream = condition_generators(own)
        for text in _words_of(request):
            texts += [text or ""] * (0 if text is None else len(stream))
            drawn_by += [] if text is None else stream
    rows = iter(_imagine(parts, texts, drawn_by).split(1)) if texts else iter(())
    return [
        Imagined(*(_take(rows, text, len(own)) for text in _words_of(request)))
        for request, own in zip(requests, generators, strict=True)
    ]


def _words_of(request: Request) -> tuple[str | None, str | None]:
    """The words and the negative words that count in a request, None where none do."""
    assert request.alpha is not None
    negative = (request.negative_prompt or "").strip() and needs_cfg(request)
    return (
        (request.prompt or "") if request.alpha < 1 else None,
        request.negative_prompt if negative else None,
    )


def _take(rows: Iterator[Tensor], text: str | None, count: int) -> Tensor | None:
    return None if text is None else torch.cat(list(islice(rows, count)))


def _imagine(parts: Parts, texts: Sequence[str], generators: Sequence[Generator]) -> Tensor:
    """e_T (n, style_dim) of n texts; each text is read once, however often it stands there."""
    if parts.text_towers is None or parts.prior is None:
        raise MissingWeights(
            f"the model {parts.config.name!r} takes no words: it has no text towers and no prior",
            hint="give a style picture and no prompt, or use another model",
        )
    known = {text: parts.text_towers([text]) for text in dict.fromkeys(texts)}
    words = torch.cat([known[text] for text in texts])
    config = parts.config
    return parts.prior.sample(
        words,
        steps=config.prior_steps,
        generator=list(generators),
        guidance=config.prior_guidance,
    )


def join(
    guidance: HybridGuidance,
    style: Tensor,
    faces: Tensor,
    style_scale: float = 1.0,
    identity_scale: float = 1.0,
) -> Tensor:
    """Tokens (n, P, K, W) of styles (n, style_dim), each with every face (P, identity_dim)."""
    count, people = len(style), len(faces)
    weight = guidance.join.weight
    styles = style.to(weight).repeat_interleave(people, 0)  # (n * P, style_dim)
    tokens = guidance(styles, faces.to(weight).repeat(count, 1), style_scale, identity_scale)
    return tokens.unflatten(0, (count, people))


def make_guidance(
    guidance: HybridGuidance,
    e_h: Tensor | None,
    e_T: Tensor | None,  # noqa: N803
    e_f: Tensor,
    alpha: float,
    style_scale: float = 1.0,
    identity_scale: float = 1.0,
) -> Tensor:
    """e_g = alpha e_i + (1 - alpha) e_p: tokens (n, P, K, W); a branch of weight 0 may be None.

    e_h, e_T: (n, style_dim); e_f: (P, identity_dim).
    """
    if e_h is not None and e_T is not None:
        e_i = join(guidance, e_h, e_f, style_scale, identity_scale)
        e_p = join(guidance, e_T, e_f, style_scale, identity_scale)
        return blend(e_i, e_p, alpha)
    style = blend_styles(e_h, e_T, alpha)
    return join(guidance, style, e_f, style_scale, identity_scale)


def blend_styles(e_h: Tensor | None, e_T: Tensor | None, alpha: float) -> Tensor:  # noqa: N803
    """The style (n, style_dim) that a picture is drawn in: alpha e_h + (1 - alpha) e_T."""
    if e_h is not None and e_T is not None:
        return blend(e_h, e_T, alpha)
    style = e_T if e_h is None else e_h
    assert style is not None, "one branch at least"
    return style


def random_background(guidance: HybridGuidance, generators: Sequence[Generator]) -> Tensor:
    """Tokens (n, 1, K, W) of a style chosen at random without a face (the paper's choice)."""
    drawn = torch.cat([torch.randn(1, guidance.style_dim, generator=g) for g in generators])
    return join(guidance, drawn, torch.zeros(1, guidance.identity_dim))


def unconditional(parts: Parts, negative: Tensor | None, count: int, sets: int) -> Tensor:
    """What cfg moves away from, tokens (count, sets, K, W): nothing given, or `negative` words.

    negative: e_T (count, style_dim).
    """
    style = torch.zeros(count, parts.guidance.style_dim) if negative is None else negative
    nobody = torch.zeros(1, parts.guidance.identity_dim)
    return join(parts.guidance, style, nobody).expand(-1, sets, -1, -1)
