"""What a server may be told: in a TOML file, in the environment, by flags; later ones win."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facestudio.errors import BadOption
from facestudio.identities.store import user_folder
from facestudio.settings import load_settings

__all__ = ["LOOPBACK_NAMES", "ServerSettings", "is_loopback", "read_settings"]

PREFIX = "FACESTUDIO_SERVE_"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
MEGA = 1_000_000


@dataclass(frozen=True)
class ServerSettings:
    """Everything `facestudio serve` can be told.

    model: mini, a model folder, or a hub name. host, port: where it listens; a host other than
    loopback needs API keys. require_key: ask for a key on loopback too. data: where jobs, pictures
    and the keys' people are kept (default: `server` in the user's folder).
    engine: "local" draws in this process, "ray" on `replicas` of Ray Serve, in the cluster at
    ray_address or in one of its own; threads: of each, None as torch chooses.
    max_batch: pictures drawn at once; batch_wait_ms: how long a request waits for others.
    max_queue: jobs that wait before 429; timeout_s: the longest a job may take from its arrival;
    keep_hours: how long finished jobs are kept.
    max_upload_mb: bytes of one request in millions; max_megapixels: of one picture;
    max_pictures: sent with one request; max_images: drawn for one request; max_side_px: of a
    drawn picture; max_steps: of the sampler.
    """

    model: str = "mini"
    host: str = "127.0.0.1"
    port: int = 8000
    require_key: bool = False
    data: Path | None = None
    engine: Literal["local", "ray"] = "local"
    replicas: int = 1
    ray_address: str | None = None
    threads: int | None = None
    max_batch: int = 8
    batch_wait_ms: float = 5.0
    max_queue: int = 64
    timeout_s: float = 300.0
    keep_hours: float = 24.0
    max_upload_mb: float = 20.0
    max_megapixels: float = 24.0
    max_pictures: int = 8
    max_images: int = 8
    max_side_px: int = 1024
    max_steps: int = 100

    def __post_init__(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadOption(f"setting {name} is {value}; it must be over 0")
        if not 0 <= self.port <= 65535:
            raise BadOption(f"setting port is {self.port}; it must be from 0 to 65535")

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        return self.data or user_folder() / "server"

    @property
    def max_upload_bytes(self) -> int:
        """The most bytes of one request."""
        return int(self.max_upload_mb * MEGA)

    @property
    def max_pixels(self) -> int:
        """The most pixels of one picture that is sent."""
        return int(self.max_megapixels * MEGA)

    @property
    def needs_key(self) -> bool:
        """Whether every request must carry an API key."""
        return self.require_key or not is_loopback(self.host)


POSITIVE = (
    "replicas", "threads", "max_batch", "max_queue", "timeout_s", "keep_hours", "max_upload_mb",
    "max_megapixels", "max_pictures", "max_images", "max_side_px", "max_steps",
)  # fmt: skip


def read_settings(
    path: Path | None, flags: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> ServerSettings:
    """The settings of a file, changed by FACESTUDIO_SERVE_NAME=value, changed by `name=value`.

    Raises BadOption on what is unknown or of another type, MissingFile.
    """
    given = sorted(name for name in environment if name.startswith(PREFIX))
    named = [f"{name.removeprefix(PREFIX).lower()}={environment[name]}" for name in given]
    return load_settings(ServerSettings, path, [*named, *flags])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return host in LOOPBACK_NAMES or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
