"""The small pieces of HTML that the page is made of; whatever comes from outside is escaped."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image

SHOWN_PX = 640
DROP_ICON = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><rect x="3" y="4" width="18" height="16" rx="3"/>'
    '<circle cx="12" cy="10.5" r="2.7"/><path d="M6.5 20c.6-3.4 2.7-5 5.5-5s4.9 1.6 5.5 5"/></svg>'
)

__all__ = [
    "SHOWN_PX",
    "escape",
    "picture_uri",
    "png_uri",
    "problem",
    "status",
    "upload_label",
    "warning",
]


def png_uri(png: bytes) -> str:
    """A PNG as the address of itself, so that no picture lies on disk or has a public address."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def picture_uri(image: Image.Image, px: int = SHOWN_PX) -> str:
    """A picture for looking at: at most `px` a side, as WebP, as the address of itself."""
    small = image.convert("RGB")
    small.thumbnail((px, px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=82)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def problem(words: str) -> str:
    """What is wrong with a field, announced at once by a screen reader; no words, no problem."""
    return f'<p class="problem" role="alert">{escape(words)}</p>' if words else ""


def status(words: str) -> str:
    """News that a screen reader tells when it has time."""
    return f'<p class="status" role="status">{escape(words)}</p>'


def warning(words: str) -> str:
    """What can be used all the same, but is doubtful."""
    return f'<p class="warning" role="status">{escape(words)}</p>'


def upload_label(field: str, words: str, *, small: bool = False) -> str:
    """A place to choose a picture file, or to drop one on; `field` tells it from others."""
    hint = "" if small else "<small>or drop it here</small>"
    icon = "" if small else DROP_ICON
    look = "drop small" if small else "drop"
    return (
        f'<label class="{look}">'
        f'<input type="file" accept="image/*" id="file-{field}" class="unseen">'
        f"{icon}<span>{escape(words)}</span>{hint}</label>"
    )
