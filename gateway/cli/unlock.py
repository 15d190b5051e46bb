"""``otp-gateway unlock``: lifts what wrong codes have locked one person out by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from channels.base import Address
from gateway.app import Store, opened_store, read_addresses
from gateway.cli.running import MISUSED, run, told
from gateway.clock import rfc3339
from gateway.config import Settings, load_settings
from gateway.errors import ConfigError
from gateway.events.console import printable
from gateway.verification.limits.unlocking import Guesses, Lifted, unlock


def unlock_recipient(
    to: Annotated[str, typer.Option("--to", help="Whom: a phone number, an e-mail address, a service's reference.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    *,
    service: Annotated[
        str | None, typer.Option(help="Guesses of this service alone; what counts over all is lifted in any case.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Forget the wrong codes given for a person, end their lock-outs and the rest of their block of numbers.

    Says what there was. What was sent to them counts on, so nobody can be flooded by it. Running nodes obey at once.
    """
    with told():
        settings = load_settings(config)
        if service is not None and service not in settings.services:
            raise ConfigError([f"no service {service!r}; configured are {', '.join(sorted(settings.services))}"])
    run(_unlock(settings, to, service or "", as_json=as_json))


async def _unlock(settings: Settings, to: str, service: str, *, as_json: bool) -> None:
    addresses = read_addresses(settings, to)
    if not addresses:
        # Without repeating it: it may be somebody's address, mistyped.
        typer.echo("no kind of address is written like this", err=True)
        raise typer.Exit(MISUSED)
    async with opened_store(settings) as store:
        found = [await _lifted(store, address, service) for address in addresses]
    if as_json:
        typer.echo(orjson.dumps([_shown(item) for item in found if item.anything], option=orjson.OPT_INDENT_2))
        return
    lines = [line for item in found if item.anything for line in _lines(item)]
    for line in lines or ["There was nothing to lift."]:
        typer.echo(printable(line))


async def _lifted(store: Store, address: Address, service: str) -> Lifted:
    return await unlock(store.database, store.hasher, address, service, store.clock.now())


def _shown(found: Lifted) -> dict[str, Any]:
    return {
        "recipient": found.recipient,
        "wrong_in_a_row": found.wrong,
        "guesses": [
            {
                "service": item.service,
                "purpose": item.purpose,
                "trusted_context": bool(item.context),
                "hour": item.hour,
                "day": item.day,
                "locked_until": _time(item.locked_until),
            }
            for item in found.guesses
        ],
        "block": {
            "sends": found.block_sends,
            "approved": found.block_approved,
            "rests_until": _time(found.rests_until),
        },
    }


def _lines(found: Lifted) -> Iterator[str]:
    """Yield what was lifted, as sentences."""
    if found.wrong:
        yield f"{found.recipient}: {found.wrong} wrong codes in a row"
    for item in found.guesses:
        yield f"{found.recipient}: {_guesses(item)}"
    if found.block_sends or found.rests_until is not None:
        rest = "" if found.rests_until is None else f", at rest until {_time(found.rests_until)}"
        sends = f"{found.block_sends} sends in the last hour, {found.block_approved} approved"
        yield f"{found.recipient}: its block of numbers, {sends}{rest}"


def _guesses(item: Guesses) -> str:
    counted: Sequence[str] = [f"{item.hour} wrong codes in the hour", f"{item.day} in the day"]
    if item.locked_until is not None:
        counted = [*counted, f"locked out until {_time(item.locked_until)}"]
    where = " from a trusted context" if item.context else ""
    return f"{', '.join(counted)} ({item.service}, {item.purpose}{where})"


def _time(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)
