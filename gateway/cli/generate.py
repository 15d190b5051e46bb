"""``otp-gateway generate``: codes and temporary passwords, one or thousands, made as those of verifications are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, get_args

import typer

from gateway.cli.faults import tell
from gateway.cli.running import MISUSED
from gateway.verification.codes import (
    ALPHABETS,
    DIGITS,
    LONGEST,
    SHORTEST,
    ClassName,
    WeakPasswordError,
    check_classes,
    check_length,
    entropy,
    make,
)

#: The most codes of one call.
MOST = 1_000_000
#: Characters where no length is asked for: of digits, of any other alphabet, with classes.
_USUAL, _USUAL_LETTERS, _USUAL_PASSWORD = 6, 8, 12


def generate(
    *,
    alphabet: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(ALPHABETS)}; digits, or what has the classes asked for, unless given."),
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=SHORTEST, max=LONGEST, help="Characters of each: 6 digits, 8, or 12 with classes.")
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Classes each one has a character of, like lower,upper,digits,symbols: a password.")
    ] = "",
    count: Annotated[int, typer.Option(min=1, max=MOST, help="How many.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Make codes or temporary passwords; they alone are on standard output, their entropy on standard error.

    Exits with 2 for what cannot be made, and for passwords that would be weak.
    """
    wanted = [name.strip() for name in classes.split(",") if name.strip()]
    made_of = alphabet or _alphabet_for(wanted)
    characters = length or (_USUAL_PASSWORD if wanted else _USUAL if made_of == DIGITS else _USUAL_LETTERS)
    if fault := _fault(characters, made_of, wanted):
        tell(fault)
        raise typer.Exit(MISUSED)
    made = [make(characters, made_of, wanted) for _ in range(count)]
    bits = entropy(characters, made_of, wanted)
    typer.echo(f"{bits:.1f} bits of entropy each: {characters} characters of {made_of}{_with(wanted)}", err=True)
    if as_json:
        policy = {"alphabet": made_of, "length": characters, "classes": wanted, "entropy": round(bits, 3)}
        typer.echo(json.dumps({**policy, "codes": made}, indent=2))
    else:
        typer.echo("\n".join(made))


def _alphabet_for(classes: Sequence[str]) -> str:
    """Return the smallest usual alphabet that has the classes asked for."""
    if not classes:
        return DIGITS
    return "symbols" if "symbols" in classes else "alphanumeric"


def _fault(length: int, alphabet: str, classes: Sequence[str]) -> str | None:
    """Return what is wrong with a wish, by the option's name; ``None`` where it can be met."""
    if alphabet not in ALPHABETS:
        return f"--alphabet: there is no {alphabet}; choose {', '.join(ALPHABETS)}"
    if unknown := [name for name in classes if name not in get_args(ClassName)]:
        return f"--classes: there is no {unknown[0]}; choose of {', '.join(get_args(ClassName))}"
    try:
        check_classes(alphabet, classes)
    except ValueError as error:
        return f"--classes: {error}"
    try:
        check_length(length, alphabet, classes)
    except WeakPasswordError as error:
        return f"--length: weak password: {error}"
    except ValueError as error:
        return f"--length: {error}"
    return None


def _with(classes: Sequence[str]) -> str:
    return f" with {', '.join(classes)}" if classes else ""
