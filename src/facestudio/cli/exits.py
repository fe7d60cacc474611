"""Every way a command can end, as one exit code and one printed form.

0 done · 2 the call is wrong · 3 a picture cannot be used · 4 a model cannot be used ·
5 the machine · 130 interrupted. With `--json` one object goes to stdout, success or not.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from facestudio.cli.console import print_json
from facestudio.errors import BadOption, FaceStudioError, NoSpace, OutOfMemory

INTERRUPTED = 130


class Interrupted(Exception):
    """Ctrl-C, with a sentence that says what is kept."""


@contextmanager
def saying_what_is_kept(describe: Callable[[], str]) -> Iterator[None]:
    """Turn Ctrl-C inside the block into `Interrupted` with the sentence of `describe`."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(describe()) from None


def help_if_alone(context: typer.Context) -> None:
    """As the callback of a group: print its help where no command follows."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


class Door(TyperGroup):
    """The command group that turns every known failure into its exit code and printed form."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run one command and leave with its exit code; the form is Typer's."""
        words = list(sys.argv[1:] if args is None else args)
        name = prog_name or "facestudio"
        try:
            code = super().main(words, name, complete_var, standalone_mode=False, **extra) or 0
            if code == INTERRUPTED:  # Typer's form of Ctrl-C
                raise KeyboardInterrupt
        except (Exception, KeyboardInterrupt) as problem:
            code = _report(problem, as_json="--json" in words)
        sys.exit(code)


def _report(problem: BaseException, as_json: bool) -> int:
    """Print the failure and return its exit code; one that is not known is raised again."""
    if isinstance(problem, Interrupted | KeyboardInterrupt):
        code, error = INTERRUPTED, _interruption(str(problem))
    else:
        known = _as_known(problem)
        if known is None:
            raise problem
        code, error = known.exit_code, known.to_dict()
    if as_json:
        print_json({"ok": False, "error": error})
    else:
        _print_error(error)
    return code


def _as_known(problem: BaseException) -> FaceStudioError | None:
    """The failure as one of our own errors, or None."""
    if isinstance(problem, FaceStudioError):
        return problem
    if isinstance(problem, TyperException):
        return BadOption(_usage_message(problem), hint=_usage_hint(problem))
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"the disk is full: {problem}", hint="free some space or write elsewhere")
    if _is_out_of_memory(problem):
        hint = "try a smaller --width and --height, or --model mini"
        return OutOfMemory(f"memory ran out: {problem}".rstrip(": "), hint=hint)
    return None


def _is_out_of_memory(problem: BaseException) -> bool:
    """Python's own error, a GPU's (by name: torch may not be loaded) or torch's on the CPU."""
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":
        return True
    return isinstance(problem, RuntimeError) and "not enough memory" in str(problem)


def _usage_message(problem: TyperException) -> str:
    """Typer's sentence (which option, what is allowed) and what was given, where it knows."""
    errors = getattr(problem.__cause__, "errors", None)  # pydantic's, which checks the values
    given = f" (given: {errors()[0]['input']!r})" if errors else ""
    return problem.format_message() + given


def _usage_hint(problem: TyperException) -> str | None:
    context = getattr(problem, "ctx", None)
    return f"see {context.command_path} --help" if context else None


def _interruption(kept: str) -> dict[str, Any]:
    return {
        "code": "interrupted",
        "message": f"interrupted; {kept or 'nothing was written'}",
        "file": None,
        "hint": None,
        "boxes": None,
    }


def _print_error(error: dict[str, Any]) -> None:
    label = typer.style("error:", fg="red", bold=True)
    typer.echo(f"{label} {error['message']}", err=True)
    for number, (left, top, right, bottom) in enumerate(error["boxes"] or [], start=1):
        typer.echo(f"  face {number}: {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}", err=True)
    if error["hint"]:
        typer.echo(f"  {error['hint']}", err=True)
