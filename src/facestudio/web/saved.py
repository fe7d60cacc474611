"""People saved under a name, who may stand wherever a photo does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from facestudio.errors import FaceStudioError
from facestudio.faces.embed import encoder_id

if TYPE_CHECKING:
    from facestudio.faces.identity import Identity
    from facestudio.identities.profile import Profile
    from facestudio.identities.store import IdentityStore
    from facestudio.pipeline.pipeline import FaceStudioPipeline

SAVED = "@"  # what a saved person's name begins with where a photo could stand


@dataclass(frozen=True)
class SavedPerson:
    """A saved person who was chosen."""

    name: str
    profile: Profile

    def crop(self, px: int) -> Image.Image:
        """The picture that the model made of them, `px` a side; their letter where none is kept."""
        preview = self.profile.preview
        return draw_letter(self.name, px) if preview is None else preview.resize((px, px))

    def identity(self, pipe: FaceStudioPipeline) -> Identity:
        """Who they are."""
        return self.profile.identity


def choose_saved(name: str, store: IdentityStore, pipe: FaceStudioPipeline) -> SavedPerson:
    """The saved person of this name, whom the model can draw.

    Raises BadOption where nobody is called that, EncoderMismatch, BadModel.
    """
    store.load(name, encoder_id(pipe.identity_encoder))
    return SavedPerson(name, store.load_profile(name))


def list_saved(store: IdentityStore | None) -> dict[str, Image.Image | None]:
    """The picture of each saved person by name, None where there is none; no store, nobody."""
    return {name: _preview(name, store) for name in store.names()} if store else {}


def draw_letter(name: str, px: int) -> Image.Image:
    """The first letter of a name on a plain ground, `px` a side."""
    tile = Image.new("RGB", (px, px), "#64748b")
    font = ImageFont.load_default(px * 0.5)
    ImageDraw.Draw(tile).text((px / 2, px / 2), name[0].upper(), "white", font, anchor="mm")
    return tile


def _preview(name: str, store: IdentityStore) -> Image.Image | None:
    """None for a damaged file too: what is wrong with it is said when it is chosen."""
    try:
        return store.load_profile(name).preview
    except FaceStudioError:
        return None
