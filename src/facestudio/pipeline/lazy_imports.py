"""Imports of diffusers that wait until they are used, so that drawing starts seconds earlier.

diffusers' U-Net class comes with every model that diffusers has, and these with peft, transformers,
scipy, accelerate, the hub's client and torch's compiler: more seconds than reading the weights of
Stable Diffusion takes. A finder of imports lets the modules named below wait until something of
them is wanted. They are the modules themselves, and run as they are; whoever uses a LoRA, a
compiler or another model of diffusers notices nothing but when its import happens. What was
imported before stays as it is.

FACESTUDIO_LAZY_IMPORTS=1 in the environment switches it on, and 0 off. Without it the `facestudio`
command, whose process is its own, imports lazily; elsewhere imports are Python's own.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from threading import RLock
from types import ModuleType
from typing import Any, TypeVar

__all__ = ["SWITCH", "LazyFinder", "make_imports_lazy"]

T = TypeVar("T")

SWITCH = "FACESTUDIO_LAZY_IMPORTS"

# A package that runs when a name is asked of it that it lacks; its modules do without it.
ROOMS = (
    "diffusers.hooks",
    "diffusers.models.controlnets",
    "diffusers.models.transformers",
    "diffusers.models.unets",
)

# A package that runs when a name is asked of it, or one of its modules: diffusers' schedulers all
# import scipy's, and few use them; requests fetches pictures that are given by an address;
# accelerate spreads networks over devices.
WHOLE = ("accelerate", "requests", "scipy.integrate", "scipy.stats")

ASKED = ("__all__", "__version__")  # of what Python names so: asked by those who want the package

# A module, and the packages of which it imports names that it needs much later, if at all.
COMPILER = "torch._dynamo"
HUB = "huggingface_hub"
LATER = {
    "diffusers.configuration_utils": (HUB,),
    "diffusers.loaders.lora_base": ("accelerate", HUB, "peft", "transformers"),
    "diffusers.loaders.peft": ("diffusers.hooks",),
    "diffusers.loaders.single_file_model": ("accelerate", "diffusers.loaders.single_file_utils"),
    "diffusers.models.model_loading_utils": ("accelerate",),
    "diffusers.models.modeling_utils": ("accelerate", HUB),
    "diffusers.quantizers.bfl.utils": ("accelerate",),
    "diffusers.quantizers.bitsandbytes.utils": ("accelerate",),
    "diffusers.quantizers.gguf.utils": ("accelerate",),
    "diffusers.quantizers.modelopt.modelopt_quantizer": ("accelerate",),
    "diffusers.quantizers.nunchaku.utils": ("accelerate",),
    "diffusers.quantizers.pipe_quant_config": ("transformers",),
    "diffusers.quantizers.quanto.quanto_quantizer": ("accelerate",),
    "diffusers.quantizers.quanto.utils": ("accelerate",),
    "diffusers.utils.dynamic_modules_utils": (HUB,),
    "diffusers.utils.hub_utils": (HUB,),
    "diffusers.utils.torch_utils": (COMPILER,),
}

# What holds constants, decorators and errors to catch: no stand-in does for these.
AT_ONCE = tuple(f"{HUB}.{name}" for name in ("constants", "errors", "utils"))

# A module whose functions, called around each call of a U-Net, import peft to scale its layers, and
# do nothing for a weight of 1.
SCALING = "diffusers.utils.peft_utils"
SCALES = ("scale_lora_layers", "unscale_lora_layers")

# A module that lists all packages installed, reading a file or two of each, to look up a few that
# are seldom there.
LISTING = "diffusers.utils.import_utils"


def make_imports_lazy() -> None:
    """Let the modules named above wait from now on, if asked to; a second call does nothing."""
    installed = any(isinstance(finder, LazyFinder) for finder in sys.meta_path)
    if not installed and os.environ.get(SWITCH) == "1":
        sys.meta_path.insert(0, LazyFinder())


class LazyFinder(MetaPathFinder):
    """Finds the modules named above where others find them, and has them run in another way."""

    def __init__(self) -> None:
        self._compiler: ModuleType | None = None
        self._allowed: list[Any] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec with a loader of this file; None for all but the modules named."""
        parent = fullname.rpartition(".")[0]
        if parent in WHOLE:
            run_waiting(sys.modules[parent])
        run = self._choose(fullname)
        spec = run and _find_elsewhere(fullname, path, target)
        if run and spec and spec.loader:
            spec.loader = OtherwiseLoader(spec.loader, run)
        return spec

    def _choose(self, name: str) -> Callable[[ModuleType, Loader], None] | None:
        if name in ROOMS or name in WHOLE:
            return _let_wait
        if name in LATER:
            return self._run_with_stand_ins
        runs = {COMPILER: self._run_compiler, SCALING: _run_scaling, LISTING: _run_listing}
        return runs.get(name)

    def _run_with_stand_ins(self, module: ModuleType, loader: Loader) -> None:
        """Run a module, whose own imports of some packages give it stand-ins."""
        plain, packages = vars(builtins), LATER[module.__name__]

        def give(
            name: str, given: Any = None, own: Any = None, names: Any = (), up: int = 0
        ) -> Any:
            vars(module)["__builtins__"] = plain  # what the module defines imports as ever
            whole = resolve_name("." * up + name, module.__package__) if up else name
            waits = _is_of(whole, packages) and not _is_of(whole, AT_ONCE)
            if waits and not _is_there(whole, names or ()):
                return _StandIns(module, whole, self)
            return plain["__import__"](name, given, own, names, up)

        vars(module)["__builtins__"] = {**plain, "__import__": give}
        loader.exec_module(module)

    def _run_compiler(self, module: ModuleType, loader: Loader) -> None:
        loader.exec_module(module)
        self._compiler = module
        for kind in self._allowed:
            module.allow_in_graph(kind)

    def allow_later(self, kind: T) -> T:
        """`kind` itself; torch's compiler is told not to look into it once it is imported."""
        self._allowed.append(kind)
        if self._compiler is not None:
            self._compiler.allow_in_graph(kind)
        return kind


class OtherwiseLoader(Loader):
    """Loads as `loader` does, but for how the module runs."""

    def __init__(self, loader: Loader, run: Callable[[ModuleType, Loader], None]) -> None:
        self._loader, self._run = loader, run

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """What `loader` makes."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Have the module run; from now on it has its own loader."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._run(module, self._loader)


class _Turn:
    """How a module runs that waits, and whose turn it is: one thread's, and once."""

    def __init__(self, loader: Loader) -> None:
        self.loader, self.lock, self.taken = loader, RLock(), False


class WaitingModule(ModuleType):
    """A module that has not run yet; it becomes an ordinary one when it does."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ASKED:  # whoever goes through all modules asks
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        run_waiting(self)
        return ModuleType.__getattribute__(self, name)  # `super()` knows an ordinary one no more

    def __dir__(self) -> list[str]:
        run_waiting(self)
        return sorted(vars(self))


def run_waiting(module: ModuleType) -> None:
    """Run a module that waits, in whichever thread comes first; others are left alone."""
    spec = module.__spec__
    if spec is None or not isinstance(module, WaitingModule):
        return
    turn: _Turn = spec.loader_state
    with turn.lock:
        if turn.taken or type(module) is ModuleType:
            return
        turn.taken = True
        try:
            turn.loader.exec_module(module)
            module.__class__ = ModuleType  # type: ignore[assignment]
        finally:
            turn.taken = False


def _let_wait(module: ModuleType, loader: Loader) -> None:
    if module.__spec__ is not None:
        module.__spec__.loader_state = _Turn(loader)
        module.__class__ = WaitingModule


def _run_scaling(module: ModuleType, loader: Loader) -> None:
    loader.exec_module(module)
    for name in SCALES:
        vars(module)[name] = _unless_one(vars(module)[name])


def _unless_one(scale: Callable[..., None]) -> Callable[..., None]:
    @wraps(scale)
    def scale_unless_one(model: Any, weight: float | None = None) -> None:
        if weight != 1.0:
            scale(model, weight)

    return scale_unless_one


def _run_listing(module: ModuleType, loader: Loader) -> None:
    from importlib import metadata

    read = metadata.packages_distributions
    metadata.packages_distributions = lambda: WaitingMap(read)
    try:
        loader.exec_module(module)
    finally:
        metadata.packages_distributions = read


class WaitingMap(Mapping[str, list[str]]):
    """What `read` gives, read when something is asked of it."""

    def __init__(self, read: Callable[[], Mapping[str, list[str]]]) -> None:
        self._read = read

    @cached_property
    def _found(self) -> Mapping[str, list[str]]:
        return self._read()

    def __getitem__(self, name: str) -> list[str]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class _StandIns:
    """What an import of names gives instead of the module: something for each name."""

    def __init__(self, taker: ModuleType, module: str, finder: LazyFinder) -> None:
        self._taker, self._module, self._finder = taker, module, finder

    def __getattr__(self, name: str) -> Any:
        if (self._module, name) == (COMPILER, "allow_in_graph"):
            return self._finder.allow_later
        return StandIn(self._taker, self._module, name)


class StandIn:
    """Stands for a function or a class that `taker` imports from a module that waits.

    To call it, to ask something of it or what is an instance of it imports the module; the real one
    then takes the stand-in's place among the names of `taker`.
    """

    def __init__(self, taker: ModuleType, module: str, name: str) -> None:
        self._taker, self._module, self._name = taker, module, name

    @property
    def __wrapped__(self) -> Any:
        """The real one, in which `inspect` finds its signature."""
        real = getattr(import_module(self._module), self._name)
        for name, value in list(vars(self._taker).items()):
            if value is self:
                vars(self._taker)[name] = real
        return real

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself may ask of anything
            raise AttributeError(f"{self._module}.{self._name} waits, and says no {name}")
        return getattr(self.__wrapped__, name)

    def __call__(self, *args: Any, **given: Any) -> Any:
        return self.__wrapped__(*args, **given)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self.__wrapped__)

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, self.__wrapped__)


def _is_there(module: str, names: Sequence[str]) -> bool:
    """Whether a module has run, and has names that it may import when they are asked for."""
    found = vars(sys.modules[module]) if module in sys.modules else {}
    return all(name in found for name in names)


def _is_of(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _find_elsewhere(
    name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    finders = (finder for finder in sys.meta_path if not isinstance(finder, LazyFinder))
    specs = (finder.find_spec(name, path, target) for finder in finders)
    return next((spec for spec in specs if spec is not None), None)
