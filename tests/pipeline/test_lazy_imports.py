"""Drawing imports no more than it uses, and what waits is there for whoever asks later."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import pytest

from benchmarks import peers_side
from facestudio.pipeline import lazy_imports
from facestudio.pipeline.lazy_imports import SWITCH, LazyFinder, StandIn, make_imports_lazy

ROOT = Path(__file__).parents[2]
OPTIONS = {
    "shape": "tiny", "px": 64, "steps": 1, "people": 1, "dtype": "float32", "clock": "cpu",
}  # fmt: skip
HEAVY = (
    "torch._dynamo", "torch._inductor", "peft", "transformers", "sympy", "scipy.stats",
    "scipy.integrate", "requests", "accelerate", "accelerate.hooks", "huggingface_hub.hf_api",
    "huggingface_hub.file_download", "diffusers.hooks.group_offloading",
    "diffusers.loaders.single_file_utils", "diffusers.models.transformers",
    "diffusers.models.transformers.transformer_flux",
)  # fmt: skip
FIRST_STEP = f"""
import sys
from pathlib import Path
from benchmarks.peers_side import start_ours
start_ours(Path(sys.argv[1]), {OPTIONS})
waiting = "WaitingModule"
print(*[n for n in {HEAVY} if n in sys.modules and type(sys.modules[n]).__name__ != waiting])
"""
# What a process that has drawn may be asked for next, and what asks for it.
LATER_USES = (
    "tests/pipeline/test_lora.py",
    "tests/pipeline/test_control.py",
    "tests/encoders/test_stable_diffusion.py",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A full-size model at tiny widths, and what its encoders make of the words and the picture."""
    root = tmp_path_factory.mktemp("peers")
    peers_side.make_files(root, OPTIONS)
    return root


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """Packages to be imported in every way: `toy_room.desk`, `toy_whole.part`, `toy_taker`."""
    for name, text in {
        "toy_room/__init__.py": "from toy_room.desk import made\nlamp = 'lit'",
        "toy_room/desk.py": "made = 'of wood'",
        "toy_whole/__init__.py": "whole, __version__ = True, '1.2'",
        "toy_whole/part.py": "import sys\nfirst = vars(sys.modules['toy_whole']).get('whole')",
        "toy_taker.py": "from toy_maker import add, Number\ndef give(): return Number, add",
        "toy_maker.py": "class Number(int): base = 10\ndef add(a, b=2): return a + b",
        "toy_catcher.py": "from toy_house.errors import Late\nfrom toy_house import door",
        "toy_house/__init__.py": """
def __getattr__(name):
    if name != "door":
        raise AttributeError(name)
    from toy_house.rooms import door
    return door
""",
        "toy_house/errors.py": "class Late(Exception): ...",
        "toy_house/rooms.py": "def door(): return 'open'",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lazy_imports, "ROOMS", ("toy_room",))
    monkeypatch.setattr(lazy_imports, "WHOLE", ("toy_whole",))
    later = {"toy_taker": ("toy_maker",), "toy_catcher": ("toy_house",)}
    monkeypatch.setattr(lazy_imports, "LATER", later)
    monkeypatch.setattr(lazy_imports, "AT_ONCE", ("toy_house.errors",))
    monkeypatch.setattr(sys, "meta_path", [LazyFinder(), *sys.meta_path])
    yield
    for name in [name for name in sys.modules if name.startswith("toy_")]:
        del sys.modules[name]


def run_python(code: str, *words: str, switch: str = "1") -> str:
    """What a fresh interpreter prints last, with lazy imports switched on or not."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {SWITCH: switch},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return (done.stdout.splitlines() or [""])[-1]


def test_a_first_step_runs_nothing_that_it_does_not_use(folder):
    assert run_python(FIRST_STEP, str(folder)) == ""


def test_without_the_switch_everything_is_imported_at_once(folder):
    ran = run_python(FIRST_STEP, str(folder), switch="").split()
    assert {"torch._dynamo", "diffusers.models.transformers"} <= set(ran)


@pytest.mark.slow
def test_a_process_that_has_drawn_takes_loras_control_and_towers(folder):
    pytest.importorskip("peft")
    words = ["-q", "-x", "--assert=plain", *LATER_USES]
    code = f"{FIRST_STEP}\nimport pytest\nsys.exit(pytest.main({words}))"
    assert "passed" in run_python(code, str(folder))


def test_other_models_and_the_compiler_are_there_for_whoever_asks(folder):
    code = f"""{FIRST_STEP}
import json
from accelerate import init_empty_weights
from diffusers import FluxTransformer2DModel, UNet2DModel
from diffusers.hooks import HookRegistry
from diffusers.models.attention import BasicTransformerBlock
from diffusers.utils import hub_utils
from torch._dynamo import trace_rules
import scipy.stats
print(json.dumps([
    FluxTransformer2DModel.__name__, UNet2DModel.__name__, HookRegistry.__name__,
    trace_rules.is_callable_allowed(BasicTransformerBlock), float(scipy.stats.norm.cdf(0)),
    hub_utils.extract_commit_hash("snapshots/" + "a" * 40 + "/file"),
    hub_utils.ModelCardData(license="mit").license, init_empty_weights.__name__,
]))"""
    found = json.loads(run_python(code, str(folder)))
    models = ["FluxTransformer2DModel", "UNet2DModel", "HookRegistry"]
    assert found == [*models, True, 0.5, "a" * 40, "mit", "init_empty_weights"]


def test_installed_packages_are_listed_when_one_is_looked_up():
    code = """
from importlib import metadata
reads, read = [], metadata.packages_distributions
def list_all(): reads.append(1); return read()
metadata.packages_distributions = list_all
import facestudio.pipeline
from diffusers.utils import import_utils
before, found = len(reads), import_utils._is_distribution_installed("PIL")
same = metadata.packages_distributions is list_all
print(before, len(reads), *found, same, import_utils._package_map == read())
"""
    assert run_python(code) == f"0 1 True {metadata.version('pillow')} True True"


def test_a_second_call_adds_no_second_finder(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setenv(SWITCH, "1")
    make_imports_lazy()
    make_imports_lazy()
    assert sum(isinstance(finder, LazyFinder) for finder in sys.meta_path) == 1


@pytest.mark.usefixtures("toys")
def test_a_room_is_entered_without_its_house():
    desk, room = import_module("toy_room.desk"), sys.modules["toy_room"]
    assert desk.made == "of wood"
    assert "lamp" not in vars(room)
    assert not hasattr(room, "__warningregistry__")  # what Python asks of every module
    assert room.lamp == "lit"
    assert type(room) is type(sys)
    with pytest.raises(AttributeError, match="chair"):
        room.chair  # noqa: B018


@pytest.mark.usefixtures("toys")
def test_listing_a_module_that_waits_has_it_run():
    assert "lamp" in dir(import_module("toy_room"))


@pytest.mark.usefixtures("toys")
def test_a_module_of_a_whole_package_comes_after_it():
    assert "whole" not in vars(import_module("toy_whole"))
    assert import_module("toy_whole.part").first is True


@pytest.mark.usefixtures("toys")
def test_who_asks_for_a_version_wants_the_package():
    package = import_module("toy_whole")
    assert package.__version__ == "1.2"
    assert package.whole


@pytest.mark.usefixtures("toys")
def test_a_module_that_fails_says_so_each_time(tmp_path):
    (tmp_path / "toy_whole/__init__.py").write_text("raise OSError('no disk')")
    module = import_module("toy_whole")
    for _ in range(2):
        with pytest.raises(OSError, match="no disk"):
            module.whole  # noqa: B018


@pytest.mark.usefixtures("toys")
def test_stand_ins_are_as_good_as_what_they_stand_for():
    taker = import_module("toy_taker")
    number, add = taker.give()
    assert type(number) is type(add) is StandIn
    assert "toy_maker" not in sys.modules
    assert inspect.signature(add).parameters["b"].default == 2
    assert add(3) == 5
    real = sys.modules["toy_maker"]
    assert isinstance(real.Number(1), number)
    assert issubclass(real.Number, (number, str))
    assert not isinstance(1, number)
    assert number.base == 10
    assert taker.give() == (real.Number, real.add)


@pytest.mark.usefixtures("toys")
def test_a_stand_in_answers_what_is_asked_of_it_first():
    number, _ = import_module("toy_taker").give()
    assert not hasattr(number, "__path__")
    assert "toy_maker" not in sys.modules
    assert number.base == 10


@pytest.mark.usefixtures("toys")
def test_errors_to_catch_are_there_at_once_and_the_rest_of_their_package_waits():
    catcher = import_module("toy_catcher")
    assert issubclass(catcher.Late, Exception)
    assert "toy_house.rooms" not in sys.modules
    assert catcher.door() == "open"


@pytest.mark.usefixtures("toys")
def test_what_is_imported_already_needs_no_stand_in():
    real = import_module("toy_maker")
    assert import_module("toy_taker").give() == (real.Number, real.add)
