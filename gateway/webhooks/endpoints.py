"""The services' receivers: where they are, what signs for them, and which of them want no more webhooks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from gateway.config import Settings
from gateway.config.webhook_secret import parse_webhook_secret
from gateway.errors import ConfigError
from gateway.events.event import EventName, event, recorded
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.statement import insert_into
from gateway.value import Value
from gateway.webhooks.addresses import url_fault

# A second node that hears the same of the same URL changes nothing, and no second event tells of it.
_DISABLE = insert_into(
    models.Endpoint,
    conflict="""ON CONFLICT (service) DO UPDATE SET url_hash = excluded.url_hash, disabled_at = excluded.disabled_at,
        reason = excluded.reason WHERE endpoint.url_hash <> excluded.url_hash""",
    key=("service",),
)
_ENABLE: Final = "DELETE FROM endpoint WHERE service = :service RETURNING service"
_DISABLED: Final = "SELECT service, url_hash, disabled_at, reason FROM endpoint"


class Endpoint(Value, frozen=True):
    """A service's receiver."""

    #: A URL may hold a token of the receiver's.
    hidden = frozenset({"url", "secrets"})

    service: str
    url: str
    #: What signs: every one of them, the first first.
    secrets: tuple[bytes, ...]

    @property
    def url_hash(self) -> bytes:
        """SHA-256 of the URL: another URL is another receiver."""
        return hashlib.sha256(self.url.encode()).digest()


class Disabled(Value, frozen=True):
    """That a receiver wants no more."""

    service: str
    #: Seconds since the Unix epoch.
    at: float
    reason: str


def endpoints_of(settings: Settings) -> dict[str, Endpoint]:
    """Return the receivers by service. Raises ``ConfigError`` where webhooks cannot go to one's URL.

    Without TLS they go where ``[webhooks] allow_private`` says so, or where the gateway itself is this machine's alone.
    """
    private = settings.webhooks.allow_private
    faults, found = [], {}
    for name, service in settings.services.items():
        if service.webhook_url is None:
            continue
        fault = url_fault(service.webhook_url, private=private, http=private or settings.server.loopback)
        if fault is not None:
            faults.append(f"{settings.place(('services', name, 'webhook_url'))}: {fault}")
        secrets = tuple(parse_webhook_secret(secret.get_secret_value()) for secret in service.webhook_secret)
        found[name] = Endpoint(name, service.webhook_url, secrets)
    if faults:
        raise ConfigError(faults, read_from=settings.read_from)
    return found


class Endpoints:
    """Which receivers want no more, for every node. All methods raise ``StorageError``."""

    def __init__(self, database: Database, endpoints: Mapping[str, Endpoint]) -> None:
        self._database = database
        self._endpoints = endpoints

    async def disabled(self) -> dict[str, Disabled]:
        """Return, by service, the receivers that want no more at the URL that is configured now."""
        return {
            found["service"]: Disabled(found["service"], found["disabled_at"], found["reason"])
            for found in await self._database.fetch(_DISABLED)
            if (endpoint := self._endpoints.get(found["service"])) and endpoint.url_hash == found["url_hash"]
        }

    async def disable(self, endpoint: Endpoint, reason: str, now: float) -> bool:
        """Write down, with its event, that a receiver wants no more; return whether it was not known yet."""
        told = event(EventName.WEBHOOK_DISABLED, now, endpoint.service, reason=reason)
        row = (endpoint.service, endpoint.url_hash, now, reason)
        return await self._database.write(recorded((_DISABLE, row), (), (told,)))

    async def enable(self, service: str) -> None:
        """Let a receiver be told again."""
        await self._database.run(lambda connection: connection.fetch(_ENABLE, service=service))
