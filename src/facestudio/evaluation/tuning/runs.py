"""Pictures of each method and person with the seconds they took: made once, kept, taken up again.

OUT/nobody.safetensors                          the base's pictures for prior preservation
OUT/tune/inversion-1-0.05/anna-100.png          a method, references, learning rate; iterations
OUT/report/inversion-1-0.05/anna-300.png
OUT/report/style-1/anna.png                     the model itself
…/anna.json                                     the seconds of every picture beside it, last
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor

from facestudio.evaluation.outputs import claim, file_name, seed_of, weights_mark
from facestudio.evaluation.people import Person, decode
from facestudio.evaluation.settings import Half
from facestudio.evaluation.tuning.material import (
    Base,
    draw_nobody,
    encode_photos,
    imagine_styles,
    training_scheduler,
)
from facestudio.evaluation.tuning.methods import Fitted, invert, tune_network
from facestudio.evaluation.tuning.settings import (
    INVERSION,
    TUNED_METHODS,
    TableSettings,
    TunedSettings,
)
from facestudio.faces.identity import Identity
from facestudio.images import read_picture, write_bytes, write_picture
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.settings import to_dict

NOBODY = "nobody.safetensors"
UNDECIDING = (  # settings that change no picture
    "out", "n_tuning", "n_people", "references", "recogniser", "recogniser_range", "detector",
    "min_face_px", "against", "near", "false_accepts", "inversion", "dreambooth",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """One way to draw a person: a method, how many photos it is given; for a tuned one its rate.

    method: "style" (the first photo, face hidden, is the style), "words", the same two with
    "-nobody" (no identity), "inversion", "dreambooth".
    """

    method: str
    references: int
    rate: float | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        tail = "" if self.rate is None else f"-{self.rate:g}"
        return f"{self.method}-{self.references}{tail}"


@dataclass(frozen=True)
class Made:
    """A kept picture, and the seconds of getting ready for the person and of drawing."""

    path: Path
    setup_s: float
    picture_s: float

    def read(self) -> Image.Image:
        """The picture."""
        return read_picture(self.path)


@dataclass(frozen=True)
class Bench:
    """What makes the pictures: settings and a model; the base is put together on first use."""

    settings: TableSettings
    pipe: FaceStudioPipeline
    _kept: dict[str, Base]

    @classmethod
    def of(cls, settings: TableSettings, pipe: FaceStudioPipeline) -> Bench:
        """A bench over the out folder. Raises BadOption if other settings filled it."""
        claim(settings.out, deciding(settings, pipe))
        return cls(settings, pipe, {})

    @property
    def base(self) -> Base:
        """The model as the tuned methods use it."""
        if "base" not in self._kept:
            self._kept["base"] = make_base(self.settings, self.pipe, self.options)
        return self._kept["base"]

    @property
    def options(self) -> dict[str, Any]:
        """What every picture is drawn with."""
        settings = self.settings
        return {
            "num_inference_steps": settings.num_inference_steps,
            "guidance_scale": settings.guidance_scale,
        }

    def draw(self, half: Half, recipe: Recipe, person: Person) -> Made:
        """The model's own picture of a person."""
        folder = self.settings.out / half / recipe.name
        (made,) = keep(folder, person.name, [0], lambda: self._own(recipe, person))
        return made

    def tune(
        self, half: Half, recipe: Recipe, person: Person, iterations: tuple[int, ...]
    ) -> list[Made]:
        """A tuned method's pictures of a person, one after each number of iterations."""
        folder = self.settings.out / half / recipe.name
        return keep(
            folder, person.name, iterations, lambda: self._tuned(recipe, person, iterations)
        )

    def _own(self, recipe: Recipe, person: Person) -> Iterator[Drawn]:
        photos = photos_of(person, recipe.references)
        started = time.perf_counter()
        nobody = recipe.method.endswith("-nobody")
        identity = None if nobody else identify(self.pipe, photos)
        setup_s = time.perf_counter() - started
        by_style = recipe.method.startswith("style")
        asked = {"style": photos[0]} if by_style else {"prompt": self.settings.prompt}
        yield self._draw(self.pipe, identity, person, asked, 0, setup_s)

    def _tuned(
        self, recipe: Recipe, person: Person, iterations: tuple[int, ...]
    ) -> Iterator[Drawn]:
        photos, base = photos_of(person, recipe.references), self.base
        started = time.perf_counter()
        latents = encode_photos(self.pipe, photos)
        before = time.perf_counter() - started
        for fitted in self._fit(base, recipe, latents, iterations, person.name):
            asked, setup_s = {"prompt": self.settings.prompt}, before + fitted.seconds
            yield self._draw(
                fitted.pipe, fitted.identity, person, asked, fitted.iterations, setup_s
            )

    def _fit(
        self, base: Base, recipe: Recipe, latents: Tensor, iterations: tuple[int, ...], name: str
    ) -> Iterator[Fitted]:
        assert recipe.rate is not None
        generator = Generator().manual_seed(seed_of(name, self.settings.seed))
        batch = getattr(self.settings, recipe.method).batch
        tuned = TunedSettings((recipe.rate,), iterations, batch)
        if recipe.method == INVERSION:
            return invert(base, latents, tuned, recipe.rate, generator)
        weight = self.settings.prior.weight
        return tune_network(base, latents, tuned, recipe.rate, generator, weight)

    def _draw(
        self,
        pipe: FaceStudioPipeline,
        identity: Identity | None,
        person: Person,
        asked: dict[str, Any],
        iterations: int,
        setup_s: float,
    ) -> Drawn:
        started = time.perf_counter()
        seed = seed_of(person.name, self.settings.seed)
        picture = pipe(identity, **asked, **self.options, seed=seed).images[0]
        return Drawn(picture, iterations, setup_s, time.perf_counter() - started)


@dataclass(frozen=True)
class Drawn:
    """A picture just drawn."""

    picture: Image.Image
    iterations: int
    setup_s: float
    picture_s: float


def identify(pipe: FaceStudioPipeline, photos: Iterable[Image.Image]) -> Identity:
    """The identity in photos that may show bystanders too."""
    return pipe.identity(*photos, largest=True)


def photos_of(person: Person, count: int) -> list[Image.Image]:
    """A person's first photos: what a method is given."""
    return [decode(photo) for photo in person.photos[:count]]


def make_base(settings: TableSettings, pipe: FaceStudioPipeline, options: dict[str, Any]) -> Base:
    """What all tuned methods share; the pictures of nobody are drawn once and kept."""
    styles = imagine_styles(pipe, settings.prompt, settings.seed)
    path = settings.out / NOBODY
    if not path.exists():
        count = settings.prior.pictures
        latents = draw_nobody(pipe, settings.prompt, count, settings.seed, **options)
        save_file({"latents": latents.contiguous()}, path)
    nobody = load_file(path)["latents"].to(pipe.like)
    return Base(pipe, settings.prompt, training_scheduler(pipe), styles, nobody)


def keep(
    folder: Path, person: str, iterations: Iterable[int], make: Callable[[], Iterator[Drawn]]
) -> list[Made]:
    """The kept pictures of a person, in the order of the iterations; all made anew if one lacks."""
    stem, wanted = file_name(person), list(iterations)
    note = folder / f"{stem}.json"
    known = json.loads(note.read_text("utf-8")) if note.exists() else {}
    if not all(str(each) in known for each in wanted):
        folder.mkdir(parents=True, exist_ok=True)
        for drawn in make():
            write_picture(drawn.picture, _picture_path(folder, stem, drawn.iterations))
            known[str(drawn.iterations)] = {"setup_s": drawn.setup_s, "picture_s": drawn.picture_s}
        write_bytes(note, json.dumps(known, indent=1).encode())
    return [Made(_picture_path(folder, stem, each), **known[str(each)]) for each in wanted]


def _picture_path(folder: Path, stem: str, iterations: int) -> Path:
    return folder / (f"{stem}-{iterations}.png" if iterations else f"{stem}.png")


def deciding(settings: TableSettings, pipe: FaceStudioPipeline) -> dict[str, Any]:
    """What makes the pictures in the out folder what they are."""
    same = {name: value for name, value in to_dict(settings).items() if name not in UNDECIDING}
    batches = {f"{name}.batch": getattr(settings, name).batch for name in TUNED_METHODS}
    return {"weights": weights_mark(pipe), **same, **batches}
