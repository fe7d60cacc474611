"""What one person at the page has given and got so far; in memory only, gone with the tab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from facestudio.web.problems import FieldProblem
from facestudio.web.swatches import FIRST, read_swatches

if TYPE_CHECKING:
    from PIL import Image

    from facestudio.web.photos import Photo
    from facestudio.web.saved import SavedPerson
    from facestudio.web.studio import Drawing, Variant

YOU = "you"
OWN, NONE = "own", "none"
MAX_SHOWN = 24


@dataclass
class Session:
    """One tab of a browser.

    consent: whether whoever is in the photos agreed. photos: or saved people, by field. style: a
    swatch's name, OWN (then `own_style` holds the picture) or NONE. start: the picture to start
    from. scene: the picture with places for several people. results: by tab, the newest batch
    first.
    """

    consent: bool = False
    photos: dict[str, Photo | SavedPerson] = field(default_factory=dict)
    style: str = FIRST
    own_style: Image.Image | None = None
    start: Image.Image | None = None
    scene: Image.Image | None = None
    results: dict[str, list[Variant]] = field(default_factory=dict)
    drawing: Drawing | None = None

    def style_picture(self) -> Image.Image | None:
        """The style picture that is chosen; None where only words count."""
        if self.style == OWN:
            return self.own_style
        swatch = read_swatches().get(self.style)
        return swatch.image if swatch else None

    def photo(self, name: str = YOU) -> Photo | SavedPerson:
        """The photo, or the saved person, of a field. Raises FieldProblem where there is none."""
        if name not in self.photos:
            raise FieldProblem(f"photo-{name}", "Choose a photo first.")
        return self.photos[name]

    def require_consent(self) -> None:
        """Raise FieldProblem unless consent was given."""
        if not self.consent:
            words = "Say first that everyone in the photos agrees: tick the box above."
            raise FieldProblem("consent", words)

    def keep(self, tab: str, variants: Sequence[Variant]) -> list[Variant]:
        """These as the newest results of a tab, older ones behind; all that are still shown."""
        older = [known for known in self.results.get(tab, []) if known not in variants]
        self.results[tab] = [*variants, *older][:MAX_SHOWN]
        return self.results[tab]

    def cancel(self) -> None:
        """Stop what is being drawn, if anything is."""
        if self.drawing is not None:
            self.drawing.cancel()
            self.drawing = None
