"""Other nodes on a SQLite file, which is made for one: whoever runs two of them is told.

Every node renews what it holds in ``lease``: who keeps house each 5 s, its ring each 20 s. A node that was killed leaves
rows that nobody renews any more, and the one that is started again in its place must not be told of it. So a row is a
node's only once it was seen to change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from gateway.storage.database import Database
from gateway.storage.rings import SEND

_log = logging.getLogger(__name__)

#: Seconds between looks: as often as who keeps house renews that.
LOOK: Final = 5.0

_HELD: Final = """SELECT name, node, until FROM lease
    WHERE name = 'house' AND node <> :node OR name >= 'ring/' AND name < 'ring0' AND name <> :ring ORDER BY name"""

Row = tuple[str, str]


class Neighbours:
    """Looks for other nodes on one node's file; ``tell`` is given a sentence for the operator, once for each."""

    def __init__(self, database: Database, node: str, tell: Callable[[str], None]) -> None:
        self._database = database
        self._node = node
        self._tell = tell
        #: Until when each row of another node held, when it was looked at last; ``None`` before the first look.
        self._seen: dict[Row, float] | None = None
        self._told: set[str] = set()

    async def look(self) -> None:
        """Look who else works here, and tell of it. Raises ``StorageError``."""
        found = {
            (item["name"], item["node"]): item["until"]
            for item in await self._database.fetch(_HELD, node=self._node, ring=f"ring/{self._node}")
            # Commands that write seal here too, for as long as they take.
            if not item["name"].startswith(f"ring/{SEND}")
        }
        if self._seen is not None:
            changed = [row for row, until in found.items() if self._seen.get(row) != until]
            # By its ring or by its keeping house, whichever is seen first: it is one node.
            for name in sorted({_node_of(row) for row in changed} - self._told):
                self._told.add(name)
                self._warn()
        self._seen = found

    def _warn(self) -> None:
        told = (
            "another node works on the same SQLite file, which is made for one: each keeps rates, pauses and allowances by "
            "itself, so more is sent than is set; stop one of them, or use PostgreSQL"
        )
        _log.warning("%s", told)
        self._tell(told)


def _node_of(row: Row) -> str:
    name, node = row
    return node if name == "house" else name.removeprefix("ring/")
