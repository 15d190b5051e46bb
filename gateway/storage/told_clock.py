"""What time it is for the node that runs on a SQLite file: a row that tells how its clock stands to the seconds since boot."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: Names this boot of the machine (random(4)): seconds since another one say nothing.
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")

#: Tells it, by ``boot`` and ``offset``: seconds since the Unix epoch less those since the boot.
TELL: Final = """INSERT INTO lease (name, node, until) VALUES ('clock', :boot, :offset)
    ON CONFLICT (name) DO UPDATE SET node = excluded.node, until = excluded.until RETURNING name"""
#: Finds the offset as ``until``, by ``boot`` and ``elapsed``, the seconds since it; where a node still lives by it, as its
#: ring tells (``rings.py``).
TOLD: Final = """SELECT c.until FROM lease c WHERE c.name = 'clock' AND c.node = :boot AND EXISTS
    (SELECT 1 FROM lease r WHERE r.name >= 'ring/' AND r.name < 'ring0' AND r.name NOT LIKE 'ring/send/%'
        AND r.until > c.until + :elapsed)"""


def boot() -> str:
    """Return what this boot of the machine is called; nothing on a system that does not name its boots."""
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""
