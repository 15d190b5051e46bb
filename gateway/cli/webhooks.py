"""``otp-gateway webhooks``: what applications were told, what they did not take, and telling it again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import track
from rich.text import Text

from gateway.app import Store, opened_store
from gateway.cli import filters
from gateway.cli.age import seconds_of
from gateway.cli.chosen import chosen
from gateway.cli.faults import tell
from gateway.cli.numbers import counted
from gateway.cli.running import FAILED, run, told
from gateway.clock import rfc3339
from gateway.config import Settings
from gateway.errors import ConfigError, GatewayError
from gateway.events.console import printable
from gateway.webhooks.endpoints import Disabled, Endpoint, Endpoints, endpoints_of
from gateway.webhooks.rows import BITE, Webhook, Webhooks, WebhookStatus

app = typer.Typer(name="webhooks", help="Show what applications were told, and tell it again.", no_args_is_help=True)

_HEADERS: Final = ("id", "made (UTC)", "service", "event", "status", "tries", "next try", "answer", "verification")
#: The column that is coloured.
_STATUS: Final = _HEADERS.index("status")
_COLOURS: Final = {
    WebhookStatus.DELIVERED.value: "green",
    WebhookStatus.FAILED.value: "red",
    WebhookStatus.DROPPED.value: "yellow",
}
#: Signs that tell a verification on a terminal.
_SHORT: Final = 8
#: What is replayed where no status is asked for: what the receiver does not have.
_MISSED: Final = (WebhookStatus.FAILED, WebhookStatus.DROPPED)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is to be replayed: the ids, or what is of a service, a status and an age."""

    ids: Sequence[str]
    service: str
    statuses: Sequence[WebhookStatus]
    #: Seconds back from now.
    age: float


@app.command("list")
def list_webhooks(
    config: ConfigOption = None,
    *,
    service: Annotated[str | None, typer.Option(help="Only this service's.")] = None,
    status: Annotated[WebhookStatus | None, typer.Option(help="Only those of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show webhooks, newest first: when they are tried next, or how they ended. Never what is in them.

    On a terminal times and the ids of verifications are shortened; in a pipe and with --json they are whole.
    """
    with told():
        settings = chosen(config)
    run(_list(settings, service, status, limit, as_json=as_json))


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids that `webhooks list` shows.")] = None,
    config: ConfigOption = None,
    *,
    service: Annotated[str | None, typer.Option(help="All of this service's, made since --since.")] = None,
    since: Annotated[str | None, typer.Option(help="With --service: not older than this: 30m, 2h, 7d.")] = None,
    status: Annotated[
        WebhookStatus | None, typer.Option(help="With --service: only those of this status; else failed and dropped.")
    ] = None,
    enable: Annotated[bool, typer.Option("--enable", help="Tell a receiver again that wanted no more (410).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send webhooks again, from now on, each under the id it had: receivers know by it what they have already."""
    choice = _choice(ids or [], service, since, status)
    with told():
        settings = chosen(config)
    run(_replay(settings, choice, enable=enable, as_json=as_json))


def _choice(ids: Sequence[str], service: str | None, since: str | None, status: WebhookStatus | None) -> _Choice:
    """Return what is asked for. Raises ``typer.BadParameter``."""
    if ids:
        if service is not None or since is not None or status is not None:
            raise typer.BadParameter("ids, or --service with --since, not both")
        return _Choice(list(dict.fromkeys(ids)), "", (), 0.0)
    if service is None or since is None:
        raise typer.BadParameter("ids, or --service with --since")
    return _Choice((), service, _MISSED if status is None else (status,), seconds_of(since, "--since"))


async def _list(
    settings: Settings, service: str | None, status: WebhookStatus | None, limit: int, *, as_json: bool
) -> None:
    endpoints = endpoints_of(settings)
    async with opened_store(settings, reads=True, existing=True) as store:
        webhooks = _webhooks(store)
        found = await webhooks.latest(service=service, status=status and status.value, limit=limit)
        await filters.check_service(settings, service, lambda name: webhooks.latest(service=name, limit=1))
        disabled = await Endpoints(store.database, endpoints).disabled()
    if as_json:
        typer.echo(json.dumps([_shown(webhook) for webhook in found], indent=2))
    else:
        _print_table(found)
    for item in disabled.values():
        if service in {None, item.service}:
            typer.echo(_told_disabled(item), err=True)


async def _replay(settings: Settings, choice: _Choice, *, enable: bool, as_json: bool) -> None:
    endpoints = endpoints_of(settings)
    async with opened_store(settings, existing=True) as store:
        webhooks, receivers = _webhooks(store), Endpoints(store.database, endpoints)
        ids, services, unknown = await _chosen(webhooks, choice, store.clock.now())
        await _check_receivers(services, endpoints, receivers, enable=enable)
        count = 0
        for bite in _bites(ids):
            count += await webhooks.replay(bite)
    _report(count, len(ids) - count, unknown, as_json=as_json)


def _webhooks(store: Store) -> Webhooks:
    # Nothing is claimed here, so no node is named.
    return Webhooks(store.database, store.clock, node="")


async def _chosen(webhooks: Webhooks, choice: _Choice, now: float) -> tuple[list[str], set[str], list[str]]:
    """Return the ids to replay, the services they are of, and the ids that are unknown."""
    if not choice.ids:
        found: list[str] = []
        for status in choice.statuses:
            page = await webhooks.ids(choice.service, status, since=now - choice.age)
            while page:
                found += page
                page = await webhooks.ids(choice.service, status, since=now - choice.age, after=page[-1])
        return found, {choice.service}, []
    asked = {webhook_id: await webhooks.find(webhook_id) for webhook_id in choice.ids}
    known = [webhook for webhook in asked.values() if webhook is not None]
    unknown = [webhook_id for webhook_id, webhook in asked.items() if webhook is None]
    return [webhook.id for webhook in known], {webhook.service for webhook in known}, unknown


async def _check_receivers(
    services: Collection[str], endpoints: Mapping[str, Endpoint], receivers: Endpoints, *, enable: bool
) -> None:
    """Make sure that what is replayed can go somewhere. Raises ``ConfigError`` or ``GatewayError``."""
    if nowhere := sorted(set(services) - endpoints.keys()):
        raise ConfigError([f"[services.{service}]: there is no webhook_url" for service in nowhere])
    shut = [item for service, item in (await receivers.disabled()).items() if service in services]
    if shut and not enable:
        raise GatewayError("\n".join(_told_disabled(item) for item in shut))
    for item in shut:
        await receivers.enable(item.service)


def _bites(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """Return the ids in small bites, which hold up nobody; on a terminal with a bar that shows how far it is."""
    console = Console(stderr=True)
    bites = [ids[start : start + BITE] for start in range(0, len(ids), BITE)]
    return track(bites, "Replaying", console=console, disable=not (bites and console.is_terminal), transient=True)


def _report(count: int, busy: int, unknown: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"replayed": count, "under_way": busy, "unknown": unknown}))
    else:
        typer.echo(f"{counted(count, 'webhook is', 'webhooks are')} sent again.")
        if busy:
            typer.echo(f"{counted(busy, 'is', 'are')} being tried at this moment, and left alone.", err=True)
        for webhook_id in unknown:
            tell(f"there is no webhook {printable(webhook_id)}")
    if unknown:
        raise typer.Exit(FAILED)


def _told_disabled(item: Disabled) -> str:
    return (
        f"The receiver of {item.service} wants no webhooks since {rfc3339(item.at)} ({item.reason}): they are dropped. "
        f"`otp-gateway webhooks replay --service {item.service} --since 7d --enable` tells it again."
    )


def _shown(webhook: Webhook) -> dict[str, str | int | None]:
    pending = webhook.status == WebhookStatus.PENDING
    return {
        "id": webhook.id,
        "created_at": rfc3339(webhook.created_at),
        "service": webhook.service,
        "type": webhook.name,
        "status": webhook.status,
        "tries": webhook.tries,
        "due_at": rfc3339(webhook.due_at) if pending else None,
        "finished_at": None if webhook.finished_at is None else rfc3339(webhook.finished_at),
        "answer": webhook.answer,
        "reason": webhook.reason,
        "verification": webhook.verification_id,
    }


def _cells(webhook: Webhook, *, short: bool) -> list[str]:
    """Return what stands in the columns, ``short`` for a terminal; ids of webhooks are whole, to be replayed by."""
    shown = _shown(webhook)
    made, due, verification = (shown[name] for name in ("created_at", "due_at", "verification"))
    if short:
        made, due = (None if at is None else str(at)[5:19].replace("T", " ") for at in (made, due))
        verification = verification and f"…{str(verification)[-_SHORT:]}"
    answer = " ".join(str(part) for part in (webhook.answer, webhook.reason) if part is not None)
    event = (webhook.service, webhook.name, webhook.status, webhook.tries)
    cells = (webhook.id, made, *event, due, answer, verification)
    return ["" if cell is None else printable(str(cell)) for cell in cells]


def _print_table(found: Sequence[Webhook]) -> None:
    """Print aligned lines, coloured on a terminal, where a longer one goes on below: nothing is folded or cut."""
    console = Console(highlight=False, markup=False, emoji=False)
    rows = [_cells(webhook, short=console.is_terminal) for webhook in found]
    widths = [max(map(len, column)) for column in zip(_HEADERS, *rows, strict=True)]
    styles = ["bold cyan", *(_COLOURS.get(webhook.status, "") for webhook in found)]
    for line, style in zip((_HEADERS, *rows), styles, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        if not console.is_terminal:
            typer.echo("  ".join(cells).rstrip())
            continue
        coloured = line is _HEADERS
        text = Text("  ").join(Text(cell, style if coloured or at == _STATUS else "") for at, cell in enumerate(cells))
        text.rstrip()
        console.print(text, soft_wrap=True)
