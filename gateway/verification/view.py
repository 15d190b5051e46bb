"""A verification as its service sees it: statuses, masked addresses, times, never a code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from gateway.delivery.lifecycle import VerificationStatus
from gateway.storage.unit import Record
from gateway.value import Value

#: The form of every verification's id. Nothing else is looked up: PostgreSQL, for one, takes no NUL in a text.
ID = re.compile(r"ver_[0-9a-f]{36}")


class AttemptView(Value, frozen=True):
    """One attempt of a message. Times in seconds since the Unix epoch."""

    number: int
    started_at: float
    finished_at: float | None
    outcome: str | None
    reason: str | None
    provider_id: str | None
    provider_code: str | None


class MessageView(Value, frozen=True):
    """One message of a verification."""

    id: str
    channel: str
    status: str
    attempts: Sequence[AttemptView] = ()


class EventView(Value, frozen=True):
    """One line of a verification's timeline."""

    id: str
    at: float
    name: str
    details: Mapping[str, Any]


class VerificationView(Value, frozen=True):
    """One verification. Times in seconds since the Unix epoch."""

    hidden: ClassVar[frozenset[str]] = frozenset({"link", "challenge"})

    id: str
    status: str
    service: str
    purpose: str
    locale: str
    #: Address kind → masked address.
    to: Mapping[str, str]
    #: The channel of the latest message; in a reverse verification, the bot's.
    channel: str | None
    next_channels: Sequence[str]
    created_at: float
    expires_at: float
    resend_at: float
    checks_left: int
    #: Where the person opens the bot, if a message waits for that or nothing is sent; shown once, when it is made.
    link: str | None = None
    messages: Sequence[MessageView] = ()
    #: Only where one verification is looked at.
    events: Sequence[EventView] | None = None
    #: What the person types to the bot in a reverse verification; shown once, when it is made.
    challenge: str | None = None
    #: Sends that are left to its recipient now; ``None`` where they are not limited, or nothing is sent.
    sends_left: int | None = None


def status_at(record: Record, now: float) -> str:
    """Return a row's status as it is at ``now``: overdue is expired, whether or not the sweep has passed."""
    status: str = record["status"]
    if status == VerificationStatus.PENDING and record["expires_at"] <= now:
        return VerificationStatus.EXPIRED
    return status


def view_of(
    record: Record,
    messages: Sequence[MessageView],
    now: float,
    events: Sequence[EventView] | None = None,
    link: str | None = None,
    sends_left: int | None = None,
) -> VerificationView:
    """Return the view of a row and its messages, oldest first; once it has ended, no send is left."""
    route = orjson.loads(record["route"])
    channel = messages[-1].channel if messages else next(iter(route), None)
    following = route[route.index(channel) + 1 :] if channel in route else []
    status = status_at(record, now)
    return VerificationView(
        id=record["id"],
        status=status,
        service=record["service"],
        purpose=record["purpose"],
        locale=record["locale"],
        to=orjson.loads(record["to_masked"]),
        channel=channel,
        next_channels=following if status == VerificationStatus.PENDING else [],
        created_at=record["created_at"],
        expires_at=record["expires_at"],
        resend_at=record["resend_at"],
        checks_left=record["max_checks"] - record["checks"] if status == VerificationStatus.PENDING else 0,
        link=link,
        messages=messages,
        events=events,
        sends_left=sends_left if sends_left is None or status == VerificationStatus.PENDING else 0,
    )
