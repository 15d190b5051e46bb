"""Serving: HTTP on a socket, signals, and an end in which nothing is lost.

A stop goes from the outside in: no new requests, what is under way ends, messages that did not begin are given
back, the database is closed last. It takes 15 seconds at most; a second signal does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Network, IPv6Network

import uvicorn

from gateway.api import create_api
from gateway.api.slow_clients import DeadlineProtocol
from gateway.app import Gateway
from gateway.config import ServerSettings
from gateway.errors import ConfigError
from gateway.signals import end_by

_log = logging.getLogger(__name__)

#: Seconds that requests under way may take to end when the gateway stops.
GRACE = 3
#: Connections that wait to be accepted.
BACKLOG = 2048


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again after its own shutdown: the process would die before ours.
        yield


def bind(settings: ServerSettings) -> socket.socket:
    """Return a listening socket. Raises ``ConfigError`` where the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What is accepted inherits it; asyncio sets it only on sockets that were made with the protocol's number. Without it
    # the second packet of an answer waits up to 40 ms for the client's delayed acknowledgement (RFC 896, RFC 1122).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        place = f"{settings.host}:{settings.port}"
        raise ConfigError(
            [f"[server] host, port: {place} cannot be listened on: {error.strerror}; choose another with --port"]
        ) from None
    return listener


@contextlib.asynccontextmanager
async def serving(gateway: Gateway, settings: ServerSettings, listener: socket.socket) -> AsyncIterator[None]:
    """Serve HTTP on ``listener`` for as long as the block runs, then let requests under way end."""
    server = _Server(
        uvicorn.Config(
            create_api(gateway.parts),
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=True,
            http=DeadlineProtocol,
            ws="none",
            backlog=BACKLOG,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=[name for network in settings.trusted_proxies for name in _as_seen(network)],
            timeout_graceful_shutdown=GRACE,
        )
    )
    serving_task = asyncio.create_task(server.serve([listener]), name="HTTP")
    up = asyncio.create_task(server.up.wait())
    try:
        await asyncio.wait({serving_task, up}, return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        up.cancel()
        gateway.draining.set()
        server.should_exit = True
        await serving_task


def _as_seen(network: IPv4Network | IPv6Network) -> list[str]:
    """Return what a network's addresses look like to a socket: one for both families shows those of IPv4 mapped."""
    if network.version == 6:
        return [str(network)]
    return [str(network), f"::ffff:{network.network_address}/{96 + network.prefixlen}"]


async def until_stopped() -> None:
    """Wait for SIGTERM or SIGINT; a second one ends the process without waiting."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: int) -> None:
        if stopped.is_set():
            # Leases lapse by themselves within 20 s: the impatient lose nothing.
            end_by(number)
        _log.info("stopping")
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    await stopped.wait()
