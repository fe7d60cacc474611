"""What goes in and out over HTTP; the OpenAPI document is made from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from facestudio.pipeline.request import MAX_IMAGES, MAX_PX, MAX_SEED

Name = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[str, Field(max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=0, le=5)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Box = Annotated[list[Fraction], Field(min_length=4, max_length=4)]
Side = Annotated[int, Field(ge=1, le=MAX_PX)]


class Strict(BaseModel):
    """Unknown fields and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Photos(Strict):
    """Several photos of one person."""

    photos: Annotated[list[Name], Field(min_length=1, max_length=16)]


class Mix(Strict):
    """One face out of several: photos or saved people with their shares."""

    mix: Annotated[dict[Name, Share], Field(min_length=1, max_length=16)]


Person = Annotated[
    Name | Photos | Mix,
    Field(description="A sent picture by its file name, or a saved person as @name."),
]


class Generate(Strict):
    """What to draw: the arguments of `FaceStudioPipeline`, pictures by their file names.

    A name stands for a picture that is sent along, `@name` for a saved person. Nothing else is
    ever opened: no path and no address.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"identity": "anna.jpg", "prompt": "an ink drawing, smiling", "seed": 1},
                {"identity": "@anna", "style": "poster.jpg", "num_images_per_prompt": 4},
                {"identity": {"mix": {"@anna": 0.7, "@ben": 0.3}}, "prompt": "a watercolour"},
                {
                    "identity": ["@anna", "@ben"],
                    "prompt": "oil on canvas",
                    "regions": [[0, 0, 0.5, 1], [0.5, 0, 1, 1]],
                },
            ]
        }
    )

    identity: Annotated[
        Person | Annotated[list[Person], Field(min_length=1, max_length=8)] | None,
        Field(description="Who is in the picture; a list for several people, null for nobody."),
    ] = None
    prompt: Annotated[Words | None, Field(description="What the picture shows.")] = None
    negative_prompt: Annotated[Words | None, Field(description="What it must not.")] = None
    style: Annotated[Name | None, Field(description="The picture to take the look from.")] = None
    alpha: Annotated[
        Fraction | None, Field(description="From words alone (0) to style picture alone (1).")
    ] = None
    image: Annotated[Name | None, Field(description="The picture to start from.")] = None
    strength: Annotated[
        float | None, Field(gt=0, le=1, description="How far to leave `image` behind.")
    ] = None
    regions: Annotated[
        list[Box] | None,
        Field(max_length=8, description="For each person left, top, right, bottom as fractions."),
    ] = None
    background: Literal["style", "random", "fixed"] = "style"
    identity_scale: Scale = 1.0
    style_scale: Scale = 1.0
    guidance_scale: Annotated[float | None, Field(ge=0, le=50)] = None
    num_inference_steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    num_images_per_prompt: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    height: Side | None = None
    width: Side | None = None
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED)] = None
    largest: Annotated[
        bool, Field(description="Of several faces in a photo take the most central large one.")
    ] = False
    timeout_s: Annotated[
        float | None, Field(gt=0, description="Give up after this many seconds.")
    ] = None


class NewIdentity(Strict):
    """Whom the photos that are sent along show. Only with their consent."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "anna"}]})

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    largest: bool = False
    replace: Annotated[bool, Field(description="Take the place of who has this name.")] = False


class ErrorFacts(BaseModel):
    """What went wrong and what to do next."""

    code: str
    message: str
    file: str | None = None
    hint: str | None = None
    boxes: list[list[float]] | None = None


class Problem(BaseModel):
    """The body of every answer that is not a success."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "code": "no_face",
                        "message": "no face found in wall.jpg (800×600)",
                        "file": "wall.jpg",
                        "hint": "use a photo where the face looks at the camera",
                        "boxes": None,
                    }
                }
            ]
        }
    )

    error: ErrorFacts


class Picture(BaseModel):
    """One picture that was drawn."""

    url: Annotated[
        str | None,
        Field(examples=["/v1/jobs/5f1d/pictures/0"], description="None where it is withheld."),
    ]
    seed: int
    likeness: Annotated[
        list[float | None],
        Field(description="For each person: 0 as for strangers, 1 as for the same picture."),
    ]
    withheld: Annotated[
        Literal["explicit"] | None,
        Field(description="Why the picture is not shown; where none is, the job fails."),
    ] = None


class Progress(BaseModel):
    """How far a job is: its place in the queue from 1 on, then the steps that are done."""

    status: Literal["queued", "running", "done", "failed", "cancelled"]
    position: int | None = None
    step: int = 0
    steps: int | None = None


class JobFacts(BaseModel):
    """A job: what was asked, how far it is, and in the end its pictures or its error."""

    id: str
    progress: Progress
    created: Annotated[float, Field(description="Seconds since 1970, as all times here.")]
    deadline: float
    started: float | None = None
    finished: float | None = None
    asked: dict[str, Any]
    pictures: list[Picture] = []
    settings: Annotated[
        dict[str, Any] | None, Field(description="What makes the pictures again.")
    ] = None
    error: ErrorFacts | None = None


class JobList(BaseModel):
    """The jobs of an API key, the newest first."""

    jobs: list[JobFacts]


class FaceFacts(BaseModel):
    """A face in a picture, in its pixels."""

    box: Annotated[list[float], Field(description="left, top, right, bottom")]
    points: Annotated[
        list[list[float]], Field(description="left eye, right eye, nose, corners of the mouth")
    ]
    score: float
    usable: Annotated[bool, Field(description="Whether it is large enough to say who it is.")]


class FacesFound(BaseModel):
    """The faces in a picture, left to right."""

    width: int
    height: int
    faces: list[FaceFacts]


class PhotoQuality(BaseModel):
    """How well a photo showed the face."""

    face_px: float
    sharpness: float
    turn: float
    faults: list[str]


class IdentityFacts(BaseModel):
    """A saved person."""

    name: Annotated[str, Field(examples=["anna"])]
    encoder: Annotated[str, Field(examples=["facestudio-mini@1"])]
    photos: Annotated[int, Field(description="How many photos went in; none is kept.")]
    qualities: list[PhotoQuality] = []
    lowest_similarity: Annotated[
        float | None, Field(description="Of any two photos: 0 strangers, about 0.7 one person.")
    ] = None
    warnings: list[str] = []
    preview: Annotated[
        str | None, Field(description="Where a picture of them is that the model made.")
    ] = None


class IdentityList(BaseModel):
    """The saved people of an API key."""

    identities: list[IdentityFacts]


class ModelFacts(BaseModel):
    """A model that this server draws with, and what it does where nothing is asked."""

    name: Annotated[str, Field(examples=["mini"])]
    encoder: str
    takes_words: bool
    multiple: Annotated[int, Field(description="Height and width must divide by it.")]
    height: int
    width: int
    guidance_scale: float
    num_inference_steps: int
    max_steps: int


class ModelList(BaseModel):
    """What this server draws with."""

    models: list[ModelFacts]


class Health(BaseModel):
    """Whether the server can be used."""

    status: Literal["ok", "starting"]
