"""Binding: ties a code to what it is for, so that a code given for one thing approves no other.

What a verification is bound to (a session, an amount, a payee) is hashed into its row; a check must bring the same. Until
its end it is also kept sealed, for what its messages show of it (transaction signing: PSD2, RTS article 5).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Mapping
from typing import Final

import orjson

from gateway.delivery.payload import Owner, open_bind, seal_bind
from gateway.storage.sealing import Hasher, Sealer, UnsealError
from gateway.storage.unit import Record

_log = logging.getLogger(__name__)

#: The name under which a verification is bound to a session, with which it ends.
SESSION: Final = "session"

#: What is kept of it in a verification's row: ``bind_sealed``, ``bind_hash``, ``session_hash``.
Columns = tuple[bytes | None, bytes | None, bytes | None]


def canonical(bind: Mapping[str, str]) -> str:
    """Return what a verification is bound to as JSON that does not depend on the order of its names (RFC 8785)."""
    # Names are ASCII, so their order by code points is the one by UTF-16 that the RFC asks for.
    return orjson.dumps(dict(bind), option=orjson.OPT_SORT_KEYS).decode()


def columns(hasher: Hasher, sealer: Sealer, owner: Owner, bind: Mapping[str, str]) -> Columns:
    """Return what a new verification's row holds of it; nothing where it is bound to nothing."""
    if not bind:
        return None, None, None
    session = bind.get(SESSION)
    kept = None if session is None else session_hash(hasher, owner.service, session)
    return seal_bind(sealer, owner, bind), _hash(hasher, owner.id, bind), kept


def same(hasher: Hasher, verification_id: str, kept: bytes | None, given: Mapping[str, str]) -> bool:
    """Whether ``given`` is what a verification is bound to, ``kept`` being the hash in its row.

    In a time that says nothing of where they differ.
    """
    if kept is None:
        return not given
    return hmac.compare_digest(_hash(hasher, verification_id, given), kept)


def session_hash(hasher: Hasher, service: str, session: str) -> bytes:
    """Return 32 bytes that stand for a session of a service."""
    return hasher.hash("session", f"{service}\0{session}")


def shown(bind: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return what a person is shown before they say yes in a chat: all but the session, which tells them nothing."""
    return tuple((name, value) for name, value in bind.items() if name != SESSION)


def opened(sealer: Sealer, record: Record) -> dict[str, str] | None:
    """Return what a pending verification is bound to; ``None`` where nobody can tell, for its key is gone."""
    owner = Owner(record["id"], record["service"], record["purpose"])
    try:
        return open_bind(sealer, owner, record["bind_sealed"])
    except UnsealError as error:
        _log.error("what a verification is bound to cannot be opened: %s", error, extra={"verification_id": owner.id})
        return None


def fingerprint(bind: Mapping[str, str]) -> str:
    """Return the SHA-256 of the canonical JSON in base64url without padding: a proof's claim ``bind``.

    It has no key, so that whoever knows what was bound can compute it.
    """
    digest = hashlib.sha256(canonical(bind).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _hash(hasher: Hasher, verification_id: str, bind: Mapping[str, str]) -> bytes:
    return hasher.hash("bind", verification_id + canonical(bind))
