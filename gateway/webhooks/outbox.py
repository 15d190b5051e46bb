"""The outbox: what applications are told, written in the transaction of the move it tells of.

Where a move is committed its webhooks are, and where it is rolled back none was ever there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.events.event import Event
from gateway.storage import models
from gateway.storage.statement import insert_into
from gateway.storage.unit import Write
from gateway.webhooks.payloads import Notice, notices
from gateway.webhooks.rows import WebhookStatus

# What is told once of a verification has one id whoever writes it: of two, also of one batch or of two nodes, the first
# stays. In the order of the ids, so that two nodes never wait for each other's rows crosswise.
_INSERT = insert_into(models.Webhook, conflict="ORDER BY id, created_at ON CONFLICT (id) DO NOTHING")


class Outbox:
    """Makes webhooks of events. ``services`` are those with an endpoint."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = frozenset(services)

    def alongside(self, notes: Sequence[object]) -> Sequence[Write]:
        """Return the webhooks of what a move notes, to be written with it: the database's ``alongside``."""
        return [
            (_INSERT, _row(note, notice))
            for note in notes
            if isinstance(note, Event) and note.service in self._services
            for notice in notices(note)
        ]


def _row(event: Event, notice: Notice) -> tuple[object, ...]:
    return (
        notice.id,
        event.service,
        notice.name,
        event.verification_id,
        notice.body,
        WebhookStatus.PENDING.value,
        0,
        event.at,
        "",
        event.at,
        None,
        None,
        None,
    )
