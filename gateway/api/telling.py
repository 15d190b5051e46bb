"""Views as the JSON callers read."""

from __future__ import annotations

import math
from typing import Any

from msgspec import UNSET

from gateway.api.drawing import link_image
from gateway.api.shapes import AttemptShape, EventShape, MessageShape, SubscriberShape, VerificationShape
from gateway.clock import rfc3339
from gateway.conversation.subscribers import SubscriberView
from gateway.verification.view import AttemptView, EventView, MessageView, VerificationView


def not_before(seconds: float) -> str:
    """Return a time cut upwards: who comes back at it must not be a fraction early."""
    return rfc3339(math.ceil(round(seconds * 1000, 3)) / 1000)


def verification(view: VerificationView, *, whole: bool = False) -> VerificationShape:
    """Return a verification; ``whole`` with attempts and events."""
    # By place, in the order of the shape: by name costs four times as much, and this is told with every code.
    return VerificationShape(
        view.id,
        view.status,
        view.service,
        view.purpose,
        view.locale,
        dict(view.to),
        view.channel,
        list(view.next_channels),
        rfc3339(view.created_at),
        rfc3339(view.expires_at),
        not_before(view.resend_at),
        view.checks_left,
        view.sends_left,
        view.link,
        view.challenge,
        None,
        [_message(message, whole=whole) for message in view.messages],
        [_event(event) for event in view.events or ()] if whole else UNSET,
    )


def subscriber(view: SubscriberView) -> SubscriberShape:
    """Return a subscriber, its link as an image too."""
    return SubscriberShape(
        id=view.id,
        reference=view.reference,
        status=view.status,
        link=view.link,
        qr=None if view.link is None else link_image(view.link),
        expires_at=_moment_or_none(view.expires_at),
        display_name=view.display_name,
        created_at=rfc3339(view.created_at),
    )


def _message(view: MessageView, *, whole: bool) -> MessageShape:
    attempts = [_attempt(attempt) for attempt in view.attempts] if whole else UNSET
    return MessageShape(view.id, view.channel, view.status, attempts)


def _attempt(view: AttemptView) -> AttemptShape:
    return AttemptShape(
        number=view.number,
        started_at=rfc3339(view.started_at),
        finished_at=_moment_or_none(view.finished_at),
        outcome=view.outcome,
        reason=view.reason,
        provider_id=view.provider_id,
        provider_code=view.provider_code,
    )


def _event(view: EventView) -> EventShape:
    details: dict[str, Any] = dict(view.details)
    return EventShape(id=view.id, at=rfc3339(view.at), event=view.name, **details)


def _moment_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
