"""Sentences that say what a picture shows, made from labels and from a picture's own caption.

Understood labels: CelebA's 40 attribute names, UTKFace's `age` and `gender`, FS2K's `gender` and
`smile` codes, `kind` ("photo" or "drawn"), `style` (a name, a list of categories, or the words of
a drawn look as in `STYLE_WORDS`), `captions`.
What a picture does not have (no beard, no smile) is not mentioned. `PHRASES` holds all the words.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from facestudio.data.drawing import STYLE_WORDS
from facestudio.data.phrases import PHRASES

SENTENCES = 4
PHOTO_OF = "a photo of "
CODES = {"0": True, "1": False}  # FS2K: gender 0 is male, smile 0 is a smile


@dataclass
class Facts:
    """What is known of a picture, in words; `noun` is None where no person is known of."""

    noun: str | None = None
    before: list[tuple[str, ...]] = field(default_factory=list)
    features: list[tuple[str, ...]] = field(default_factory=list)
    extras: list[tuple[str, ...]] = field(default_factory=list)
    worn: list[tuple[str, ...]] = field(default_factory=list)
    smiling: bool = False
    media: tuple[str, ...] = PHRASES["medium"]["photo"]
    manners: list[str] = field(default_factory=list)
    drawn: bool = False


def caption(
    record: Mapping[str, Any],
    txt: str | None,
    rng: random.Random,
    look: str | None = None,
) -> str:
    """One sentence for a picture, phrased by chance: "a photo of a smiling woman with blond hair".

    `record` and `txt` are the picture's JSON and text; `look` names a drawn look (`drawing.STYLES`)
    that was put on it. Empty when nothing at all is known.
    """
    look = look or _look_in(record)
    own = own_sentences(record, txt)
    facts = facts_of(record, look)
    if own and (facts.noun is None or rng.random() < _share_of_own(facts)):
        return _with_look(rng.choice(own), look, rng)
    if facts.noun is None and not facts.drawn:
        return ""
    return _sentence(facts, rng)


def captions_of(
    record: Mapping[str, Any], txt: str | None, look: str | None = None, count: int = SENTENCES
) -> list[str]:
    """The picture's own sentences and up to `count` made ones, without repeats.

    The same labels give the same sentences on every machine.
    """
    look = look or _look_in(record)
    rng = random.Random(_fingerprint(record, txt, look))
    found = {_with_look(sentence, look, rng): None for sentence in own_sentences(record, txt)}
    facts = facts_of(record, look)
    if facts.noun is not None or (facts.drawn and not found):
        found.update({_sentence(facts, rng): None for _ in range(count)})
    return list(found)


def own_sentences(record: Mapping[str, Any], txt: str | None) -> list[str]:
    """Sentences the data set brings itself: `captions`, `caption` and the text file, tidied."""
    listed = record.get("captions")
    several = list(listed) if isinstance(listed, Sequence) and not isinstance(listed, str) else []
    raw = [txt, record.get("caption"), *several]
    tidied = (" ".join(text.split()).rstrip(" .") for text in raw if isinstance(text, str))
    return list(dict.fromkeys(text for text in tidied if text))


def facts_of(record: Mapping[str, Any], look: str | None = None) -> Facts:
    """What the labels in `record` say, as words; unknown labels are passed over."""
    facts = Facts()
    attributes = record.get("attributes")
    if isinstance(attributes, Sequence) and set(attributes) & set(PHRASES["celeba"]):
        _add_attributes(facts, set(attributes))
    else:
        facts.noun = _noun(record)
    if str(record.get("smile", "")) in CODES:
        facts.smiling = CODES[str(record["smile"])]
    _add_style(facts, record, look)
    return facts


def _add_attributes(facts: Facts, attributes: set[str]) -> None:
    male, young = "Male" in attributes, "Young" in attributes
    facts.noun = "man" if male else "woman"
    facts.smiling = "Smiling" in attributes
    facts.before.append(PHRASES["age"]["young" if young else "older"])
    if male and not attributes & {"No_Beard", "Goatee", "5_o_Clock_Shadow"}:
        facts.features.append(PHRASES["other"]["beard"])
    facts.features.extend(_hair(attributes))
    for name in sorted(attributes):
        for group, place in (
            ("before", facts.before), ("feature", facts.features),
            ("extra", facts.extras), ("worn", facts.worn),
        ):  # fmt: skip
            if name in PHRASES[group]:
                place.append(PHRASES[group][name])


def _hair(attributes: set[str]) -> list[tuple[str, ...]]:
    """Colour and form of the hair as one feature: "wavy brown hair"."""
    if attributes & {"Bald", "Wearing_Hat"}:
        return []
    colours = [PHRASES["hair"][name] for name in sorted(attributes) if name in PHRASES["hair"]]
    forms = [PHRASES["curl"][name] for name in sorted(attributes) if name in PHRASES["curl"]]
    if not colours:
        return [tuple(f"{form} hair" for form in forms[0])] if forms else []
    plain = tuple(f"{colour} hair" for colour in colours[0])
    curled = tuple(f"{form} {hair}" for form in (forms[0] if forms else ()) for hair in plain)
    return [plain + curled]


def _noun(record: Mapping[str, Any]) -> str | None:
    gender = str(record.get("gender", "")).lower()
    male = CODES.get(gender, {"male": True, "female": False, "m": True, "f": False}.get(gender))
    age = record.get("age")
    if isinstance(age, int | float) and not isinstance(age, bool):
        kind = {None: "person", True: "male", False: "female"}[male]
        return next(words[kind] for below, words in PHRASES["ages"] if age < below)
    if male is not None:
        return "man" if male else "woman"
    return "person" if record.get("person") else None


def _add_style(facts: Facts, record: Mapping[str, Any], look: str | None) -> None:
    style = record.get("style")
    if look is not None:
        facts.media, facts.drawn = STYLE_WORDS[look], True
    elif isinstance(style, str) and style != "photo" and record.get("kind", "drawn") != "photo":
        facts.media, facts.drawn = medium_of(style), True
    elif isinstance(style, Sequence) and not isinstance(style, str):
        media = [PHRASES["category"][name] for name in style if name in PHRASES["category"]]
        facts.media, facts.drawn = (media or [PHRASES["medium"]["portrait"]])[-1], True
        facts.manners = [name.lower() for name in style if name in PHRASES["manner"]]
        facts.noun = facts.noun or "person"


def _look_in(record: Mapping[str, Any]) -> str | None:
    """The drawn look whose words stand as the record's style."""
    style = record.get("style")
    words = tuple(style) if isinstance(style, list | tuple) else None
    return next((look for look, known in STYLE_WORDS.items() if known == words), None)


def medium_of(style: str) -> tuple[str, ...]:
    """Phrases for a style's name: of a drawn look, of a data set, or "a drawing in … style"."""
    known = STYLE_WORDS.get(style) or PHRASES["medium"].get(style)
    family = PHRASES["medium"].get(style.split()[0]) if style else None
    return known or family or (f"a picture in {style.replace('_', ' ')} style",)


def _sentence(facts: Facts, rng: random.Random) -> str:
    medium = rng.choice(facts.media)
    if facts.noun is None:
        return medium
    person = _person(facts, rng)
    forms = [f"{medium} of {person}"] * 4 + [f"{person}, {medium}"]
    if not facts.drawn:
        forms.append(person)
    manners = rng.sample(facts.manners, min(len(facts.manners), rng.randint(0, 2)))
    return ", ".join([rng.choice(forms), *manners])


def _person(facts: Facts, rng: random.Random) -> str:
    before = [rng.choice(words) for words in facts.before if rng.random() < 0.45]
    smile = rng.choice(("before", "after", "with", "")) if facts.smiling else ""
    if smile == "before":
        before.insert(0, "smiling")
    features = [rng.choice(words) for words in _pick(facts, rng)]
    if smile == "with":
        features.append(rng.choice(PHRASES["other"]["smile"]))
    worn = [rng.choice(words) for words in facts.worn if rng.random() < 0.7]
    rng.shuffle(features)
    text = with_article(" ".join([*before, str(facts.noun)]))
    text += f" with {_joined(features)}" if features else ""
    text += f" wearing {_joined(worn)}" if worn else ""
    return text + (", smiling" if smile == "after" else "")


def _pick(facts: Facts, rng: random.Random) -> list[tuple[str, ...]]:
    """Most of the features one sees at once, now and then one of the small ones."""
    first = [words for words in facts.features if rng.random() < 0.75][:3]
    return first + [words for words in facts.extras if rng.random() < 0.12][:2]


def with_article(words: str) -> str:
    """`words` with "a" or "an" before them."""
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def _joined(words: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _share_of_own(facts: Facts) -> float:
    """How often the data set's own sentence is taken: less where the labels know more."""
    return 0.3 if facts.noun in (None, "person") else 0.15


def _with_look(sentence: str, look: str | None, rng: random.Random) -> str:
    if look is None:
        return sentence
    medium = rng.choice(STYLE_WORDS[look])
    if sentence.startswith(PHOTO_OF):
        return f"{medium} of {sentence.removeprefix(PHOTO_OF)}"
    return f"{sentence}, {medium}"


def _fingerprint(record: Mapping[str, Any], txt: str | None, look: str | None) -> int:
    return zlib.crc32(json.dumps([dict(record), txt, look], sort_keys=True, default=str).encode())
