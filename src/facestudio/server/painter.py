"""Draws jobs with one pipeline: the part that runs in the local engine and in each replica."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from PIL import Image
from torch import Tensor

from facestudio.encoders.text_towers import PromptWarning
from facestudio.errors import FaceStudioError, PictureError
from facestudio.faces.detect import Face, find_faces
from facestudio.faces.embed import encoder_id
from facestudio.faces.identity import Identity, mix_identities
from facestudio.identities.profile import Profile, make_profile
from facestudio.images import decode_picture
from facestudio.pipeline.batch import draw_together, shape_of
from facestudio.pipeline.cores import on_all_cores
from facestudio.pipeline.embed_cache import EmbedCache
from facestudio.pipeline.output import FaceStudioOutput
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.pipeline.request import MAX_PX, Request
from facestudio.provenance.content import ContentWarning, find_checker
from facestudio.server.schemas import Mix, Photos
from facestudio.server.work import (
    SAVED,
    Drawn,
    Failed,
    ModelCard,
    Work,
    people_of,
    to_request,
    words_of,
)

OnStep = Callable[[int, int], None]


class Painter:
    """Draws with one pipeline; `on_step` of `paint` may raise to break off.

    most_px: the longest side of a picture whose size a job leaves open.
    """

    def __init__(self, pipe: FaceStudioPipeline, most_px: int = MAX_PX) -> None:
        self._pipe, self._most_px = pipe, most_px

    @classmethod
    def load(
        cls,
        model: str,
        threads: int | None = None,
        *,
        remember: bool = True,
        most_px: int = MAX_PX,
    ) -> Painter:
        """A painter with this model, and the content checker if installed. Raises ModelError.

        remember: keep in memory what the encoders made of the last pictures, until `forget`.
        """
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        for kind in (PromptWarning, ContentWarning):  # of what somebody wrote or was given
            warnings.simplefilter("ignore", kind)
        pipe = FaceStudioPipeline.from_pretrained(model)
        pipe.content_checker = find_checker()
        if not remember:
            pipe.embed_cache = EmbedCache(0)
        return cls(pipe, most_px)

    def forget(self) -> None:
        """Drop what the encoders made of the last pictures."""
        self._pipe.embed_cache.clear()

    def describe(self) -> ModelCard:
        """What the model is and what it allows."""
        pipe = self._pipe
        encoder, words = encoder_id(pipe.identity_encoder), pipe.text_towers is not None
        return ModelCard(pipe.config.name, encoder, words, pipe.limits)

    def find_faces(self, data: bytes, name: str) -> tuple[tuple[int, int], list[Face]]:
        """Width and height of a picture, and the faces in it, left to right."""
        picture = decode_picture(data, name)
        return picture.size, find_faces(picture, self._pipe.detector)

    def make_profile(self, photos: Mapping[str, bytes], largest: bool) -> Profile:
        """The person in these photos, with a preview. Raises PictureError naming the photo."""
        shown = [decode_picture(data, name) for name, data in photos.items()]
        for name, picture in zip(photos, shown, strict=True):
            with _naming(name):
                self._pipe.find_face(picture, largest=largest)
        return make_profile(self._pipe, shown, largest=largest)

    def paint(self, works: Sequence[Work], on_step: OnStep) -> Iterator[Drawn | Failed]:
        """What comes of each job, drawn together where they have one shape."""
        requests: dict[str, Request] = {}
        for work, result in zip(works, on_all_cores(self._read, works), strict=True):
            if isinstance(result, Request):
                requests[work.job_id] = result
            else:
                yield Failed(work.job_id, result)
        shapes = {shape_of(request) for request in requests.values()}
        if len(requests) > 1 and len(shapes) == 1 and None not in shapes:
            try:
                outputs = self._draw(list(requests.values()), on_step)
                yield from map(_to_drawn, requests, outputs)
                return
            except FaceStudioError:  # of one of them: each alone shows whose it is
                pass
        for job_id, request in requests.items():
            try:
                yield _to_drawn(job_id, self._draw([request], on_step)[0])
            except FaceStudioError as error:
                yield Failed(job_id, error)

    def _draw(self, requests: Sequence[Request], on_step: OnStep) -> list[FaceStudioOutput]:
        total = requests[0].num_inference_steps or 0

        def callback(
            pipe: FaceStudioPipeline, step: int, timestep: Tensor, kept: dict[str, Tensor]
        ) -> None:
            on_step(step + 1, total)

        if shape_of(requests[0]) is not None:
            return draw_together(self._pipe, requests, callback)
        return [self._pipe.run(replace(requests[0], callback_on_step_end=callback))]

    def _read(self, work: Work) -> Request | FaceStudioError:
        """The job's request with its photos turned into people, or why there is none."""
        try:
            return self._to_request(work)
        except FaceStudioError as error:
            return error

    def _to_request(self, work: Work) -> Request:
        people = [
            None if person is None else self._to_identity(person, work)
            for person in people_of(work.asked)
        ]

        def picture(name: str) -> Image.Image:
            return decode_picture(work.pictures[name], name)

        return self._pipe.settle(to_request(work.asked, people, picture), self._most_px)

    def _to_identity(self, person: str | Photos | Mix, work: Work) -> Identity:
        known = {name: self._identify_word(name, work) for name in words_of(person)}
        if isinstance(person, Mix):
            return mix_identities(list(known.values()), [person.mix[name] for name in known])
        shown = list(known.values())
        return mix_identities(shown, [1.0] * len(shown)) if len(shown) > 1 else shown[0]

    def _identify_word(self, name: str, work: Work) -> Identity:
        if name.startswith(SAVED):
            person = work.saved[name]
            person.require_encoder(encoder_id(self._pipe.identity_encoder))
            return person
        return self._identify_one(work.pictures[name], name, work.asked.largest)

    def _identify_one(self, data: bytes, name: str, largest: bool) -> Identity:
        with _naming(name):
            return self._pipe.identity(decode_picture(data, name), largest=largest)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Let errors of a picture say which it is."""
    try:
        yield
    except PictureError as error:
        error.file = name
        raise


def _to_drawn(job_id: str, output: FaceStudioOutput) -> Drawn:
    withheld = output.withheld or [False] * len(output.seeds)
    return Drawn(job_id, output.images, output.likeness, output.seeds, output.settings, withheld)
