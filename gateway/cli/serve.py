"""``otp-gateway serve`` and ``migrate``."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from gateway.app import naming, opened_store, running, schema
from gateway.cli.chosen import chosen
from gateway.cli.faults import warn
from gateway.cli.running import run, told
from gateway.config import Settings, check_channels, ensure_secrets, variable_name
from gateway.config.masking import url_password
from gateway.config.settings import own_url
from gateway.errors import ConfigError
from gateway.events.log import EventLog, configure
from gateway.serving import bind, serving, until_stopped
from gateway.storage import migrations

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
]


def serve(
    config: ConfigOption = None,
    *,
    host: Annotated[str | None, typer.Option(help="The address to listen on; else the configured host.")] = None,
    port: Annotated[int | None, typer.Option(help="The TCP port to listen on; else the configured port.")] = None,
    after_restore: Annotated[
        bool,
        typer.Option(
            "--after-restore",
            help="For the first start on a restored backup: end what is pending in it, for its codes may have been used since.",
        ),
    ] = False,
) -> None:
    """Bring the schema up to date, then serve the API, dispatch messages and listen to the bot."""
    environ = dict(os.environ)
    if host is not None:
        environ[variable_name(("server", "host"))] = host
    if port is not None:
        environ[variable_name(("server", "port"))] = str(port)
    with told():
        settings = chosen(config, environ)
        if after_restore and settings.sandbox.enabled:
            raise ConfigError(["--after-restore: not with [sandbox], whose codes are nobody's"])
    run(_serve(settings, after_restore=after_restore))


def migrate(config: ConfigOption = None) -> None:
    """Bring the database's schema up to date, and say which revision it has; an empty one becomes these keys'."""
    with told():
        settings = chosen(config)
    run(_migrate(settings))


async def _serve(settings: Settings, *, after_restore: bool = False) -> None:
    listener = bind(settings.server)
    log = configure(settings.log.format, settings.log.level, secrets=configured_secrets(settings))
    try:
        if settings.sandbox.enabled:
            await _serve_with_sandbox(settings, listener, log)
        else:
            async with (
                running(
                    settings, on_commit=log, lines_dropped=log.lines_dropped, tell=warn, after_restore=after_restore
                ) as gateway,
                serving(gateway, settings.server, listener),
            ):
                await _until_stopped(listener)
    finally:
        listener.close()
        await log.aclose()


async def _serve_with_sandbox(settings: Settings, listener: socket.socket, log: EventLog) -> None:
    # Without a sandbox none of it is needed: 0.1 s of a start, and 10 MiB.
    from gateway.cli.sandboxing import opened_servers, sandboxed

    async with (
        opened_servers(settings.sandbox) as sandbox,
        sandboxed(settings, sandbox, listener, on_commit=log, tell=warn) as page,
    ):
        typer.echo(
            f"the sandbox's page is at {page.url}, its mail server at {sandbox.smtp.host}:{sandbox.smtp.port}, "
            f"its Twilio at {sandbox.twilio.base_url}, its Bot API at {sandbox.telegram.base_url}",
            err=True,
        )
        await _until_stopped(listener)


async def _until_stopped(listener: socket.socket) -> None:
    # What stands now stays: the collector need not walk through it again and again.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    host, port = listener.getsockname()[:2]
    # It listens to signals from its first step on, so that whoever reads the next line may send one at once.
    stopped = asyncio.create_task(until_stopped())
    await asyncio.sleep(0)
    # Said once requests are answered: whoever starts us may wait for this line.
    typer.echo(f"otp-gateway serves on {own_url(host, port)}", err=True)
    await stopped


async def _migrate(settings: Settings) -> None:
    if settings.database.path:
        # Keys come before the database they seal: a database without its keys is taken for one that has lost them.
        ensure_secrets(settings)
    with naming(settings.database):
        await schema(settings.database).upgrade()
    typer.echo(f"the schema is at revision {migrations.head()}")
    if settings.database.path or settings.secrets.keys:
        # Whoever opens it first makes it theirs, and that should be whoever made it.
        async with opened_store(settings):
            return
    typer.echo("no [secrets] keys were given: the first node's keys will seal this database", err=True)


def configured_secrets(settings: Settings) -> list[str]:
    """Return every configured secret, for the log to mask should one ever get there."""
    from pydantic import SecretStr

    # With and without the key's id before it.
    keys = [key.get_secret_value() for key in settings.secrets.keys]
    found = [*keys, *(key.partition(":")[2] for key in keys), url_password(settings.database.url) or ""]
    webhooks = [
        secret.get_secret_value() for service in settings.services.values() for secret in service.webhook_secret
    ]
    found += [*webhooks, *(secret.removeprefix("whsec_") for secret in webhooks)]
    if settings.metrics.token is not None:
        found.append(settings.metrics.token.get_secret_value())
    for _, options in check_channels(settings).values():
        values = (getattr(options, name) for name in type(options).model_fields)
        found += [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    return [value for value in found if value]
