"""``otp-gateway erase``: one recipient leaves the database, everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateway.app import beside
from gateway.cli.chosen import chosen
from gateway.cli.numbers import counted
from gateway.cli.running import run, told
from gateway.config import Settings
from gateway.errors import ConfigError, GatewayError
from gateway.verification.erasing import Erased, Erasing, NobodyError


def erase(
    to: Annotated[str, typer.Option(help="The address: a number, an e-mail address, a service's reference.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    *,
    service: Annotated[
        str | None, typer.Option(help="Whose reference it is; else whoever is called so by any service is erased.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Erase one recipient: addresses, hashes, links, authenticators, counters. It cannot be undone.

    Nodes may go on running. What the person forbade in a chat (mutes, a lock) is kept, by keyed hashes alone.
    """
    with told():
        settings = chosen(config)
        if service is not None and service not in settings.services:
            raise ConfigError([f"no service {service!r}; configured are {', '.join(sorted(settings.services))}"])
    run(_erase(settings, to, service, yes=yes, as_json=as_json))


async def _erase(settings: Settings, to: str, service: str | None, *, yes: bool, as_json: bool) -> None:
    async with beside(settings) as gateway:
        gone = await _erased(gateway.parts.erasing, to, service, yes=yes)
    _report(gone, as_json=as_json)
    if faults := list(_unfinished(gone)):
        raise GatewayError("\n".join(faults))


async def _erased(erasing: Erasing, to: str, service: str | None, *, yes: bool) -> Erased:
    try:
        person = erasing.whom(to, service)
    except NobodyError as error:
        raise ConfigError([f"--to: {error}"]) from None
    if not yes:
        number = await erasing.count(person)
        # On standard error: the answer to --json stands alone on standard output.
        typer.confirm(f"Erase this recipient, of {counted(number, 'verification')}, for good?", abort=True, err=True)
    return await erasing.erase(person)


def _unfinished(gone: Erased) -> Iterator[str]:
    """Yield what is left to be done, and by whom."""
    if gone.under_way:
        yield f"{counted(gone.under_way, 'verification')} had an attempt under way; erase again in a minute"
    if gone.still_readable:
        yield (
            "what was erased can still be read in the database's files, for something has been reading them since before "
            "(a backup?); once that has ended, a running gateway overwrites it within a minute, and so does the next start"
        )


def _report(gone: Erased, *, as_json: bool) -> None:
    found: dict[str, int] = msgspec.structs.asdict(gone)
    if as_json:
        typer.echo(json.dumps(found))
        return
    # What can still be read is no number; it is told as a fault.
    numbers = {name.replace("_", " "): number for name, number in found.items() if name != "still_readable"}
    typer.echo(
        "Erased: " + ", ".join(counted(number, name.removesuffix("s"), name) for name, number in numbers.items())
    )
