"""The sandbox around a gateway: its servers, and its page, which signs in by HTTP as any application does."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from gateway.app import Gateway, running
from gateway.config import SandboxSettings, Settings, load_settings, shipped
from gateway.errors import ConfigError
from gateway.sandbox import Sandbox
from gateway.sandbox.feed import Feed
from gateway.sandbox.scenes import About, ActError, Answered, Scenes
from gateway.sandbox.site import Site
from gateway.sandbox.smtp_reports import ReportsTo
from gateway.serving import serving

#: The service whose key the page has.
SERVICE = "default"
#: Seconds one request of the page to the gateway may take.
PATIENCE = 20.0

_T = TypeVar("_T")


def settings_of(sandbox: Sandbox, database: Path, port: int, page_port: int) -> Settings:
    """Return the settings of a gateway on ``port`` that reaches people by every channel, each at the sandbox."""
    values = {
        "SERVER__PORT": str(port),
        "SANDBOX__PORT": str(page_port),
        "DATABASE__URL": f"sqlite:///{database}",
        "SERVICES__DEFAULT__NAME": "Example Shop",
        "SERVICES__DEFAULT__CHANNELS": '["telegram", "sms", "email"]',
        "SERVICES__DEFAULT__LIMITS__COOLDOWN": "5",
        # Whoever tries it out has one or two addresses, and would soon have met the limits of both.
        "SERVICES__DEFAULT__LIMITS__SENDS_PER_10M": "0",
        "SERVICES__DEFAULT__LIMITS__SENDS_PER_HOUR": "0",
        "SERVICES__DEFAULT__LIMITS__SENDS_PER_DAY": "0",
        "SERVICES__DEFAULT__LIMITS__GUESSES_PER_HOUR": "200",
        "SERVICES__DEFAULT__LIMITS__GUESSES_PER_DAY": "400",
        "SERVICES__DEFAULT__LIMITS__PREFIX_PER_HOUR": "0",
        "CHANNELS__SMS__ADAPTER": "sms",
        "CHANNELS__SMS__ACCOUNT_SID": sandbox.twilio.account_sid,
        "CHANNELS__SMS__AUTH_TOKEN": sandbox.twilio.auth_token,
        "CHANNELS__SMS__FROM": "+15005550006",
        "CHANNELS__SMS__BASE_URL": sandbox.twilio.base_url,
        "CHANNELS__EMAIL__ADAPTER": "email",
        "CHANNELS__EMAIL__HOST": sandbox.smtp.host,
        "CHANNELS__EMAIL__PORT": str(sandbox.smtp.port),
        "CHANNELS__EMAIL__TLS": "none",
        "CHANNELS__EMAIL__FROM": "codes@example.com",
        "CHANNELS__EMAIL__DSN": "true",
        "CHANNELS__EMAIL__BOUNCE_TOKEN": secrets.token_urlsafe(24),
        "CHANNELS__TELEGRAM__ADAPTER": "telegram",
        "CHANNELS__TELEGRAM__TOKEN": sandbox.telegram.token,
        "CHANNELS__TELEGRAM__BASE_URL": sandbox.telegram.base_url,
    }
    return load_settings(shipped("config.toml"), {f"OTP_GATEWAY_{name}": value for name, value in values.items()})


class Caller:
    """An application that uses the gateway, by HTTP alone. Raises ``ActError`` (502) where nobody answers."""

    def __init__(self, session: aiohttp.ClientSession, key: str) -> None:
        self._session = session
        #: Its API key.
        self.key = key

    async def post(self, path: str, body: Mapping[str, Any]) -> Answered:
        """Send a request and return the answer, whatever it is."""
        return await self._answered("POST", path, body)

    async def get(self, path: str) -> Answered:
        """Fetch and return the answer, whatever it is."""
        return await self._answered("GET", path, None)

    async def _answered(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answered:
        try:
            async with self._session.request(method, path, json=body) as answer:
                return Answered(answer.status, await answer.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            raise ActError(502, "The gateway does not answer.") from None


@dataclass(frozen=True, slots=True)
class Page:
    """The page while it is open."""

    #: Where a browser finds it.
    url: str
    #: The application it acts as.
    caller: Caller = field(repr=False)


def servers(settings: SandboxSettings) -> Sandbox:
    """Return the servers ``[sandbox]`` asks for, to be opened; the page's port comes before theirs."""
    first = settings.port and settings.port + 1
    ports = (first, first and first + 1, first and first + 2)
    return Sandbox(magic_addresses=True, host=settings.host, ports=ports, allow_remote=settings.allow_remote)


@asynccontextmanager
async def opened_servers(settings: SandboxSettings) -> AsyncIterator[Sandbox]:
    """Open the servers ``[sandbox]`` asks for. Raises ``ConfigError`` where a port is taken."""
    async with AsyncExitStack() as stack:
        yield await _entered(stack, servers(settings), settings)


@asynccontextmanager
async def sandboxed(
    settings: Settings,
    sandbox: Sandbox,
    listener: socket.socket,
    *,
    on_commit: Callable[[Sequence[object]], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Page]:
    """Run and serve a gateway whose providers are ``sandbox``, and the page beside it; ``tell`` is as ``running`` has it.

    Raises what ``running`` does, and ``ConfigError`` where the page's port is taken.
    """
    feed = Feed()

    def heard(notes: Sequence[object]) -> None:
        on_commit(notes)
        feed.hear(notes)

    sandbox.smtp.reports_to = _reports_to(settings, _url(listener))
    async with (
        running(settings, on_commit=heard, tell=tell, sandbox=True) as gateway,
        serving(gateway, settings.server, listener),
        page(settings, gateway, sandbox, feed, url=_url(listener)) as opened,
    ):
        yield opened


@asynccontextmanager
async def page(settings: Settings, gateway: Gateway, sandbox: Sandbox, feed: Feed, *, url: str) -> AsyncIterator[Page]:
    """Open the page for a gateway that is served at ``url``, with a key of its own that ends with it.

    ``feed`` is what the gateway was given as ``on_commit``. Raises ``ConfigError`` where the port is taken.
    """
    key = await gateway.keys.create(SERVICE, "sandbox page")
    service, place = settings.services[SERVICE], settings.sandbox
    async with AsyncExitStack() as stack:
        stack.push_async_callback(gateway.keys.revoke, key.split("_")[1])
        session = aiohttp.ClientSession(
            url, headers={"Authorization": f"Bearer {key}"}, timeout=aiohttp.ClientTimeout(total=PATIENCE)
        )
        caller = Caller(await stack.enter_async_context(session), key)
        scenes = Scenes(sandbox, feed, caller, About(url, service.name, service.channels))
        site = Site(scenes, host=place.host, port=place.port, allow_remote=place.allow_remote)
        yield Page((await _entered(stack, site, place)).base_url, caller)


def _reports_to(settings: Settings, url: str) -> ReportsTo | None:
    """Return where the sandbox's mail server reports to; ``None`` where the gateway would take no report."""
    mail = settings.channels.get("email")
    token = mail and mail.options.get("bounce_token")
    return ReportsTo(f"{url}/callbacks/email", token) if isinstance(token, str) else None


async def _entered(stack: AsyncExitStack, server: AbstractAsyncContextManager[_T], settings: SandboxSettings) -> _T:
    """Open a server until ``stack`` ends. Raises ``ConfigError`` where its port is taken."""
    try:
        return await stack.enter_async_context(server)
    except OSError as error:
        place = f"{settings.host}:{settings.port} or one of the next three"
        raise ConfigError([f"[sandbox] host, port: {place} cannot be listened on: {error.strerror}"]) from None


def _url(listener: socket.socket) -> str:
    """Return where this machine reaches what listens."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
