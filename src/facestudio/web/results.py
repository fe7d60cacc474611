"""The results: how far the drawing is, cards with what can be done next, a strip, a grid."""

from __future__ import annotations

from collections.abc import Sequence

from facestudio.web.markup import escape, picture_uri, png_uri, status
from facestudio.web.studio import Plan, Progress, Variant

PREVIEW_PX = 256
PREVIEW_BLUR_PX = 6  # of the first preview, which is noise; the last is sharp
WITHHELD = (
    "This picture is not shown: the content checker took it to be sexual. "
    "It may be wrong. Other words, another style or another seed may help."
)


def show_progress(progress: Progress) -> str:
    """A bar over all pictures, the number of the one being drawn, and it as it stands."""
    number = progress.number + 1
    words = f"Drawing picture {number} of {progress.total}"
    if progress.waiting:
        words = "Waiting for another drawing on this machine"
    done = (progress.number + progress.share) / progress.total
    preview = ""
    if progress.preview is not None:
        address = picture_uri(progress.preview, PREVIEW_PX)
        blur = f"filter:blur({PREVIEW_BLUR_PX * (1 - progress.share):.1f}px)"
        picture = f'<img src="{address}" alt="Preview of picture {number}" style="{blur}">'
        preview = f'<div class="preview">{picture}</div>'
    return (
        f'<div class="progress">{preview}<div>{status(words)}'
        f'<progress max="1" value="{done:.3f}" aria-label="Progress">{done:.0%}</progress>'
        "</div></div>"
    )


def show_cards(variants: Sequence[Variant]) -> str:
    """A list of finished pictures, each with likeness, seed, download and next steps."""
    cards = "".join(_card(index, variant) for index, variant in enumerate(variants))
    return f'<ul class="cards" aria-label="Portraits">{cards}</ul>' if cards else ""


def show_strip(variants: Sequence[Variant]) -> str:
    """The pictures in one row, from the first to the last."""
    cards = "".join(_card(index, variant) for index, variant in enumerate(variants))
    return f'<ul class="cards strip" aria-label="From one person to the other">{cards}</ul>'


def show_grid(
    variants: Sequence[Variant], plans: Sequence[Plan], columns: Sequence[str], rows: Sequence[str]
) -> str:
    """A table of pictures, row after row as in `plans`; those that are missing stay empty."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    drawn = {id(variant.plan): (i, variant) for i, variant in enumerate(variants)}
    body = ""
    for r, row in enumerate(rows):
        line = plans[r * len(columns) : (r + 1) * len(columns)]
        cells = "".join(_cell(drawn.get(id(plan))) for plan in line)
        body += f'<tr><th scope="row">{escape(row)}</th>{cells}</tr>'
    return (
        '<div class="grid" tabindex="0" role="region" aria-label="Comparison"><table>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def say_likeness(likeness: Sequence[float | None]) -> str:
    """Likeness in per cent, one number a person; says so where no face was found."""
    if all(value is None for value in likeness):
        return "No face to compare" if likeness else ""
    texts = ["no face" if value is None else f"{max(value, 0):.0%}" for value in likeness]
    return f"Likeness {' · '.join(texts)}"


def file_name(variant: Variant) -> str:
    """The name a download gets."""
    return f"portrait-{variant.plan.seed}.png"


def _cell(found: tuple[int, Variant] | None) -> str:
    if found is None:
        return '<td class="missing"></td>'
    index, variant = found
    if variant.withheld:
        return f"<td>{_withheld(variant)}</td>"
    return f"<td>{_figure(index, variant)}{_facts(variant)}{_download(index, variant)}</td>"


def _card(index: int, variant: Variant) -> str:
    if variant.withheld:
        return f"<li>{_withheld(variant)}</li>"
    more = _button("more", index, "More like this") + _button("style", index, "Use as style")
    return (
        f"<li>{_figure(index, variant)}{_facts(variant)}"
        f'<div class="actions">{_download(index, variant)}{more}</div></li>'
    )


def _figure(index: int, variant: Variant) -> str:
    name = escape(variant.plan.title) or f"Portrait {index + 1}"
    return f'<img src="{png_uri(variant.png)}" alt="{name}" data-file="{file_name(variant)}">'


def _facts(variant: Variant) -> str:
    title = escape(variant.plan.title)
    shown = f"<strong>{title}</strong>" if title else ""
    likeness = f'<strong class="likeness">{say_likeness(variant.likeness)}</strong>'
    return f'<p class="facts">{shown}{likeness}{_seed(variant)}</p>'


def _withheld(variant: Variant) -> str:
    return f'<p class="withheld" role="status">{WITHHELD}</p><p class="facts">{_seed(variant)}</p>'


def _seed(variant: Variant) -> str:
    return f'<span>Seed <span class="seed">{variant.plan.seed}</span></span>'


def _download(index: int, variant: Variant) -> str:
    label = f"Download, seed {variant.plan.seed}"
    facts = f'data-save data-index="{index}" aria-label="{label}"'
    return f'<button type="button" {facts}>Download</button>'


def _button(act: str, index: int, words: str) -> str:
    label = f"{words}: portrait {index + 1}"
    return (
        f'<button type="button" data-act="{act}" data-index="{index}" aria-label="{label}">'
        f"{words}</button>"
    )
