"""``otp-gateway erase``: one recipient leaves the database, everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateway.app import beside
from gateway.cli.running import run, told
from gateway.config import Settings, load_settings
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
        settings = load_settings(config)
        if service is not None and service not in settings.services:
            raise ConfigError([f"no service {service!r}; configured are {', '.join(sorted(settings.services))}"])
    run(_erase(settings, to, service, yes=yes, as_json=as_json))


async def _erase(settings: Settings, to: str, service: str | None, *, yes: bool, as_json: bool) -> None:
    async with beside(settings) as gateway:
        gone = await _erased(gateway.parts.erasing, to, service, yes=yes)
    _report(gone, as_json=as_json)
    if gone.under_way:
        raise GatewayError(f"{gone.under_way} verifications had an attempt under way; erase again in a minute")


async def _erased(erasing: Erasing, to: str, service: str | None, *, yes: bool) -> Erased:
    try:
        person = erasing.whom(to, service)
    except NobodyError as error:
        raise ConfigError([f"--to: {error}"]) from None
    if not yes:
        number = await erasing.count(person)
        # On standard error: the answer to --json stands alone on standard output.
        typer.confirm(f"Erase this recipient, of {number} verifications, for good?", abort=True, err=True)
    return await erasing.erase(person)


def _report(gone: Erased, *, as_json: bool) -> None:
    counts: dict[str, int] = msgspec.structs.asdict(gone)
    if as_json:
        typer.echo(json.dumps(counts))
        return
    typer.echo("Erased: " + ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items()))
