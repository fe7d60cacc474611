"""What each figure shows, as rows of pictures."""

from __future__ import annotations

from PIL import Image

from facestudio.evaluation.figures_layout import Row
from facestudio.evaluation.figures_studio import MIRRORED, PHOTO, Mixed, Studio

ALPHAS = [number / 10 for number in range(11)]
SHARES = [number / 9 for number in range(10)]
COUPLES = ((0, 6), (1, 2), (3, 4))
HALVES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
STRENGTHS = (0.4, 0.55, 0.7, 0.85)
SWEPT = (6, 0, 3)
VIEWED = range(5)


def show_identity(studio: Studio) -> list[Row]:
    """Photo, without the identity, with it; a column a person."""
    people = studio.everybody
    without = [studio.draw(None, style=str(number)) for number in people]
    given = [studio.draw(number, style=str(number)) for number in people]
    return [
        Row([studio.portraits[number] for number in people], "photo"),
        Row(without, "drawn without the identity"),
        Row(given, "drawn with the identity"),
    ]


def show_views(studio: Studio) -> list[Row]:
    """Five people in two poses; the pose stands before its row."""
    photos = [studio.portraits[number] for number in VIEWED]
    rows = [Row([None, *photos], captions=["pose", *["photo"] * len(photos)])]
    for pose in (PHOTO, MIRRORED):
        drawn = [studio.draw(number, style=pose) for number in VIEWED]
        rows.append(Row([studio.styles[pose], *drawn]))
    return rows


def show_alpha(studio: Studio) -> list[Row]:
    """A photo, eleven steps from words to a style picture, the style picture; three people."""
    style = studio.settings.looks[1]
    captions = ["photo", *(f"{alpha:.1f}" for alpha in ALPHAS), "style picture"]
    label = f"from “{studio.settings.drawn_prompt}” to a style picture, alpha from 0 to 1"
    rows: list[Row] = []
    for number in SWEPT:
        drawn = [
            studio.draw(number, studio.settings.drawn_prompt, style, alpha=alpha)
            for alpha in ALPHAS
        ]
        first = not rows
        pictures = [studio.portraits[number], *drawn, studio.styles[style]]
        rows.append(Row(pictures, label if first else "", captions if first else ()))
    return rows


def show_mixing(studio: Studio) -> list[Row]:
    """One person, ten steps to another, the other; three couples, the style held in each."""
    captions = ["one", *(f"{share:.2f}" for share in SHARES), "the other"]
    rows: list[Row] = []
    for (one, other), style in zip(COUPLES, (PHOTO, *studio.settings.looks[:2]), strict=True):
        drawn = [studio.draw(Mixed(one, other, share), style=style) for share in SHARES]
        pictures = [studio.portraits[one], *drawn, studio.portraits[other]]
        rows.append(Row(pictures, captions=() if rows else captions))
    return rows


def show_couples(studio: Studio) -> list[Row]:
    """Two photos, the couple by region, the couple by plain cross-attention."""
    rows: list[Row] = []
    for one, other in COUPLES:
        pictures = [
            studio.portraits[one],
            studio.portraits[other],
            *draw_couple(studio, one, other),
        ]
        captions = ["left", "right", "attention by region", "plain cross-attention, mixed identity"]
        rows.append(Row(pictures, captions=() if rows else captions))
    return rows


def draw_couple(studio: Studio, one: int, other: int) -> list[Image.Image]:
    """Two people on a canvas of double width: by region, and as one mixed identity."""
    prompt, width = studio.settings.prompt, 2 * studio.pipe.limits.width
    return [
        studio.draw((one, other), prompt, regions=HALVES, width=width),
        studio.draw(Mixed(one, other), prompt, width=width),
    ]


def show_image_to_image(studio: Studio) -> list[Row]:
    """A photo to start from, whose face is wanted, and the results by strength."""
    captions = ["start", "face of", *(f"strength {strength:g}" for strength in STRENGTHS)]
    rows: list[Row] = []
    for start, face in COUPLES:
        drawn = [
            studio.draw(face, studio.settings.prompt, image=start, strength=strength)
            for strength in STRENGTHS
        ]
        pictures = [studio.portraits[start], studio.portraits[face], *drawn]
        rows.append(Row(pictures, captions=() if rows else captions))
    return rows


def show_styles(studio: Studio) -> list[Row]:
    """Everybody in four styles; the style picture stands before its row."""
    photos = [studio.portraits[number] for number in studio.everybody]
    rows = [Row([None, *photos], captions=["style", *["photo"] * len(photos)])]
    for look in studio.settings.looks:
        drawn = [studio.draw(number, style=look) for number in studio.everybody]
        rows.append(Row([studio.styles[look], *drawn]))
    return rows


def show_teaser(studio: Studio) -> list[Row]:
    """The first picture that a reader sees: all kinds of pictures on one sheet."""
    settings, people = studio.settings, studio.everybody
    first, last = COUPLES[0]
    looks = [
        Row([studio.draw(number, style=look) for number in people], f"style picture: {look}")
        for look in settings.looks[:2]
    ]
    words = [studio.draw(number, settings.prompt) for number in people]
    shares = [SHARES[i] for i in (0, 2, 3, 4, 5, 6, 9)][: len(people)]
    mixed = [studio.draw(Mixed(first, last, share), style=PHOTO) for share in shares]
    by_region = [draw_couple(studio, *couple)[0] for couple in COUPLES]
    return [
        Row([studio.portraits[number] for number in people], "photos"),
        *looks,
        Row(words, f"words: “{settings.prompt}”"),
        Row(mixed, "one face out of two, from the first to the last person"),
        Row(by_region, "two people on one canvas"),
    ]
