"""References: addresses that a service gives its own people. The same one elsewhere is somebody else.

By its plain keyed hash whoever was linked, asked or sent to is found. What is counted against a person is kept by a hash
of the service as well: else the customer 42 of one service would use up what the customer 42 of another may have sent,
and end what was counted against them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

from channels.base import Channel
from channels.kinds import KINDS, reference
from gateway.storage.sealing import Hasher


def own_kinds(channels: Mapping[str, Channel]) -> frozenset[str]:
    """Return the kinds of address that are a service's own reference: another service may mean somebody else by it."""
    shared = {kind for kind, normalize in KINDS.items() if normalize is reference}
    # A bot's first kind is what its subscribers are called by.
    return frozenset(
        shared | {next(iter(bot.kinds)) for bot in channels.values() if bot.needs_subscriber and bot.kinds}
    )


def counted_hash(hasher: Hasher, service: str, reference_hash: bytes) -> bytes:
    """Return what is counted by for a service's reference, from the keyed hash of that."""
    return hasher.hash("reference", f"{service}\0{reference_hash.hex()}")


def counted_as(hasher: Hasher, service: str, hashes: Mapping[str, bytes], own: AbstractSet[str]) -> Mapping[str, bytes]:
    """Return what a service's addresses, their plain hashes given by kind, are counted by; the same where none is its own."""
    if own.isdisjoint(hashes):
        # Most have a number or a mailbox alone.
        return hashes
    return {**hashes, **{kind: counted_hash(hasher, service, hashes[kind]) for kind in own & hashes.keys()}}


def counted_hashes(hasher: Hasher, services: Iterable[str], references: Collection[bytes]) -> list[bytes]:
    """Return the same of several services and references, sorted."""
    return sorted({counted_hash(hasher, service, hashed) for service in services for hashed in references})
