"""Between a message and its row: what is written of a new one, and what a claimed row holds, opened."""

from __future__ import annotations

from collections.abc import Collection, Sequence

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


def comes_back(stops: Sequence[Stop], step: int) -> bool:
    """Return whether a route leads, after a step, to an address that it led to before."""
    before = {stop.address for stop in stops[: step + 1]}
    return any(stop.address in before for stop in stops[step + 1 :])


def following(
    message: Message, stops: Sequence[Stop], step: int, locale: str | None, now: float, left: Collection[int] = ()
) -> Message:
    """Return the message for a later step of the route.

    ``locale`` is the verification's. ``left``: the steps of what may have left since the latest that counted as a send.
    """
    before, stop = stops[message.step], stops[step]
    # Whoever was sent to a moment ago is not counted again: it is the same send, by another channel. Their number's block
    # is where that went to a chat: only now is the number itself sent to, which is paid for.
    # What may have left already, and goes to the very same address again, is another send, also where a chat came between:
    # carriers that report nothing, or "undelivered", would else have each send of theirs paid twice, and a person get twice
    # as many.
    elsewhere = stop.hash != before.hash or stop.address in [stops[gone].address for gone in left]
    paid = stop.block is not None and (elsewhere or before.block is None)
    assert stop.address is not None, "a channel that waits for its subscriber is alone on its route"
    return replace(
        message,
        id=new_id("msg", now),
        channel=stop.channel,
        step=step,
        locale=stop.locale or locale,
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
