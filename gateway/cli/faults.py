"""How every verb tells a fault: ``error: `` and a sentence on standard error, one a line.

What is wrong with the words it was called by is told in the same way, behind how it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from gateway import phrases
from gateway.cli.standard_output import outlive_the_reader


def tell(text: str) -> None:
    """Tell a fault, or several, one on each line of ``text``; in red on a terminal."""
    _tell(text, Text("error: ", "bold red"))


def warn(text: str) -> None:
    """Tell of what is likely a mistake and no fault; in yellow on a terminal."""
    _tell(text, Text("warning: ", "bold yellow"))


def _tell(text: str, front: Text) -> None:
    console = Console(stderr=True)
    with console.capture() as capture:
        console.print(front, end="")
    # Rich's part of it is done once: it takes 0.3 ms a line, and a list of people may have many that cannot be used.
    prefix = capture.get()
    for line in text.splitlines():
        typer.echo(f"{prefix}{line}", err=True, color=True)


class Program(TyperGroup):
    """The command line as a whole. Typer would draw a frame around what it finds wrong itself, and no other fault has one."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run it, and end the process with its exit code unless ``standalone_mode`` is off."""
        given = (args, prog_name, complete_var)
        if not standalone_mode:
            return super().main(*given, standalone_mode=False, windows_expand_args=windows_expand_args, **extra)
        outlive_the_reader()
        try:
            code = super().main(*given, standalone_mode=False, windows_expand_args=windows_expand_args, **extra)
        except typer.TyperException as error:
            _tell_misuse(error)
            sys.exit(error.exit_code)
        except typer.Abort:
            tell("aborted")
            sys.exit(1)
        # Verbs return nothing; Typer returns the code of one that ended itself.
        sys.exit(code or 0)


def _tell_misuse(error: typer.TyperException) -> None:
    if isinstance(error.__cause__, ValidationError):
        # Typer repeats what pydantic says to programmers.
        error.message = phrases.of_pydantic(error.__cause__.errors(include_url=False)[0])
    told = error.format_message()
    # A group called by its name alone has shown its help by now, and has no more to say.
    context: typer.Context | None = getattr(error, "ctx", None)
    if told and context is not None:
        typer.echo(context.get_usage(), err=True)
        typer.echo(f"Try '{context.command_path} --help' for help.", err=True)
    tell(told)
