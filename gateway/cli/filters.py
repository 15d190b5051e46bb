"""Filters of lists: one that can match nothing is refused, or warned of, for an empty list looks like good news."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import typer

from gateway.cli.faults import warn
from gateway.config import Settings
from gateway.config.wording import suggest
from gateway.events.event import EventName
from gateway.verification.view import ID

_NAMES: Final = tuple(map(str, EventName))


def check_event(prefix: str | None) -> None:
    """Look whether an event's name begins so. Raises ``typer.BadParameter`` with the nearest name."""
    if prefix is not None and not any(name.startswith(prefix) for name in _NAMES):
        raise typer.BadParameter(f"no event's name begins so{suggest(prefix, _NAMES)}", param_hint="--event")


def check_verification(verification_id: str | None) -> None:
    """Look whether a verification can have such an id. Raises ``typer.BadParameter``."""
    if verification_id is not None and not ID.fullmatch(verification_id):
        why = "the whole id: ver_ and 36 hexadecimal digits, as a pipe and --json have it"
        raise typer.BadParameter(why, param_hint="--verification")


def check_limit(limit: int, *, follow: bool) -> None:
    """Look whether so many show anything. Raises ``typer.BadParameter``."""
    if limit == 0 and not follow:
        raise typer.BadParameter(
            "0 shows nothing; it is for --follow, which then begins with what comes", param_hint="--limit"
        )


async def check_service(
    settings: Settings, service: str | None, kept: Callable[[str], Awaitable[Sequence[object]]]
) -> None:
    """Warn of a service that is not configured, unless there is something ``kept`` of it from when it was."""
    if service is None or service in settings.services or await kept(service):
        return
    configured = ", ".join(sorted(settings.services)) or "none"
    warn(f"no service {service!r}, and nothing is kept of one; configured are {configured}")
