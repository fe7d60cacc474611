"""The nodes: load a model, see who someone is, mix two faces, draw, keep a person under a name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from facestudio.comfy.pictures import to_image, to_pil, to_regions
from facestudio.comfy.progress import report_steps
from facestudio.identities.store import IdentityStore

if TYPE_CHECKING:
    from torch import Tensor

    from facestudio.faces.identity import Identity
    from facestudio.pipeline.pipeline import FaceStudioPipeline

CATEGORY = "FaceStudio"
MODEL, IDENTITY = "FACESTUDIO_MODEL", "FACESTUDIO_IDENTITY"
PEOPLE = ("identity", "identity_2", "identity_3")
MAX_SEED = 2**32 - 1
Inputs = dict[str, dict[str, Any]]


def _number(default: float, low: float, high: float, step: float = 0.05) -> tuple[str, Any]:
    return "FLOAT", {"default": default, "min": low, "max": high, "step": step}


def _whole(default: int, low: int, high: int, step: int = 1) -> tuple[str, Any]:
    return "INT", {"default": default, "min": low, "max": high, "step": step}


class LoadModel:
    """A model by name, folder or hub name."""

    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    FUNCTION, CATEGORY = "load", CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes, in ComfyUI's form."""
        return {
            "required": {
                "name": ("STRING", {"default": "mini"}),
                "precision": (["auto", "float32", "float16", "bfloat16"],),
                "device": (["auto", "cpu", "cuda"],),
            }
        }

    def load(self, name: str, precision: str, device: str) -> tuple[FaceStudioPipeline]:
        """The pipeline on its device; raises ModelError."""
        from facestudio.pipeline.pipeline import FaceStudioPipeline

        place = None if device == "auto" else device
        return (FaceStudioPipeline.from_pretrained(name, torch_dtype=precision, device=place),)


class ReadIdentity:
    """Who someone is, from one or several photos of them."""

    RETURN_TYPES = (IDENTITY,)
    RETURN_NAMES = ("identity",)
    FUNCTION, CATEGORY = "read", CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes, in ComfyUI's form."""
        return {
            "required": {
                "model": (MODEL,),
                "photos": ("IMAGE",),
                "largest": ("BOOLEAN", {"default": False}),
            }
        }

    def read(self, model: FaceStudioPipeline, photos: Tensor, largest: bool) -> tuple[Identity]:
        """The Identity; raises PictureError where no face, or more than one, is seen."""
        return (model.identity(*to_pil(photos), largest=largest),)


class MixIdentities:
    """One face out of two."""

    RETURN_TYPES = (IDENTITY,)
    RETURN_NAMES = ("identity",)
    FUNCTION, CATEGORY = "mix", CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes, in ComfyUI's form."""
        return {
            "required": {
                "first": (IDENTITY,),
                "second": (IDENTITY,),
                "weight": _number(0.5, 0, 1, 0.01),
            }
        }

    def mix(self, first: Identity, second: Identity, weight: float) -> tuple[Identity]:
        """The Identity between both; `weight` is the second's share."""
        return (first.mix(second, weight),)


class Apply:
    """Portraits of up to three people in the manner of words, a style picture, or both."""

    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("images", "settings")
    FUNCTION, CATEGORY = "apply", CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes, in ComfyUI's form."""
        required = {
            "model": (MODEL,),
            "prompt": ("STRING", {"default": "", "multiline": True}),
            "negative_prompt": ("STRING", {"default": "", "multiline": True}),
            "seed": _whole(0, 0, MAX_SEED),
            "steps": _whole(25, 1, 1000),
            "guidance_scale": _number(3.0, 0, 50, 0.1),
            "alpha": _number(0.5, 0, 1),
            "identity_scale": _number(1.0, 0, 5),
            "style_scale": _number(1.0, 0, 5),
            "count": _whole(1, 1, 64),
        }
        optional = {
            **dict.fromkeys(PEOPLE, (IDENTITY,)),
            "style": ("IMAGE",),
            "image": ("IMAGE",),
            "strength": _number(0.6, 0.01, 1),
            "masks": ("MASK",),
            "width": _whole(0, 0, 4096, 8),
            "height": _whole(0, 0, 4096, 8),
        }
        return {"required": required, "optional": optional}

    def apply(self, model: FaceStudioPipeline, **given: Any) -> tuple[Tensor, str]:
        """The pictures as an IMAGE, and the settings as JSON; raises FaceStudioError.

        masks: one for each person. width, height: 0 is the model's own size.
        """
        people = [given[name] for name in PEOPLE if given.get(name) is not None]
        options = _options(given)
        output = model(people or None, **options)
        return to_image(output.images), json.dumps(output.settings)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """The node's inputs as the pipeline's keywords; what is empty is left out."""
    pictures = {
        name: to_pil(given[name])[0] for name in ("style", "image") if given.get(name) is not None
    }
    texts = {name: given[name].strip() for name in ("prompt", "negative_prompt")}
    options: dict[str, Any] = {
        "num_inference_steps": given["steps"],
        "num_images_per_prompt": given["count"],
        "callback_on_step_end": report_steps(given["steps"]),
        **{name: given[name] for name in ("seed", "guidance_scale", "identity_scale")},
        "style_scale": given["style_scale"],
        **{name: text for name, text in texts.items() if text},
        **{name: given[name] for name in ("width", "height") if given.get(name)},
        **pictures,
    }
    if texts["prompt"] and pictures:
        options["alpha"] = given["alpha"]
    if "image" in pictures:
        options["strength"] = given.get("strength", 0.6)
    if given.get("masks") is not None:
        options["regions"] = to_regions(given["masks"])
    return options


class SaveProfile:
    """Keep a person under a name, for every door of FaceStudio."""

    RETURN_TYPES = (IDENTITY,)
    RETURN_NAMES = ("identity",)
    FUNCTION, CATEGORY = "save", CATEGORY
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes, in ComfyUI's form."""
        return {
            "required": {
                "identity": (IDENTITY,),
                "name": ("STRING", {"default": "anna"}),
                "replace": ("BOOLEAN", {"default": False}),
            }
        }

    def save(self, identity: Identity, name: str, replace: bool) -> dict[str, Any]:
        """The identity again, and the file's place to show; raises BadOption if it is taken."""
        path = IdentityStore().add(name, identity, replace=replace)
        return {"ui": {"text": [f"saved as {path}"]}, "result": (identity,)}


class LoadProfile:
    """A person who was saved under a name."""

    RETURN_TYPES = (IDENTITY,)
    RETURN_NAMES = ("identity",)
    FUNCTION, CATEGORY = "load", CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes, in ComfyUI's form: a list of who is saved."""
        return {"required": {"model": (MODEL,), "name": (IdentityStore().names() or [""],)}}

    @classmethod
    def IS_CHANGED(cls, name: str, **_: Any) -> float:  # noqa: N802
        """When the file was written, so that a person who was saved again is read again."""
        path = IdentityStore().path(name)
        return path.stat().st_mtime if path.exists() else float("nan")

    def load(self, model: FaceStudioPipeline, name: str) -> tuple[Identity]:
        """The Identity; raises BadOption where there is none, EncoderMismatch."""
        from facestudio.faces.embed import encoder_id

        return (IdentityStore().load(name, encoder_id(model.identity_encoder)),)


NODE_CLASS_MAPPINGS: dict[str, type] = {
    "FaceStudioLoadModel": LoadModel,
    "FaceStudioReadIdentity": ReadIdentity,
    "FaceStudioMixIdentities": MixIdentities,
    "FaceStudioApply": Apply,
    "FaceStudioSaveProfile": SaveProfile,
    "FaceStudioLoadProfile": LoadProfile,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "FaceStudioLoadModel": "FaceStudio: load model",
    "FaceStudioReadIdentity": "FaceStudio: identity from photos",
    "FaceStudioMixIdentities": "FaceStudio: mix identities",
    "FaceStudioApply": "FaceStudio: draw",
    "FaceStudioSaveProfile": "FaceStudio: save profile",
    "FaceStudioLoadProfile": "FaceStudio: load profile",
}
