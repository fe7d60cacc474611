"""docs/dependencies.md, pyproject.toml and constraints.txt name the same packages."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED_EXTRAS = ("train", "arrow", "evaluation", "lora", "serve", "test")  # of `make develop`


def plain_name(requirement: str) -> str:
    """The package of a requirement line, in the index's spelling."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def documented() -> set[str]:
    page = (ROOT / "docs/dependencies.md").read_text("utf-8")
    return {plain_name(row) for row in re.findall(r"^\| ([\w.-]+) \|", page, re.M)} - {"package"}


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {plain_name(name): version for name, version in pins}


def test_every_dependency_is_explained_and_nothing_else():
    extras = [line for lines in EXTRAS.values() for line in lines]
    assert documented() == {plain_name(line) for line in [*PROJECT["dependencies"], *extras]}


PINNED = ["core", *INSTALLED_EXTRAS, "ray", "safety", "fuzz", "web", "browser"]


@pytest.mark.parametrize("group", PINNED)
def test_every_installed_dependency_is_pinned(group):
    lines = PROJECT["dependencies"] if group == "core" else EXTRAS[group]
    assert {plain_name(line) for line in lines} <= pinned().keys()


def test_pins_are_plain_releases():
    assert pinned()["torch"] == "2.13.0"
    assert all(re.fullmatch(r"[\w.]+", version) for version in pinned().values())


def test_nothing_with_a_viral_licence_or_of_gigabytes():
    unwanted = {"nudenet", "torchvision", "open-clip-torch", "timm", "datasets"}
    assert not unwanted & (documented() | pinned().keys())
