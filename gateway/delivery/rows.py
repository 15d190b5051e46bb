"""Between a message and its row: what is written of a new one, and what a claimed row holds, opened."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.delivery.lifecycle import MessageStatus
from gateway.delivery.message import Message
from gateway.delivery.payload import Owner, Stop, open_bind, open_code, open_params, open_route
from gateway.delivery.sends import AS_SEND, IN_BLOCK
from gateway.storage.ids import new_id
from gateway.storage.sealing import Sealer, UnsealError
from gateway.storage.statement import Row
from gateway.storage.unit import Record


def row_of(message: Message, status: MessageStatus, *, due_at: float, lease: str) -> Row:
    """Return a new message's row, its values in the order of ``models.Message``."""
    return (
        message.id,
        message.verification_id,
        message.service,
        message.channel,
        message.step,
        str(status),
        message.attempts,
        message.skipped,
        due_at,
        lease,
        message.generation,
        message.recipient,
        message.created_at,
        message.expires_at,
        message.started_at,
        # What comes of it: another attempt, its provider's answer, its end.
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        message.recipient_hash,
        message.counted,
        message.block_hash,
    )


def opened(sealer: Sealer, record: Record) -> Message:
    """Return the message of a claimed row. Raises ``UnsealError``."""
    owner = Owner(record["verification_id"], record["service"], record["purpose"])
    stops = route(sealer, owner, record)
    stop = stops[record["step"]]
    # By place, in the order of its fields: of a call with more than 15 names Python makes a dictionary first (0.8 µs).
    return Message(
        record["id"],
        owner.id,
        owner.service,
        record["channel"],
        record["step"],
        len(stops),
        owner.purpose,
        stop.locale or record["locale"],
        record["generation"],
        record["attempts"],
        record["skipped"],
        record["created_at"],
        record["expires_at"],
        record["started_at"],
        record["ttl"],
        record["recipient"],
        stop.address or "",
        _code(sealer, owner, record),
        open_params(sealer, owner, record["params_sealed"]),
        unknowns=record["unknowns"] or 0,
        bind=open_bind(sealer, owner, record["bind_sealed"]),
    )


def following(
    sealer: Sealer, message: Message, record: Record, now: float, ahead: int = 1, *, left: bool = False
) -> Message:
    """Return the message for the channel so many steps ahead on the route that ``record`` holds.

    Raises ``UnsealError``.
    """
    owner = Owner(message.verification_id, message.service, message.purpose)
    stops = route(sealer, owner, record)
    stop = stops[message.step + ahead]
    # Whoever was sent to a moment ago is not counted again: it is the same send, by another channel. Their number's block
    # is where that went to a chat: only now is the number itself sent to, which is paid for.
    # What may have left already, and goes to the very same address again, is another send: carriers that report nothing, or
    # "undelivered", would else have each send of theirs paid twice, and a person get twice as many.
    elsewhere = stop.hash != stops[message.step].hash or (left and stop.address == stops[message.step].address)
    paid = stop.block is not None and (elsewhere or stops[message.step].block is None)
    assert stop.address is not None, "a channel that waits for its subscriber is alone on its route"
    return replace(
        message,
        id=new_id("msg", now),
        channel=stop.channel,
        step=message.step + ahead,
        locale=stop.locale or record["locale"],
        attempts=0,
        skipped=0,
        unknowns=0,
        created_at=now,
        started_at=None,
        recipient=stop.recipient,
        address=stop.address,
        recipient_hash=stop.counted_by,
        counted=AS_SEND if elsewhere else IN_BLOCK if paid else None,
        block_hash=bytes.fromhex(stop.block) if paid and stop.block is not None else None,
    )


def route(sealer: Sealer, owner: Owner, record: Record) -> list[Stop]:
    """Return the route that ``record`` holds sealed. Raises ``UnsealError``."""
    if record["route_sealed"] is None:
        raise UnsealError("the verification's addresses were erased")
    return open_route(sealer, owner, record["route_sealed"])


def _code(sealer: Sealer, owner: Owner, record: Record) -> str:
    # Wiped, or of an older generation: ``Queue.begin`` refuses it by the verification's status and generation.
    try:
        blob = record["code_sealed"]
        return "" if blob is None else open_code(sealer, owner, record["generation"], blob)
    except UnsealError:
        return ""
