"""How much is in the queue and what became of messages: counted in the database, beside the writer, within bounds."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Final

from gateway.clock import Clock
from gateway.errors import loudness
from gateway.storage.database import Database
from gateway.storage.unit import StorageError
from gateway.value import Value

_log = logging.getLogger(__name__)

#: Seconds between two looks of one node; each is a handful of look-ups in indexes.
LOOK: Final = 5.0
#: Seconds after which a look that has not come back says that the database is away. A healthy one takes milliseconds.
SLOW: Final = 2.0
#: Up to how many rows are counted one by one: beyond, "many" is all a graph needs, and a count would not stay cheap.
COUNTED: Final = 10_000

#: By the index of what is queued: the rows of a channel up to a bound, and the first of each service.
_QUEUED: Final = f"""WITH c(channel) AS (VALUES {{channels}}), s(service) AS (VALUES {{services}})
    SELECT c.channel AS channel,
        (SELECT count(*) FROM (SELECT 1 FROM message
            WHERE message.status = 'queued' AND message.channel = c.channel LIMIT {COUNTED}) few) AS queued,
        (SELECT min(first.due_at) FROM (SELECT (SELECT min(message.due_at) FROM message
            WHERE message.status = 'queued' AND message.channel = c.channel AND message.service = s.service)
            AS due_at FROM s) first) AS due_at
    FROM c"""  # noqa: S608 - a number of our own and the names of values, which are bound
#: By the index of what is under way, which is never more than the nodes send at once.
_SENDING: Final = f"""SELECT few.channel AS channel, count(*) AS sending FROM (SELECT channel FROM message
    WHERE status = 'sending' ORDER BY due_at LIMIT {COUNTED}) few GROUP BY few.channel"""  # noqa: S608 - the same
_WEBHOOKS: Final = f"""WITH s(service) AS (VALUES {{services}})
    SELECT (SELECT count(*) FROM (SELECT 1 FROM webhook WHERE status = 'pending' ORDER BY service LIMIT {COUNTED}) few)
        AS pending,
        (SELECT min(first.due_at) FROM (SELECT (SELECT min(webhook.due_at) FROM webhook
            WHERE webhook.status = 'pending' AND webhook.service = s.service) AS due_at FROM s) first) AS due_at"""  # noqa: S608 - the same
#: By the primary key, which begins with the time.
_OUTCOMES: Final = """SELECT channel, status, count(*) AS number FROM message
    WHERE id >= :floor GROUP BY channel, status"""


class Standing(Value, frozen=True):
    """How the queue of one channel stands."""

    #: Messages to be sent, those held by a node for it included; ``COUNTED`` means that many or more.
    queued: int = 0
    #: Attempts under way.
    sending: int = 0
    #: Seconds for which the message that has been due longest is due; 0 where none is.
    oldest: float = 0.0


class Counted(Value, frozen=True):
    """What one look found."""

    #: When it was, in seconds since the Unix epoch; 0 before the first.
    at: float = 0.0
    channels: Mapping[str, Standing] = {}
    #: Webhooks still to be delivered, those between two tries included; ``COUNTED`` means that many or more.
    webhooks: int = 0
    #: Seconds for which the webhook that has been due longest is due; 0 where none is.
    webhook_lag: float = 0.0


class Census:
    """Looks at the database and keeps what it found.

    ``channels`` and ``services`` are the configured names: what waits for another one is not found.
    """

    def __init__(
        self, database: Database, clock: Clock, *, channels: Collection[str], services: Collection[str]
    ) -> None:
        self._database = database
        self._clock = clock
        self._channels = sorted(channels)
        self._services = sorted(services)
        self._latest = Counted(channels={channel: Standing() for channel in self._channels})
        self._reached = False
        #: When the look under way began, in monotonic seconds.
        self._begun: float | None = None

    @property
    def latest(self) -> Counted:
        """What the last look that succeeded found."""
        return self._latest

    @property
    def answered(self) -> bool:
        """Whether the last look succeeded, and none has been under way for too long."""
        late = self._begun is not None and self._clock.monotonic() - self._begun > SLOW
        return self._reached and not late

    async def look(self) -> None:
        """Look once: a duty, done every ``LOOK`` seconds. A database that is away is remembered as that."""
        self._begun = self._clock.monotonic()
        try:
            self._latest = await self.count()
        except StorageError as error:
            if self._reached:
                _log.log(loudness(error), "the queue cannot be counted: %s", error)
            self._reached = False
        else:
            self._reached = True
        finally:
            self._begun = None

    async def count(self) -> Counted:
        """Count now. Raises ``StorageError``."""
        now = self._clock.now()
        if not (self._channels and self._services):
            return Counted(at=now)
        channels, named = _values("channel", self._channels)
        services, meant = _values("service", self._services)
        fetch = self._database.fetch
        queued = await fetch(_QUEUED.format(channels=channels, services=services), **named, **meant)
        sending = {record["channel"]: record["sending"] for record in await fetch(_SENDING)}
        webhooks = (await fetch(_WEBHOOKS.format(services=services), **meant))[0]
        found = {
            record["channel"]: Standing(
                record["queued"], sending.get(record["channel"], 0), _overdue(record["due_at"], now)
            )
            for record in queued
        }
        return Counted(now, found, webhooks["pending"], _overdue(webhooks["due_at"], now))

    async def outcomes(self, seconds: float) -> dict[str, dict[str, int]]:
        """Return the numbers of the messages made in the last ``seconds``, by channel and by status as it is now.

        It reads them all. Raises ``StorageError``.
        """
        floor = f"msg_{int(max(self._clock.now() - seconds, 0.0) * 1000):012x}"
        found: dict[str, dict[str, int]] = {channel: {} for channel in self._channels}
        for record in await self._database.fetch(_OUTCOMES, floor=floor):
            found.setdefault(record["channel"], {})[record["status"]] = record["number"]
        return found


def _values(name: str, given: Collection[str]) -> tuple[str, dict[str, str]]:
    """Return rows for VALUES, each a named value (``channel``, ``channel_`` and so on), and the values."""
    named = {f"{name}{'_' * place}": value for place, value in enumerate(given)}
    return ", ".join(f"(CAST(:{key} AS text))" for key in named), named


def _overdue(due_at: float | None, now: float) -> float:
    return 0.0 if due_at is None else max(0.0, now - due_at)
