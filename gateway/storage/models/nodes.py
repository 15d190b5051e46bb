"""What nodes share: who does what, how fast, and a secret they made."""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import SQLModel

from gateway.storage.models.columns import blob, hash_key, key, string, time


class Lease(SQLModel, table=True):
    """Which node does what only one may do: poll a bot, keep house."""

    name: str = key()
    node: str = string()
    until: float = time()


class Secret(SQLModel, table=True):
    """A key the gateway made for itself, sealed by the ring: the one behind look-up hashes."""

    name: str = key()
    sealed: bytes = blob()
    created_at: float = time()


class Share(SQLModel, table=True):
    """A node's part of the sends a channel may start per second; all nodes together stay within its rate."""

    channel: str = key()
    node: str = key()
    #: Starts per second.
    amount: float = time()
    until: float = time()


class Pause(SQLModel, table=True):
    """Until when no node may send by a channel: its provider asked for it."""

    channel: str = key()
    until: float = time()


class Turn(SQLModel, table=True):
    """From when a recipient of a channel may be sent to again."""

    __table_args__ = (Index("ix_turn_at", "at"),)

    channel: str = key()
    #: Keyed hash of the address.
    hash: bytes = hash_key()
    at: float = time()
