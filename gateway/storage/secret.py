"""The key behind look-up hashes: made once for a database, kept in it, sealed by the ring. So a database is that ring's.

It must never rotate with the ring, or every limit and look-up would forget everybody; and every node must have the
same one. Who holds the database alone cannot open it.
"""

from __future__ import annotations

import secrets
from typing import Final

from gateway.errors import ConfigError
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer, UnsealError, key_id
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Connection, Move

_NAME = "index"
_PLACE = "secret.index"
_BYTES = 32
_FIND = "SELECT sealed FROM secret WHERE name = :name"
#: Finds the sealed index key for ``unopened``, where there is one.
FIND: Final = "SELECT sealed FROM secret WHERE name = 'index'"
_RESEAL = Statement(
    "secret.reseal",
    {"name": "text", "sealed": "bytea"},
    "UPDATE secret SET sealed = r.sealed FROM r WHERE secret.name = r.name",
)
_INSERT = insert_into(models.Secret, conflict="ON CONFLICT (name) DO NOTHING")


async def index_key(database: Database, sealer: Sealer, now: float, *, reseal: bool) -> bytes:
    """Return the database's index key, 32 bytes, made now if there is none yet.

    ``reseal``: by the ring's first key, where another one sealed it. For nodes alone, of which whoever drops a key knows
    by which they seal: a command that still had the ring of before would seal it by the key that was dropped.

    Raises ``ConfigError`` where the ring does not open this database: the wrong keys would lose everything in it.
    """

    async def work(connection: Connection) -> bytes:
        if not await connection.fetch(_FIND, name=_NAME):
            sealed = sealer.seal(secrets.token_bytes(_BYTES), _PLACE)
            await connection.apply(Move(None, [(_INSERT, (_NAME, sealed, now))]))
        found = await connection.fetch(_FIND, name=_NAME)
        blob: bytes = found[0]["sealed"]
        return blob

    blob = await database.run(work)
    key = _opened(sealer, blob)
    if reseal and not sealer.is_current(blob):
        # A key that is to leave the ring must not be the only one that opens this.
        await database.write(Move(None, [(_RESEAL, (_NAME, sealer.seal(key, _PLACE)))]))
    return key


async def found_key(database: Database, sealer: Sealer) -> bytes:
    """Return the database's index key; where there is none yet, another that is kept nowhere: there is nothing to look up.

    For who only reads: a look with the wrong keys would make the database theirs. Raises ``ConfigError`` as ``index_key``.
    """
    found = await database.fetch(_FIND, name=_NAME)
    return _opened(sealer, found[0]["sealed"]) if found else secrets.token_bytes(_BYTES)


def unopened(sealer: Sealer, sealed: bytes) -> str | None:
    """Say why a ring does not open the database whose index key is ``sealed``, and what to do; ``None`` where it does."""
    try:
        sealer.open(sealed, _PLACE)
    except UnsealError:
        name, ours = key_id(sealed), ", ".join(sealer.ids)
        why = f"its {name} is another key than yours" if name in sealer.ids else f"its key is {name}, yours {ours}"
        return f"another ring sealed this database: {why}; give it the keys it was made with"
    return None


def _opened(sealer: Sealer, sealed: bytes) -> bytes:
    if (fault := unopened(sealer, sealed)) is not None:
        raise ConfigError([f"[secrets] keys: {fault}"])
    return sealer.open(sealed, _PLACE)
