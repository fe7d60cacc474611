"""Settings: frozen dataclasses read from TOML, strictly.

An unknown key raises and names the nearest one; a value of the wrong type raises and says
what is wanted. Understood types: bool, int, float, str, Path, Literal, X | None, tuples,
dict[str, X] and nested dataclasses. TOML has no null: the word "none" stands for it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from facestudio.errors import BadOption, MissingFile

__all__ = ["from_dict", "load_settings", "to_dict", "to_toml"]

T = TypeVar("T")
NONE = "none"


def load_settings(cls: type[T], path: str | Path | None, overrides: Sequence[str] = ()) -> T:
    """The settings in a TOML file, changed by overrides such as `model.depth=4`.

    Without a path only the overrides count. Raises MissingFile and BadOption.
    """
    data = {} if path is None else _read_toml(Path(path))
    for override in overrides:
        _apply(data, override)
    return from_dict(cls, data)


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """An instance of the dataclass `cls` from plain values; `where` prefixes names in errors.

    Raises BadOption on an unknown or missing key and on a value of another type.
    """
    if not isinstance(data, Mapping):
        raise BadOption(f"{where or cls.__name__} is {data!r}; it must be a table of settings")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise _unknown_key(str(key), list(fields), where)
    missing = [name for name, field in fields.items() if name not in data and _required(field)]
    if missing:
        raise BadOption(f"setting {_join(where, missing[0])} is missing; it has no default")
    hints = typing.get_type_hints(cls)
    values = {key: _convert(hints[key], value, _join(where, key)) for key, value in data.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as problem:
        raise BadOption(f"{where or cls.__name__}: {problem}") from problem


def to_dict(settings: Any) -> dict[str, Any]:
    """The settings as plain values (paths as text, tuples as lists), fit for JSON."""
    return {
        field.name: _plain(getattr(settings, field.name))
        for field in dataclasses.fields(settings)
        if field.init
    }


def to_toml(settings: Any) -> str:
    """The settings as TOML text that `load_settings` reads back to an equal object."""
    return "\n".join(_toml_lines(to_dict(settings), "")).strip() + "\n"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise MissingFile(f"settings file {path} cannot be read: {reason}", file=path) from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise BadOption(f"{path} is not valid TOML: {problem}", file=path) from problem


def _apply(data: dict[str, Any], override: str) -> None:
    """Set one `a.b=value` inside nested tables."""
    name, equals, text = override.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not equals or not all(keys):
        raise BadOption(f"cannot read {override!r}; write name=value, for example model.depth=4")
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise BadOption(f"cannot set {name.strip()}: {key} holds a value, not a table")
    data[keys[-1]] = _parse_value(text.strip())


def _parse_value(text: str) -> Any:
    """A TOML value; what is none is taken as a bare word."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _unknown_key(key: str, known: list[str], where: str) -> BadOption:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    hint = f"nearest is {_join(where, near[0])}" if near else "there are no settings here"
    return BadOption(f"unknown setting {_join(where, key)}", hint=hint)


def _required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _convert(kind: Any, value: Any, where: str) -> Any:
    """The value as the annotated type, or BadOption."""
    origin = typing.get_origin(kind)
    if origin is not None:
        return _convert_generic(kind, origin, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else from_dict(kind, value, where)
    if kind is Any or (kind is type(None) and value in (None, NONE)):
        return None if kind is type(None) else value
    return _convert_scalar(kind, value, where)


def _convert_generic(kind: Any, origin: Any, value: Any, where: str) -> Any:
    if origin is Literal:
        return _one_of(kind, value, where)
    if origin in (Union, types.UnionType):
        return _convert_union(kind, value, where)
    if origin in (tuple, list):
        return _convert_sequence(kind, origin, value, where)
    if origin is dict and isinstance(value, Mapping):
        inner = typing.get_args(kind)[1]
        return {str(k): _convert(inner, v, _join(where, str(k))) for k, v in value.items()}
    raise _wrong_type(kind, value, where)


def _one_of(kind: Any, value: Any, where: str) -> Any:
    for choice in typing.get_args(kind):
        if choice == value and type(choice) is type(value):
            return choice
    allowed = ", ".join(repr(choice) for choice in typing.get_args(kind))
    raise BadOption(f"setting {where} is {value!r}; it must be one of {allowed}")


def _convert_union(kind: Any, value: Any, where: str) -> Any:
    choices = typing.get_args(kind)
    if type(None) in choices and (value is None or value == NONE):
        return None
    problems = []
    for choice in (choice for choice in choices if choice is not type(None)):
        try:
            return _convert(choice, value, where)
        except BadOption as problem:
            problems.append(problem)
    raise problems[0] if len(problems) == 1 else _wrong_type(kind, value, where)


def _convert_sequence(kind: Any, origin: Any, value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong_type(kind, value, where)
    inner = typing.get_args(kind)
    if origin is list or (len(inner) == 2 and inner[1] is Ellipsis):
        inner = (inner[0],) * len(value)
    if len(inner) != len(value):
        raise BadOption(f"setting {where} has {len(value)} values; it must have {len(inner)}")
    return origin(
        _convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(inner, value, strict=True))
    )


def _convert_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    truth_for_number = kind is int and isinstance(value, bool)
    if isinstance(kind, type) and isinstance(value, kind) and not truth_for_number:
        return value
    raise _wrong_type(kind, value, where)


def _wrong_type(kind: Any, value: Any, where: str) -> BadOption:
    wanted = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    return BadOption(f"setting {where} is {value!r}; it must be {wanted}")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _toml_lines(table: Mapping[str, Any], where: str) -> list[str]:
    """Values first, then one headed section for each table inside."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [f"{_key(k)} = {_toml_value(v)}" for k, v in table.items() if k not in inner]
    for key, value in inner.items():
        name = _join(where, _key(key))
        lines += ["", f"[{name}]", *_toml_lines(value, name)]
    return lines


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "a").replace("-", "a").isalnum()
    return key if bare else _toml_text(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    writers: dict[type, Callable[[Any], str]] = {
        bool: lambda flag: "true" if flag else "false",
        int: str,
        float: _toml_float,
        str: _toml_text,
        type(None): lambda _: f'"{NONE}"',
    }
    return writers[type(value)](value)


def _toml_float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
