"""What a run may leave out to be faster: settings, exact unless asked for otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facestudio.errors import BadOption
from facestudio.settings import from_dict


@dataclass(frozen=True)
class SpeedSettings:
    """Four levers; as they stand here none is pulled, and pictures are exact.

    Shares are of the run's steps: 0 is where noise is all there is, 1 the end.
    guidance_from, guidance_to: classifier-free guidance counts in this part of the run. In the rest
    the unconditional half is left out, which halves a step (arXiv 2404.07724).
    guidance_every: there, the unconditional half runs at every n-th step; between, the difference
    that it made last is used again (as in FasterCache, arXiv 2410.19355).
    deep_every: the U-Net's inner blocks run at every n-th step; between, what they made last is
    used again (DeepCache, arXiv 2312.00858). outer_layers: how many layers of the first and the
    last block run at every step all the same.
    gate: from this share on, every cross-attention gives again what it gave there (T-GATE,
    arXiv 2404.02747).
    Raises BadOption.
    """

    guidance_from: float = 0.0
    guidance_to: float = 1.0
    deep_every: int = 1
    outer_layers: int = 1
    gate: float = 1.0
    guidance_every: int = 1

    def __post_init__(self) -> None:
        shares = ("guidance_from", "guidance_to", "gate")
        wrong = [name for name in shares if not 0 <= getattr(self, name) <= 1]
        if wrong:
            raise BadOption(f"speed: {wrong[0]}={getattr(self, wrong[0])!r}: give a share, 0 to 1")
        if self.guidance_from > self.guidance_to:
            found = f"guidance_from={self.guidance_from} is after guidance_to={self.guidance_to}"
            raise BadOption(f"speed: {found}: give them in order")
        for name, least in (("deep_every", 1), ("outer_layers", 0), ("guidance_every", 1)):
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise BadOption(f"speed: {name}={value!r}: give a whole number from {least}")

    def guides(self, step: int, steps: int) -> bool:
        """Whether classifier-free guidance counts at step `step` of `steps`."""
        return self.guidance_from <= step / steps < self.guidance_to

    def renews_guidance(self, step: int) -> bool:
        """Whether both halves of classifier-free guidance run at a step at which it counts."""
        return step % self.guidance_every == 0

    def gates(self, step: int, steps: int) -> bool:
        """Whether cross-attention is closed at step `step` of `steps`."""
        return step / steps >= self.gate


EXACT = SpeedSettings()
BALANCED = SpeedSettings(guidance_every=2)
FAST = SpeedSettings(deep_every=2, outer_layers=0)
DRAFT = SpeedSettings(deep_every=4, outer_layers=0)
SPEEDS = {"exact": EXACT, "balanced": BALANCED, "fast": FAST, "draft": DRAFT}


def read_speed(given: Any) -> SpeedSettings:
    """The settings behind a name, a mapping of settings or SpeedSettings; raises BadOption."""
    if isinstance(given, SpeedSettings):
        return given
    if isinstance(given, Mapping):
        return from_dict(SpeedSettings, given, "speed")
    if isinstance(given, str) and given in SPEEDS:
        return SPEEDS[given]
    raise BadOption(f"speed={given!r}: give {', '.join(SPEEDS)}, or SpeedSettings")
