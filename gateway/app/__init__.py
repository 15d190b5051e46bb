"""The composition root: settings in, a running gateway out. The only place that builds things and loads channels.

In reading order: ``store`` (the database, opened), ``channels`` and ``loaded`` (adapters and templates, and all that a
start would refuse), ``core`` (what sends and checks codes), ``bots`` (what goes on in chats), ``upkeep`` (what goes on
beside), ``health``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from gateway.app.allowances import last_tally
from gateway.app.channels import kinds_of, load_replies, load_templates, open_channels, read_addressee
from gateway.app.core import Gateway, built
from gateway.app.loaded import Loaded, faults_of, load
from gateway.app.restored import end_restored
from gateway.app.store import OnCommit, Store, naming, opened_store, schema, told_where
from gateway.app.upkeep import duties
from gateway.config import Settings
from gateway.diagnosis.configuration import unnamed
from gateway.events.metrics import Metrics
from gateway.webhooks.outbox import Outbox

__all__ = [
    "Gateway",
    "Loaded",
    "Store",
    "beside",
    "faults_of",
    "kinds_of",
    "load_replies",
    "load_templates",
    "naming",
    "open_channels",
    "opened_store",
    "read_addressee",
    "running",
    "schema",
    "told_where",
]

_log = logging.getLogger(__name__)


@asynccontextmanager
async def beside(settings: Settings) -> AsyncIterator[Gateway]:
    """Open a gateway whose channels, dispatcher and bots stay idle: for verbs that act on what its nodes have written.

    Applications are told of what it does. Raises ``ConfigError`` or ``StorageError``.
    """
    loaded = load(settings, idle=True)
    metrics = Metrics(channels=loaded.channels, services=settings.services, version=version("otp-gateway"))
    outbox = Outbox(loaded.endpoints).alongside if loaded.endpoints else None
    async with opened_store(settings, alongside=outbox, existing=True) as store:
        yield built(settings, store, loaded.channels, loaded.templates, metrics, sandbox=False)


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    on_commit: OnCommit = lambda _: None,
    lines_dropped: Callable[[], int] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    sandbox: bool = False,
    after_restore: bool = False,
) -> AsyncIterator[Gateway]:
    """Run a gateway: its channels open, its dispatcher at work, its bot listening.

    ``lines_dropped`` tells how many lines the log has lost; ``tell`` is given what the operator who started it must know, which is
    logged too; ``sandbox`` allows providers' test numbers; ``after_restore`` ends first what a backup had pending. Raises
    ``ConfigError`` or ``StorageError``.
    """
    loaded = load(settings)
    if (told := unnamed(settings)) is not None:
        _log.warning("[server] public_url: %s", told)
    channels, endpoints = loaded.channels, loaded.endpoints
    metrics = Metrics(channels=channels, services=settings.services, version=version("otp-gateway"))
    outbox = Outbox(endpoints).alongside if endpoints else None

    def committed(notes: Sequence[object]) -> None:
        metrics.on_commit(notes)
        on_commit(notes)

    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            opened_store(settings, on_commit=committed, alongside=outbox, node=True)
        )
        for channel in channels.values():
            await stack.enter_async_context(channel)
        gateway = built(settings, store, channels, loaded.templates, metrics, sandbox=sandbox)
        await stack.enter_async_context(gateway.parts.drawing)
        if after_restore:
            await end_restored(gateway.parts)
        gateway.dispatcher.start()
        beside = (*gateway.bots.duties(), *duties(settings, gateway, metrics, endpoints, lines_dropped, tell))
        tasks = [asyncio.create_task(duty) for duty in beside]
        try:
            yield gateway
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await gateway.dispatcher.stop()
            await last_tally(gateway.allowances)
