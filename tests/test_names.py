"""What the package offers by name, and what it loads to do so."""

import subprocess
import sys

import pytest

import facestudio

HEAVY = ("torch", "transformers", "diffusers", "onnxruntime", "dlib", "scipy", "cv2")


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after `code`."""
    program = f"import sys\n{code}\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_names_are_these():
    assert sorted(facestudio.__all__) == [
        "Client",
        "FaceStudioError",
        "FaceStudioOutput",
        "FaceStudioPipeline",
        "Identity",
        "MachineError",
        "ModelError",
        "OptionError",
        "PictureError",
        "__version__",
        "load_identity",
        "mix_identities",
    ]


@pytest.mark.parametrize("name", facestudio.__all__)
def test_each_name_is_there_and_documented(name):
    value = getattr(facestudio, name)
    assert name == "__version__" or value.__doc__


def test_dir_lists_the_names():
    assert set(facestudio.__all__) <= set(dir(facestudio))


def test_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="PhotoStudio"):
        facestudio.PhotoStudio  # noqa: B018


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import facestudio") == set()


@pytest.mark.parametrize(
    "module",
    [
        "client",
        "errors",
        "images",
        "settings",
        "faces.detect",
        "faces.align",
        "faces.identity",
        "faces.regions",
        "faces.embed",
        "identities.store",
        "cli.app",
    ],
)
def test_modules_below_the_models_load_no_torch(module):
    assert "torch" not in loaded_by(f"import facestudio.{module}")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["generate", "--help"],
        ["train", "unet", "--help"],
        ["info", "mini"],
    ],
)
def test_help_and_what_a_model_is_made_of_load_nothing_heavy(words):
    code = (
        "from facestudio.cli.app import app\n"
        f"try: app({words})\nexcept SystemExit as left: assert left.code == 0\n"
    )
    assert loaded_by(code) == set()
