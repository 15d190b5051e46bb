"""The statements on ``service_key``."""

from __future__ import annotations

from typing import Final

from gateway.storage import models
from gateway.storage.statement import Statement, insert_into

INSERT = insert_into(models.ServiceKey)
REVOKE = Statement(
    "service_key.revoke",
    {"id": "text", "at": "double precision"},
    """UPDATE service_key SET revoked_at = r.at FROM r WHERE service_key.id = r.id AND service_key.revoked_at IS NULL
    RETURNING service_key.id""",
    key=(0,),
)
#: A key ends at a time, unless it ends before.
END = Statement(
    "service_key.end",
    {"id": "text", "at": "double precision"},
    """UPDATE service_key SET expires_at = r.at FROM r WHERE service_key.id = r.id AND service_key.revoked_at IS NULL
        AND (service_key.expires_at IS NULL OR service_key.expires_at > r.at)""",
)
USED = Statement(
    "service_key.used",
    {"id": "text", "at": "double precision"},
    """UPDATE service_key SET used_at = r.at FROM r WHERE service_key.id = r.id
        AND (service_key.used_at IS NULL OR service_key.used_at < r.at)""",
)
_COLUMNS: Final = "id, service, name, created_at, revoked_at, scopes, expires_at, networks, used_at, lifetime"
_IS_LIVE: Final = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)"
LIST = f"""SELECT {_COLUMNS} FROM service_key
    WHERE (CAST(:service AS text) = '' OR service = :service) ORDER BY service, created_at, id"""  # noqa: S608 - names of our own
_KEPT: Final = "id, service, secret_hash, scopes, expires_at, networks, revoked_at"
LIVE = f"SELECT {_KEPT} FROM service_key WHERE {_IS_LIVE}"  # noqa: S608 - the same
#: Live or not: of one that is over the log says so.
ONE = f"SELECT {_KEPT} FROM service_key WHERE id = :id"  # noqa: S608 - the same
VIEW = f"SELECT {_COLUMNS} FROM service_key WHERE id = :id"  # noqa: S608 - the same
EXISTS = "SELECT 1 FROM service_key WHERE id = :id"
#: The live keys of one name, their rows locked: of two who make a third at once, the second sees the first's.
HOLD_NAME = f"""UPDATE service_key SET name = name WHERE service = :service AND name = :name AND {_IS_LIVE}
    RETURNING id"""  # noqa: S608 - the same
NAMED = f"SELECT id FROM service_key WHERE service = :service AND name = :name AND {_IS_LIVE}"  # noqa: S608 - the same
