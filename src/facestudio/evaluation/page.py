"""The report as a page to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from facestudio.evaluation.bars import BARS, Bar
from facestudio.evaluation.tables import markdown_table, number, share, show

if TYPE_CHECKING:
    from facestudio.evaluation.report import ConditionResult, Report


def page_of(report: Report) -> str:
    """Markdown: what was asked, the bars, the tables, how to read them."""
    parts = (_head, _bars, _likeness, _averages, _groups, _styles, _words, _quality, _pairs, _notes)
    return "\n".join(line for part in parts for line in part(report)) + "\n"


def _head(report: Report) -> Iterator[str]:
    people = report.people
    yield f"# {report.settings['model']} on {Path(report.settings['people']).name}"
    yield ""
    yield (
        f"{people.evaluated} people evaluated of {people.read} ({report.settings['half']} half): "
        f"{people.without_face} left out without a face found in a photo, "
        f"{people.near_training} too like somebody in the training data."
    )
    if people.gallery:
        yield f"Outputs are looked for among the photos of {people.gallery} people."
    yield f"Likeness by {report.recogniser or report.encoder}" + (
        "." if report.recogniser else ", the model's own encoder: it flatters the model."
    )
    yield ""


def _bars(report: Report) -> Iterator[str]:
    rows = [
        (bar.what, number(value), _wanted(bar), {True: "yes", False: "no", None: ""}[ok])
        for bar in BARS
        for value in [report.bars[bar.key]]
        for ok in [bar.reached(value)]
    ]
    yield from ("## Bars", "")
    yield from markdown_table(("what", "found", "wanted", "reached"), rows)
    if report.speed is not None:
        speed = report.speed
        yield ""
        yield (
            f"Warm seconds: the median of {speed.pictures} pictures on {speed.threads} threads, "
            f"{speed.device}. They depend on the machine and on what else runs on it."
        )
    yield ""


def _wanted(bar: Bar) -> str:
    aim = "" if bar.aim is None else f", aim {bar.aim:g}"
    return f"{'under' if bar.lower else 'at least'} {bar.least:g}{aim}"


def _likeness(report: Report) -> Iterator[str]:
    real = report.real[report.trusted]
    rows: list[tuple[str, ...]] = [(
        "**two real photos**", "", "", show(real.same), show(real.same), share(real.rank1),
        share(real.verified), show(real.beyond), "", show(report.real["own"].same),
    )]  # fmt: skip
    rows += [_condition(result) for result in report.conditions]
    low, own_low = f"{real.strangers:.3f}", f"{report.real['own'].strangers:.3f}"
    rows.append(("**two strangers**", "", "", low, low, "", "", "", "", own_low))
    head = (
        "what", "people", "with face", "reference", "other photo", "rank-1 (other)",
        "verified (other)", "reference beyond other", "copy-paste", "own encoder (reference)",
    )  # fmt: skip
    yield from ("## Likeness", "")
    yield from markdown_table(head, rows)
    yield from ("", "![likeness](plots/likeness.png)", "")


def _condition(result: ConditionResult) -> tuple[str, ...]:
    likeness = result.independent or result.own
    kind = {"shown": "style picture: "}.get(result.kind, "")
    name = f"{kind}{result.what}{'' if result.identity else ', without identity'}"
    return (
        name, str(result.with_face.n), share(result.with_face), show(likeness.reference),
        show(likeness.other), share(likeness.rank1_other), share(likeness.verified_other),
        show(likeness.beyond), show(likeness.copy_paste), show(result.own.reference),
    )  # fmt: skip


def _averages(report: Report) -> Iterator[str]:
    if not report.averages:
        return
    head = (
        "average over", "conditions", "with face", "reference", "other photo",
        "rank-1 (reference)", "rank-1 (other)", "own encoder (reference)",
    )  # fmt: skip
    rows = [
        (name.replace("_", " "), str(each.conditions), share(each.with_face), show(each.reference),
         show(each.other), share(each.rank1_reference), share(each.rank1_other),
         show(each.own_reference))
        for name, each in report.averages.items()
    ]  # fmt: skip
    yield from markdown_table(head, rows)
    yield ""


def _groups(report: Report) -> Iterator[str]:
    if not report.groups:
        return
    rows = [
        (group, str(found.with_face.n), share(found.with_face), show(found.reference),
         show(found.other), show(found.real_pairs))
        for group, found in report.groups.items()
    ]  # fmt: skip
    yield from ("## Groups", "")
    head = ("group", "people", "with face", "reference", "other photo", "two real photos")
    yield from markdown_table(head, rows)
    yield ""
    if report.worst_group:
        yield (
            f"Photographic conditions. Lowest of the groups with {report.settings['min_group']} "
            f"people or more: {report.worst_group}, {number(report.worst_group_ratio)} of the mean."
        )
    if any(name.startswith("apparent") for name in report.groups):
        yield (
            "Apparent: read from the reference photo, not labelled: gender and age by classifiers "
            f"that are right in {_percent(report, 'gender')} and {_percent(report, 'age')} of real "
            "photos (mean over the classes), skin by the colour of the cheeks, which the light "
            "changes."
        )
    yield ""


def _percent(report: Report, kind: str) -> str:
    known = report.classifiers.get(kind)
    return "an unknown share" if known is None else f"{100 * known:.0f} %"


def _styles(report: Report) -> Iterator[str]:
    if not report.styles:
        return
    rows = [
        (each.style, each.by, str(each.recognised.n), share(each.recognised),
         ", ".join(f"{name} {100 * part:.0f} %" for name, part in each.taken_for.items()),
         f"{100 * each.on_real:.0f} %")
        for each in report.styles
    ]  # fmt: skip
    yield from ("## Style", "")
    head = ("style", "asked for by", "people", "recognised", "else taken for", "on real pictures")
    yield from markdown_table(head, rows)
    yield from ("", "On real pictures: the classifier's own share of right answers, held out.", "")


def _words(report: Report) -> Iterator[str]:
    if not report.words:
        return
    rows = [
        (each.prompt, each.attribute, str(each.found.n), share(each.found), share(each.base),
         f"{100 * each.points.mean:+.0f} ({100 * each.points.low:+.0f} to "
         f"{100 * each.points.high:+.0f})",
         f"{100 * each.on_real:.0f} % / {100 * each.wrongly_on_real:.0f} %")
        for each in report.words
    ]  # fmt: skip
    yield from ("## Words", "")
    head = (
        "prompt", "attribute", "people", "found", "without being asked for", "points",
        "real pictures: found with / without it",
    )  # fmt: skip
    yield from markdown_table(head, rows)
    yield ""


def _quality(report: Report) -> Iterator[str]:
    found = report.quality
    if found is None:
        return
    yield from ("## Quality and variety", "")
    rows = [
        ("Fréchet distance to real photos", number(found.frechet), number(found.frechet_real)),
        ("variety over seeds, over that of real photos", number(found.variety), "1"),
        ("scene kept when the identity is left out", show(found.scene),
         f"{found.scene_strangers:.3f} between people"),
        *((f"sharpness, {style}", number(each.outputs), number(each.real))
          for style, each in found.sharpness.items()),
    ]  # fmt: skip
    yield from markdown_table(("what", "outputs", "real, or floor"), rows)
    yield ""
    yield (
        f"Fréchet distance of {found.n} photographic outputs, and of as many other real photos, by "
        "EfficientNet-Lite0's features: it depends on the number of pictures. Sharpness: variance "
        "of the Laplacian at 128 px. Scene: cosine of feature maps outside the face."
    )
    yield ""


def _pairs(report: Report) -> Iterator[str]:
    found = report.pairs
    if found is None:
        return
    rows = [
        ("pictures", str(found.both.n)), ("two faces found", share(found.with_faces)),
        ("each nearest to the own reference", share(found.both)),
        ("face by face", share(found.each)),
        ("likeness to the own reference", show(found.reference)),
        ("likeness to the other person's", show(found.other_person)),
    ]  # fmt: skip
    yield from ("## Two people", "")
    yield from markdown_table(("what", "found"), rows)
    yield ""


def _notes(report: Report) -> Iterator[str]:
    real = report.real[report.trusted]
    yield (
        "Intervals are 95 %, by bootstrap over the people. An output without a face counts as "
        "likeness 0, not recognised and not verified. Verified: at or over "
        f"{real.strangers_high:.3f}, which strangers' photos reach in "
        f"{report.settings['false_accepts']:g} of the pairs. Reference beyond other: likeness to "
        "the reference less that to the other photo; for real photos, of a third photo. "
        "Copy-paste: 1 is as near to the reference as can be, 0 as near to it as to the other "
        "photo, over outputs with a face."
    )
