"""Fixed windows: the rule by which everything here is counted, in plain Python and as fragments of the same in SQL.

A window begins with the first thing that is counted in it and ends so many seconds later, whatever follows; a request
that is refused is not counted and so begins and prolongs nothing. Times are seconds since the Unix epoch.
"""

from __future__ import annotations

from typing import Final

from gateway.value import Value

#: Seconds of the windows there are.
TEN_MINUTES: Final = 600.0
HOUR: Final = 3600.0
DAY: Final = 86_400.0

#: What a limit of 0 is compared with: more than anybody can reach, and far from what a bigint holds.
OFF: Final = 1 << 40

#: Wrong codes in a row, over all services, after which a recipient is sent one code a day
#: (NIST SP 800-63B-4, 3.2.2: no more than 100 consecutive failed attempts).
MOST_WRONG: Final = 100
#: Sends to a block of numbers from which on its approvals are looked at, and the part of them below which it rests.
BLOCK_SENDS: Final = 20
BLOCK_PART: Final = 10
#: Seconds after its end for which a verification still holds its checks back: nodes' clocks may differ by as much.
APART: Final = 2.0
#: Seconds a block of numbers rests.
REST: Final = HOUR
#: Latest codes of a recipient that a new one must differ from, and the seconds they are remembered for.
LATEST_CODES: Final = 5
CODES_KEPT: Final = DAY
#: Seconds that wrong codes in a row are remembered for after the last of them, and that a context stays trusted.
WRONG_KEPT: Final = 30 * DAY
TRUSTED_FOR: Final = 30 * DAY


class Window(Value, frozen=True):
    """A count and when it ends to count; the window a new row begins with has ended."""

    count: int = 0
    until: float = 0.0

    def at(self, now: float) -> int:
        """Return what is counted at ``now``."""
        return self.count if self.until > now else 0

    def claimed(self, now: float, length: float) -> Window:
        """Return the window after one more at ``now``; ``length`` is in seconds."""
        return Window(self.count + 1, self.until) if self.until > now else Window(1, now + length)

    def given_back(self, at: float, length: float) -> Window:
        """Return the window without one that was counted at ``at``, if it is the window of then."""
        if not (self.count > 0 and at < self.until <= at + length):
            return self
        # Without anything in it, it has never begun.
        return Window(self.count - 1, self.until) if self.count > 1 else Window(0, at)


def quota(limit: int) -> int:
    """Return what a count is compared with: the limit, where 0 switches it off."""
    return limit or OFF


def rests(sends: int, approved: int) -> bool:
    """Whether so few of the sends to a block of numbers were approved that it is to rest: fewer than a tenth of 20."""
    return sends >= BLOCK_SENDS and approved * BLOCK_PART < sends


def running(window: str, now: str) -> str:
    """Return the SQL for what is counted at ``now`` in a window: a column, ended by the column ``<name>_until``."""
    return f"CASE WHEN {window}_until > {now} THEN {window} ELSE 0 END"


def one_more(window: str, now: str, length: float) -> str:
    """Return the SQL for a window's new count and its end, as two values, after one more at ``now``."""
    begins = f"CASE WHEN {window}_until > {now} THEN {window}_until ELSE {now} + {length} END"
    return f"{running(window, now)} + 1, {begins}"


def taken_back(window: str, table: str, length: float, *, only: str = "1 = 1") -> str:
    """Return the SQL that takes from a window what was counted at ``r.at``, if it is the window of then and ``only``.

    ``r`` may have several rows of one ``hash``: PostgreSQL writes a row once in a statement, so they are counted.
    """
    then = f"{only} AND {window} > 0 AND {window}_until > r.at AND {window}_until <= r.at + {length}"
    rows = f"FROM r WHERE r.hash = {table}.hash AND {then}"
    number = f"(SELECT COUNT(*) {rows})"
    return f"""{window} = CASE WHEN {window} > {number} THEN {window} - {number} ELSE 0 END,
        {window}_until = CASE WHEN {window} > 0 AND {window} <= {number} THEN (SELECT MAX(r.at) {rows})
            ELSE {window}_until END"""
