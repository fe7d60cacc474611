"""Where files of others are found: on this machine first, then on the Hugging Face hub.

Offline (asked for, or by HF_HUB_OFFLINE=1) only what the hub's client has kept here is used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facestudio.errors import MissingWeights

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
SITE = "https://huggingface.co"
ANSWER_S = 10.0  # in which the hub must say that it is there


def find_folder(
    name: str, what: str, patterns: Sequence[str], *, marker: str, offline: bool = False
) -> Path:
    """The folder called `name`: a path, or owner/name on the hub, of which `patterns` are fetched.

    marker: the file that a folder of this kind has. Raises MissingWeights saying what is missing,
    from where it comes and how to get it.
    """
    path = Path(name)
    if path.is_dir():
        if not (path / marker).is_file():
            raise MissingWeights(
                f"{path} is no {what}: {marker} is missing",
                file=path / marker,
                hint="was the copy or download complete?",
            )
        return path
    if path.exists() or not HUB_NAME.fullmatch(name):
        raise _not_here(name, what)
    return fetch_folder(name, patterns, what=what, offline=offline)


def find_file(
    name: str,
    what: str,
    files: Sequence[str],
    *,
    beside: Sequence[str] = (),
    offline: bool = False,
) -> Path:
    """One file: a path, a folder that holds one of `files`, or owner/name on the hub.

    beside: what else is fetched from a hub. Raises MissingWeights as `find_folder` does.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        here = [path / file for file in files if (path / file).is_file()]
        if here:
            return here[0]
        wanted = " or ".join(files)
        raise MissingWeights(f"{what}: no {wanted} in {path}", file=path / files[0])
    if not HUB_NAME.fullmatch(name):
        raise _not_here(name, what)
    folder = fetch_folder(name, [files[0], *beside], what=what, offline=offline)
    return find_file(str(folder), what, files)


def fetch_folder(
    name: str, patterns: Sequence[str], *, what: str = "model", offline: bool = False
) -> Path:
    """What the hub's owner/name holds of `patterns`, as a folder on this machine.

    Raises MissingWeights where the hub does not give it.
    """
    from huggingface_hub import snapshot_download

    silence = None if offline else _ask(name)
    kept_only = offline or silence is not None
    options: dict[str, Any] = {"local_files_only": True} if kept_only else {}
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns), **options))
    except Exception as problem:  # the hub's client raises its own, httpx's and OS errors
        where = "this machine's cache (offline)" if offline else "the hub"
        raise MissingWeights(
            f"{what}: no folder {name} here, and {where} did not give it: {silence or problem}",
            file=name,
            hint=f"get {', '.join(patterns)} from {SITE}/{name} and give the path, "
            "or check the name and the network",
        ) from problem


def _ask(name: str) -> Exception | None:
    """Why the hub does not answer for owner/name within seconds; None where it does.

    What fetches a folder would wait for minutes where a network swallows what is sent.
    """
    from huggingface_hub import HfApi

    try:
        HfApi().repo_info(name, timeout=ANSWER_S)
    except Exception as problem:
        return problem
    return None


def _not_here(name: str, what: str) -> MissingWeights:
    return MissingWeights(
        f"{what}: {name} is neither here nor a name on the hub",
        file=name,
        hint="give a path that exists, or owner/name as on huggingface.co",
    )
