"""Pictures drawn batch by batch, each written as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facestudio.cli.console import progress_bar, waiting
from facestudio.cli.people import Mix, Placed, identify, identify_mixed, picture_paths

if TYPE_CHECKING:
    from PIL import Image

    from facestudio.pipeline.output import FaceStudioOutput
    from facestudio.pipeline.pipeline import FaceStudioPipeline

BATCH = 4  # pictures computed together; each batch is saved before the next is begun
DEFAULT_STEPS = 25  # only for the length of the bar


@dataclass(frozen=True)
class Call:
    """What one command asks for; `options` are the pipeline's own keywords, those given."""

    photos: Sequence[str]
    mixes: Sequence[Mix]
    placed: Sequence[Placed]
    options: dict[str, Any]
    count: int
    seed: int
    largest: bool

    def input_paths(self) -> list[Path]:
        """Every picture file that this call reads."""
        people = [*self.photos, *(m.photo for m in self.mixes), *(p.photo for p in self.placed)]
        pictures = [self.options[name] for name in ("style", "image") if name in self.options]
        return [*picture_paths(people), *pictures]


@dataclass
class Gallery:
    """The pictures written so far and the settings that made them."""

    outputs: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def add(self, image: Image.Image, path: Path, seed: int, likeness: Any) -> None:
        """Write one picture with its settings inside."""
        from facestudio.images import write_picture

        alone = {"num_images_per_prompt": 1, "seed": seed}
        write_picture(image, path, self.settings | alone)
        self.outputs.append({"path": str(path), "seed": seed, "likeness": likeness})

    def kept(self) -> str:
        """A sentence about what is on disk."""
        paths = ", ".join(output["path"] for output in self.outputs)
        return f"kept: {paths}" if paths else "no picture was finished, nothing was written"


def fill_gallery(
    gallery: Gallery, call: Call, paths: Sequence[Path], model: str, dtype: str = "auto"
) -> None:
    """Read the pictures (so that a wrong one is told at once), load the model, draw, write."""
    from facestudio.images import read_picture

    for path in call.input_paths():
        read_picture(path)
    with waiting(f"loading {model}"):
        from facestudio import FaceStudioPipeline

        pipe = FaceStudioPipeline.from_pretrained(model, torch_dtype=dtype)
        people = _people(pipe, call)
    for batch in _draw_batches(pipe, people, call):
        gallery.settings = batch.settings
        for image, seed, likeness in zip(batch.images, batch.seeds, batch.likeness, strict=True):
            gallery.add(image, paths[len(gallery.outputs)], seed, likeness)


def _people(pipe: FaceStudioPipeline, call: Call) -> Any:
    """One identity, several, or None, as the pipeline takes them."""
    if call.placed:
        return [identify(pipe, [p.photo], largest=call.largest) for p in call.placed]
    if call.photos:
        return identify_mixed(pipe, call.photos, call.mixes, largest=call.largest)
    return None


def _draw_batches(pipe: FaceStudioPipeline, people: Any, call: Call) -> Iterator[FaceStudioOutput]:
    """The pipeline's output, batch after batch; picture i has the seed `call.seed + i`."""
    options = dict(call.options)
    if call.placed and call.placed[0].region is not None:
        options["regions"] = [person.region for person in call.placed]
    steps = options.get("num_inference_steps", DEFAULT_STEPS)
    starts = range(0, call.count, BATCH)
    with progress_bar("drawing", steps * len(starts)) as show:
        for number, start in enumerate(starts):
            yield pipe(
                people,
                **options,
                seed=call.seed + start,
                num_images_per_prompt=min(BATCH, call.count - start),
                callback_on_step_end=_step_callback(show, number * steps),
            )


def _step_callback(show: Callable[..., None], before: int) -> Callable[..., dict[str, Any]]:
    """Diffusers' form of a callback, moving the bar on; `before` steps were taken before."""

    def on_step_end(pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        show(before + step + 1)
        return kwargs

    return on_step_end
