"""``otp-gateway erase``: one recipient leaves the database, everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateway.app import beside, read_addressee
from gateway.cli.chosen import chosen
from gateway.cli.numbers import counted
from gateway.cli.recipient import refused
from gateway.cli.running import run, told
from gateway.config import Settings
from gateway.errors import ConfigError, GatewayError
from gateway.verification.addressee import Addressee
from gateway.verification.erasing import Erased, Held


def erase(
    to: Annotated[
        str, typer.Option(help="The address: a number, an e-mail address, a service's reference; or kind=address.")
    ],
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
    with told(), refused():
        settings = chosen(config)
        if service is not None and service not in settings.services:
            raise ConfigError([f"no service {service!r}; configured are {', '.join(sorted(settings.services))}"])
        addressee = read_addressee(settings, to)
    run(_erase(settings, addressee, service, yes=yes, as_json=as_json))


async def _erase(settings: Settings, addressee: Addressee, service: str | None, *, yes: bool, as_json: bool) -> None:
    nobody = f"Nobody by this address was found; it was taken for {addressee.taken_for(service)}."
    async with beside(settings) as gateway:
        erasing, person = gateway.parts.erasing, addressee.whom(gateway.store.hasher, service)
        if not yes:
            held = await erasing.held(person)
            # On standard error: the answer to --json stands alone on standard output.
            typer.confirm(
                _question(held) or f"{nobody} Erase what is counted by it all the same?", abort=True, err=True
            )
        gone = await erasing.erase(person)
    _report(gone, as_json=as_json)
    if yes and not _anybody(gone):
        typer.echo(nobody, err=True)
    if faults := list(_unfinished(gone)):
        raise GatewayError("\n".join(faults))


def _question(held: Held) -> str:
    """Return what is asked before somebody is erased: rows by sort, and whose; empty where there is nobody."""
    told = _sorts(held)
    if not told:
        return ""
    of = f" of {', '.join(held.services)}" if held.services else ""
    return f"Erase this recipient, {', '.join(told)}{of}, for good?"


def _sorts(held: Held) -> list[str]:
    """Return what there is, a sort each."""
    numbers = {name: getattr(held, name) for name in held.__struct_fields__ if name != "services"}
    return [counted(number, name.removesuffix("s"), name) for name, number in numbers.items() if number]


def _anybody(gone: Erased) -> bool:
    return any(number for name, number in msgspec.structs.asdict(gone).items() if name != "still_readable")


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
