"""A key as it is listed: nothing in it opens anything."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.api.keys import networks, scopes
from gateway.api.keys.networks import Network
from gateway.api.keys.scopes import Scope
from gateway.storage.unit import Record


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key as it is listed: nothing in it opens anything. Times in seconds since the Unix epoch."""

    id: str
    service: str
    #: What an operator calls it.
    name: str
    created_at: float
    revoked_at: float | None
    #: What it may do.
    scopes: frozenset[Scope]
    #: When it ends by itself, or since it was rotated.
    expires_at: float | None
    #: Where it may be used from; ``None`` is everywhere.
    networks: tuple[Network, ...] | None
    #: When it was used last, to the minute and up to a minute late.
    used_at: float | None
    #: Seconds it was made for; ``None`` is without an end.
    lifetime: float | None

    def is_live(self, now: float) -> bool:
        """Whether it opens anything at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


def viewed(record: Record) -> KeyView:
    """Return the key that a row of ``service_key`` is."""
    return KeyView(
        id=record["id"],
        service=record["service"],
        name=record["name"],
        created_at=record["created_at"],
        revoked_at=record["revoked_at"],
        scopes=scopes.read(record["scopes"]),
        expires_at=record["expires_at"],
        networks=networks.read(record["networks"]),
        used_at=record["used_at"],
        lifetime=record["lifetime"],
    )
