"""Rows of messages that wait, sealed as the gateway seals them, for a table to be filled with."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlmodel import SQLModel

from gateway.delivery.payload import Owner, Stop, seal_code, seal_route
from gateway.storage import models
from gateway.storage.ids import new_id
from gateway.storage.sealing import Sealer
from gateway.storage.statement import Row, columns_of, row_of

#: Seconds the codes live: longer than any run.
_TTL = 7200.0
#: Seconds ago the first one became due.
_DUE = 100.0
_RECIPIENT, _CODE = "p•••@example.org", "123456"
#: Rows made and written at once.
_CHUNK = 10_000


def chunks(sealer: Sealer, channel: str, now: float, count: int) -> Iterator[tuple[list[Row], list[Row]]]:
    """Yield pending verifications and their queued messages of one channel, ``count`` in all, each of another person.

    ``now`` is in seconds since the Unix epoch; the later the higher a message's number, and all are due.
    """
    # One row of each is made by the model, which costs 100 µs, and the others are that one with their own values.
    verification, message = _pattern(channel, now)
    for start in range(0, count, _CHUNK):
        verifications: list[Row] = []
        messages: list[Row] = []
        for number in range(start, min(start + _CHUNK, count)):
            owner = Owner(new_id("ver", now), "default", "verification")
            stops = [Stop(channel, f"person-{number}@example.org", _RECIPIENT, "00" * 32)]
            own = {"route_sealed": seal_route(sealer, owner, stops), "code_sealed": seal_code(sealer, owner, 1, _CODE)}
            verifications.append(tuple({**verification, **own, "id": owner.id}.values()))
            own_message = {
                "id": new_id("msg", now),
                "verification_id": owner.id,
                # The later the higher its number, and all of them in the past.
                "due_at": now - _DUE + number * 1e-6,
            }
            messages.append(tuple({**message, **own_message}.values()))
        yield verifications, messages


def _pattern(channel: str, now: float) -> tuple[dict[str, object], dict[str, object]]:
    """Return a pending verification and its queued message, by column; what is each one's own is left open."""
    verification = models.Verification(
        id="",
        service="default",
        status="pending",
        purpose="verification",
        locale="en",
        to_masked=f'{{"email":"{_RECIPIENT}"}}',
        route=json.dumps([channel]),
        generation=1,
        checks=0,
        max_checks=5,
        sends=1,
        created_at=now,
        expires_at=now + _TTL,
        resend_at=now,
    )
    message = models.Message(
        id="",
        verification_id="",
        service="default",
        channel=channel,
        step=0,
        status="queued",
        attempts=0,
        skipped=0,
        due_at=now,
        lease="",
        generation=1,
        recipient=_RECIPIENT,
        created_at=now,
        expires_at=now + _TTL,
    )
    return _by_column(models.Verification, verification), _by_column(models.Message, message)


def _by_column(model: type[SQLModel], row: SQLModel) -> dict[str, object]:
    return dict(zip(columns_of(model), row_of(model)(row), strict=True))
