"""Events: one line of the timeline each, written with the move it tells of and logged once that is durable."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TypedDict, Unpack

from gateway.storage import models
from gateway.storage.ids import new_id
from gateway.storage.statement import Row, insert_into
from gateway.storage.unit import Guard, Identity, Move, Write
from gateway.value import Value


class EventName(StrEnum):
    """Every event there is."""

    #: A code was asked for.
    VERIFICATION_CREATED = "verification.created"
    #: The code was asked for once more.
    VERIFICATION_RESENT = "verification.resent"
    #: A wrong code was given.
    VERIFICATION_CHECK_FAILED = "verification.check_failed"
    #: The right code was given.
    VERIFICATION_APPROVED = "verification.approved"
    #: Its time ran out.
    VERIFICATION_EXPIRED = "verification.expired"
    #: The service ended it, or the person said that they had not asked for it.
    VERIFICATION_CANCELED = "verification.canceled"
    #: The last check was spent on a wrong code.
    VERIFICATION_MAX_ATTEMPTS_REACHED = "verification.max_attempts_reached"
    #: No channel of the route could deliver.
    VERIFICATION_FAILED = "verification.failed"
    #: The person says that they did not ask for it.
    VERIFICATION_REPORTED = "verification.reported"
    #: A message waits for its recipient to open the bot.
    MESSAGE_WAITING = "message.waiting"
    #: A message is in the queue.
    MESSAGE_QUEUED = "message.queued"
    #: An attempt begins.
    MESSAGE_SENDING = "message.sending"
    #: The provider accepted it.
    MESSAGE_SENT = "message.sent"
    #: An attempt failed and another follows.
    MESSAGE_RETRIED = "message.retried"
    #: Its node died or stalled during an attempt; it is in the queue again.
    MESSAGE_RESCUED = "message.rescued"
    #: Its node stopped before the attempt left; it is in the queue again.
    MESSAGE_RETURNED = "message.returned"
    #: The provider reports that the person has it.
    MESSAGE_DELIVERED = "message.delivered"
    #: The provider reports that the person will not get it.
    MESSAGE_UNDELIVERED = "message.undelivered"
    #: No attempt succeeded and none is left.
    MESSAGE_FAILED = "message.failed"
    #: No report of its delivery came in the time the service allows; the next channel takes over.
    MESSAGE_UNCONFIRMED = "message.unconfirmed"
    #: Its code died first.
    MESSAGE_EXPIRED = "message.expired"
    #: Its verification ended first, or a newer message took its place.
    MESSAGE_CANCELED = "message.canceled"
    #: The chat shows that its code is over.
    MESSAGE_EDITED = "message.edited"
    #: It is gone from the chat.
    MESSAGE_DELETED = "message.deleted"
    #: It could neither be edited nor deleted, and stays in the chat as it was sent.
    MESSAGE_LEFT = "message.left"
    #: A limit would have refused this, and only observes.
    LIMIT_OBSERVED = "limit.observed"
    #: A limit skipped a channel of a route.
    LIMIT_REFUSED = "limit.refused"
    #: An operator lifted what was counted against a recipient.
    RECIPIENT_UNLOCKED = "recipient.unlocked"
    #: A recipient's data was erased.
    RECIPIENT_ERASED = "recipient.erased"
    #: A person was asked to open the bot.
    SUBSCRIBER_CREATED = "subscriber.created"
    #: A person confirmed in the chat.
    SUBSCRIBER_LINKED = "subscriber.linked"
    #: A person took the link back, or the service did.
    SUBSCRIBER_UNLINKED = "subscriber.unlinked"
    #: A person blocked the bot.
    SUBSCRIBER_BLOCKED = "subscriber.blocked"
    #: A person proved a phone number by sharing their contact.
    SUBSCRIBER_PROVED = "subscriber.proved"
    #: A person wants no codes at all for a while.
    SUBSCRIBER_LOCKED = "subscriber.locked"
    #: A person wants a service's codes elsewhere.
    SUBSCRIBER_MUTED = "subscriber.muted"
    #: A person wants a service's codes in the chat again.
    SUBSCRIBER_UNMUTED = "subscriber.unmuted"
    #: An authenticator app was enrolled for a person.
    AUTHENTICATOR_CREATED = "authenticator.created"
    #: Its first right code was given.
    AUTHENTICATOR_ACTIVATED = "authenticator.activated"
    #: A further right code of it was given.
    AUTHENTICATOR_CHECKED = "authenticator.checked"
    #: A wrong or used code, or a wrong recovery code, was given.
    AUTHENTICATOR_FAILED = "authenticator.failed"
    #: Its person failed so often that nothing is compared for a while.
    AUTHENTICATOR_LOCKED = "authenticator.locked"
    #: An operator lifted that lock, and what counted towards it.
    AUTHENTICATOR_UNLOCKED = "authenticator.unlocked"
    #: A recovery code took its place.
    AUTHENTICATOR_RECOVERED = "authenticator.recovered"
    #: New recovery codes were made; those before ended.
    AUTHENTICATOR_RENEWED = "authenticator.renewed"
    #: The service deleted it, or nobody activated it in time.
    AUTHENTICATOR_DELETED = "authenticator.deleted"
    #: Too many of a channel's sends fail: nothing is sent by it for a while.
    CHANNEL_OPENED = "channel.opened"
    #: A channel's sends succeed again.
    CHANNEL_CLOSED = "channel.closed"
    #: A channel's credentials, sender or settings are refused: nothing is sent by it until one try a minute succeeds.
    CHANNEL_STOPPED = "channel.stopped"
    #: A channel that was stopped works again.
    CHANNEL_RESUMED = "channel.resumed"
    #: An application could not be told of a move, and will not be.
    WEBHOOK_FAILED = "webhook.failed"
    #: An application answered that it wants no webhooks there.
    WEBHOOK_DISABLED = "webhook.disabled"


class Event(Value, frozen=True):
    """One line of the timeline. Its fields are the columns of ``models.Event``; none can hold a code."""

    id: str
    #: Seconds since the Unix epoch.
    at: float
    name: EventName
    service: str
    verification_id: str | None = None
    message_id: str | None = None
    channel: str | None = None
    #: The attempt's number.
    attempt: int | None = None
    outcome: str | None = None
    reason: str | None = None
    provider_code: str | None = None
    #: Masked address.
    recipient: str | None = None
    #: How long what is told of took.
    milliseconds: float | None = None


class AttemptDetails(TypedDict, total=False):
    """The fields of an event that tell of an attempt or an end."""

    attempt: int | None
    outcome: str | None
    reason: str | None
    provider_code: str | None
    milliseconds: float | None


class Details(AttemptDetails, total=False):
    """The fields of an event that not every event has."""

    verification_id: str | None
    message_id: str | None
    channel: str | None
    recipient: str | None


def event(name: EventName, at: float, service: str, **details: Unpack[Details]) -> Event:
    """Return a new event with an id of its own."""
    return Event(new_id("evt", at), at, name, service, **details)


_INSERT = insert_into(models.Event)


def _row(item: Event) -> Row:
    # Plain strings: sqlite3 asks every other kind of string, an enum's too, whether it adapts itself.
    return (
        item.id,
        item.at,
        str(item.name),
        item.service,
        item.verification_id,
        item.message_id,
        item.channel,
        item.attempt,
        item.outcome and str(item.outcome),
        item.reason and str(item.reason),
        item.provider_code,
        item.recipient,
        item.milliseconds,
    )


def recorded(
    guard: Write | None,
    then: Sequence[Write],
    events: Sequence[Event],
    *,
    wakes: Sequence[str] = (),
    first: Sequence[Guard] = (),
    apart: Sequence[Identity] = (),
) -> Move:
    """Return the move that writes ``then`` and ``events`` if ``guard`` holds, and logs them once committed.

    ``wakes`` are the topics that are woken then, ``first`` the guards that are asked before, ``apart`` those of others that
    are not to be asked along with it.
    """
    return Move(guard, [*then, *[(_INSERT, _row(item)) for item in events]], tuple(events), wakes, first, apart)
