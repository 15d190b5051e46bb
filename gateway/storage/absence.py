"""Absence: the database is away. Told when it begins, once a minute while it lasts, and when it is over.

Whatever needs the database fails meanwhile, again and again and in dozens of places, none of which knows more than that.
The line an operator needs would be lost among theirs; so a failure is marked here as ``told``, and whoever logs it goes
by ``loudness``. Each node tells for itself: what one cannot reach another may.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeVar

from gateway.storage.unit import (
    StorageContendedError,
    StorageDamagedError,
    StorageError,
    StorageInterruptedError,
    StorageUnavailableError,
)

T = TypeVar("T")

#: What is done with the database. A full disk or a stand-by can be read and not written.
Part = Literal["read", "written"]

_log = logging.getLogger(__name__)

#: Seconds between two tellings while it lasts.
REMINDER: Final = 60.0
#: Seconds in which nothing failed, after which it is over: a full disk takes a short write now and then, and a server
#: without free connections some reads, and each would be an end and a begin.
QUIET: Final = 3.0
#: Seconds from which on a failure is slow. Where others that began after it worked, it was the statement's own.
SLOW: Final = 1.0

_MEANING: Final = "requests that need it are answered 503, no code is sent, and what was taken on is kept"


class Absence:
    """Knows whether one database is away, from how each use of it went. ``monotonic`` returns seconds that never jump.

    ``where`` names the database to an operator, without a password; ``remedy`` says what they should look at.
    """

    def __init__(self, where: str, remedy: str, monotonic: Callable[[], float]) -> None:
        self._where = where
        self._remedy = remedy
        self._monotonic = monotonic
        #: What failed last and has not worked since.
        self._failing: set[Part] = set()
        #: When what worked last had begun.
        self._worked: dict[Part, float] = {"read": float("-inf"), "written": float("-inf")}
        #: Since when it is away, if it is, and when that was told last.
        self._since: float | None = None
        self._told_at = 0.0
        #: When all of it worked again, the last time.
        self._well_at = float("-inf")

    @property
    def away(self) -> bool:
        """Whether the database is away."""
        return self._since is not None

    async def watched(self, part: Part, use: Awaitable[T]) -> T:
        """Return what a use of the database does, and reckon with how it went. Raises what it raises."""
        began = self._monotonic()
        try:
            value = await use
        except StorageError as error:
            self._failed(part, error, began)
            raise
        if began > self._worked[part]:
            self._worked[part] = began
        if self._since is not None:
            self._mend(part, self._since)
        return value

    def _failed(self, part: Part, error: StorageError, began: float) -> None:
        # Where another was in the way, or a value was refused, the database has answered.
        if not isinstance(error, StorageUnavailableError) or isinstance(error, StorageContendedError):
            return
        now = self._monotonic()
        if began < self._well_at:
            # It waited for what is over: a time-out on a connection of before.
            error.told = True
            return
        if self._since is None and (isinstance(error, StorageInterruptedError) or self._was_alone(part, began, now)):
            return
        error.told = True
        self._failing.add(part)
        if self._since is None:
            self._since = self._told_at = now
            _log.error("the database is away: %s", self._sentence(error))
        elif now - self._told_at >= REMINDER:
            self._told_at = now
            _log.error("the database is still away, for %.0f s: %s", now - self._since, self._sentence(error))

    def _was_alone(self, part: Part, began: float, now: float) -> bool:
        return now - began >= SLOW and self._worked[part] > began

    def _mend(self, part: Part, since: float) -> None:
        now = self._monotonic()
        if self._failing:
            self._failing.discard(part)
            if not self._failing:
                self._well_at = now
        elif now - self._well_at >= QUIET:
            self._since = None
            _log.info("the database is back after %.1f s: %s", self._well_at - since, self._where)

    def _sentence(self, error: StorageUnavailableError) -> str:
        # Its text begins with the engine's name, which ``where`` has as well.
        why = str(error).partition(": ")[2] or str(error)
        lost = " and ".join(sorted(self._failing))
        # What to do about a damaged file stands in the error's own text.
        remedy = "" if isinstance(error, StorageDamagedError) else f": {self._remedy}"
        return f"{self._where} cannot be {lost} ({why}); {_MEANING}; it is tried again all the time{remedy}"
