"""``otp-gateway unlock``: lifts what wrong codes have locked one person out by, at a recipient or at an authenticator."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from channels.base import Address
from gateway.app import Store, opened_store, read_addressee
from gateway.cli.chosen import chosen
from gateway.cli.numbers import counted
from gateway.cli.recipient import refused
from gateway.cli.running import run, told
from gateway.clock import rfc3339
from gateway.config import Settings
from gateway.errors import ConfigError, GatewayError
from gateway.events.console import printable
from gateway.verification.authenticators import unlocking as authenticators
from gateway.verification.limits.unlocking import Guesses, Lifted, unlock


def unlock_recipient(
    to: Annotated[
        str | None, typer.Option("--to", help="Whom: a phone number, an e-mail address, a reference; or kind=address.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    *,
    authenticator: Annotated[
        str | None, typer.Option(help="Or whom by an authenticator app of theirs, its id: auth_….")
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(help="With --to: guesses of this service alone; what counts over all is lifted in any case."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Forget the wrong codes given for a person, end their lock-outs and the rest of their block of numbers.

    Says what there was. What was sent to them counts on, so nobody can be flooded by it. Running nodes obey at once.
    With --authenticator it forgets the wrong codes given at all authenticators of that one's person, and ends their lock.
    """
    with told():
        if (to is None) == (authenticator is None):
            raise ConfigError(["give one of --to and --authenticator"])
        if authenticator is not None and service is not None:
            raise ConfigError(["--service is for --to; an authenticator is one service's own"])
        settings = chosen(config)
        if service is not None and service not in settings.services:
            raise ConfigError([f"no service {service!r}; configured are {', '.join(sorted(settings.services))}"])
    if authenticator is not None:
        run(_unlock_authenticator(settings, authenticator, as_json=as_json))
    else:
        run(_unlock(settings, to or "", service or "", as_json=as_json))


async def _unlock(settings: Settings, to: str, service: str, *, as_json: bool) -> None:
    with refused():
        addressee = read_addressee(settings, to)
    async with opened_store(settings, existing=True) as store:
        read = addressee.addresses.items()
        owners = [(address, settings.services if kind in addressee.own else ()) for kind, address in read]
        found = [await _lifted(store, address, service, theirs) for address, theirs in owners]
    lifted = [item for item in found if item.anything]
    _report([_shown(item) for item in lifted], [line for item in lifted for line in _lines(item)], as_json=as_json)
    if not lifted:
        # A lock that goes on may be somebody else's: of a reference, where a number was meant.
        typer.echo(f"The address was taken for {addressee.taken_for(service or None)}.", err=True)


async def _unlock_authenticator(settings: Settings, authenticator_id: str, *, as_json: bool) -> None:
    async with opened_store(settings, existing=True) as store:
        found = await authenticators.unlock(store.database, store.sealer, authenticator_id, store.clock.now())
    if found is None:
        raise GatewayError("there is no authenticator with that id; GET /v1/authenticators lists a service's own")
    item = {
        "authenticator": authenticator_id,
        "service": found.service,
        "recipient": found.recipient,
        "wrong": found.failures,
        "locked_until": _time(found.locked_until),
    }
    wrong = counted(found.failures, "wrong code")
    line = f"{found.recipient}: {wrong} at their authenticators{_locked(found.locked_until)} ({found.service})"
    _report([item] if found.anything else [], [line] if found.anything else [], as_json=as_json)


def _report(items: Sequence[Mapping[str, Any]], lines: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(items, option=orjson.OPT_INDENT_2))
        return
    for line in lines or ["There was nothing to lift."]:
        typer.echo(printable(line))


async def _lifted(store: Store, address: Address, service: str, owners: Collection[str]) -> Lifted:
    return await unlock(store.database, store.hasher, address, service, store.clock.now(), owners)


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
        yield f"{found.recipient}: {counted(found.wrong, 'wrong code')} in a row"
    for item in found.guesses:
        yield f"{found.recipient}: {_guesses(item)}"
    if found.block_sends or found.rests_until is not None:
        rest = "" if found.rests_until is None else f", at rest until {_time(found.rests_until)}"
        sends = f"{counted(found.block_sends, 'send')} in the last hour, {found.block_approved} approved"
        yield f"{found.recipient}: its block of numbers, {sends}{rest}"


def _guesses(item: Guesses) -> str:
    wrong = f"{counted(item.hour, 'wrong code')} in the hour, {item.day} in the day"
    where = " from a trusted context" if item.context else ""
    return f"{wrong}{_locked(item.locked_until)} ({item.service}, {item.purpose}{where})"


def _locked(until: float | None) -> str:
    return "" if until is None else f", locked out until {_time(until)}"


def _time(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)
