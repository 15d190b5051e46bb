"""``otp-gateway dispatch``: one more worker beside ``serve``, without the API."""

from __future__ import annotations

import asyncio
import gc

import typer

from gateway.app import running
from gateway.cli.chosen import chosen
from gateway.cli.running import run, told
from gateway.cli.serve import ConfigOption, configured_secrets
from gateway.config import Settings
from gateway.errors import ConfigError
from gateway.events.log import configure
from gateway.serving import until_stopped

#: What it says on standard error once it works: whoever starts it may wait for this line.
READY = "otp-gateway dispatches"


def dispatch(config: ConfigOption = None) -> None:
    """Send what is queued, listen to the bot and keep house, without the API: one more node on PostgreSQL."""
    with told():
        settings = chosen(config)
        check_shared(settings)
    run(_dispatch(settings))


def check_shared(settings: Settings) -> None:
    """Refuse settings of which a second process would make something else. Raises ``ConfigError``."""
    faults = []
    if settings.database.engine != "postgresql":
        faults.append(
            "[database] url: dispatch shares a PostgreSQL with other nodes; an SQLite file belongs to one process, and "
            "`otp-gateway serve` does all there is to do"
        )
    if settings.sandbox.enabled:
        # Its servers run inside `serve`, on ports of its own choice: a worker beside it would write to real people.
        faults.append("[sandbox] enabled: dispatch has no sandbox and would send in earnest; use `otp-gateway serve`")
    if faults:
        raise ConfigError(faults)


async def _dispatch(settings: Settings) -> None:
    log = configure(settings.log.format, settings.log.level, secrets=configured_secrets(settings))
    try:
        async with running(settings, on_commit=log, lines_dropped=log.lines_dropped):
            # What stands now stays: the collector need not walk through it again and again.
            gc.freeze()
            gc.set_threshold(20_000, 20, 20)
            # It listens to signals from its first step on, so that whoever reads the next line may send one at once.
            stopped = asyncio.create_task(until_stopped())
            await asyncio.sleep(0)
            typer.echo(READY, err=True)
            await stopped
    finally:
        await log.aclose()
