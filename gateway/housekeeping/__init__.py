"""House-keeping: what nobody waits for and one node does: ending what is overdue, deleting what is over, clearing logs.

In reading order: ``house`` (who does it and when), ``retention`` (what is deleted when), ``checkpoint`` (SQLite's log).
"""

from __future__ import annotations

from gateway.housekeeping.checkpoint import Checkpoint
from gateway.housekeeping.house import Duty, House
from gateway.housekeeping.retention import Retention

__all__ = ["Checkpoint", "Duty", "House", "Retention"]
