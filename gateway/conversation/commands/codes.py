"""``/codes``: the last codes that were asked for this person, when and from where. Never a code itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from channels.chat import Reply
from gateway.conversation import chats
from gateway.conversation.commands.choosing import BEFORE, brand
from gateway.conversation.turn import Handler, Outcome, Said, Turn
from gateway.delivery.lifecycle import VerificationStatus
from gateway.storage.unit import Record

#: How many are shown.
SHOWN = 5

_COLUMNS = """verification.id, verification.service, verification.status, verification.created_at,
    verification.expires_at, verification.client_reference, verification.client_ip"""
# A reference is a service's own, a phone is the person's: the one is compared with the service, the other without.
# What is older than the link or the proof may have been somebody else's, who had the number before.
_LAST = f"""SELECT * FROM (
    SELECT {_COLUMNS} FROM subscriber
        JOIN address ON address.hash = subscriber.reference_hash
        JOIN verification ON verification.id = address.verification_id AND verification.service = subscriber.service
        WHERE subscriber.chat_hash = :chat_hash AND subscriber.status IN ('linked', 'blocked')
            AND verification.created_at >= subscriber.linked_at - :before
    UNION
    SELECT {_COLUMNS} FROM chat
        JOIN address ON address.hash = chat.phone_hash
        JOIN verification ON verification.id = address.verification_id
        WHERE chat.hash = :chat_hash AND verification.created_at >= chat.proved_at - :before
    ) AS last ORDER BY created_at DESC, id DESC LIMIT {SHOWN}"""  # noqa: S608 - constants of this module


async def codes(turn: Turn) -> Outcome:
    """Say what was asked for, the latest first."""
    found = await turn.connection.fetch(_LAST, chat_hash=turn.chat_hash, before=BEFORE)
    if not found:
        return Outcome((turn.say("codes_none" if await _is_connected(turn) else "nothing_linked"),))
    said = [turn.say("codes"), *(_line(turn, record) for record in found)]
    return Outcome((Said(Reply("\n\n".join(item.reply.text for item in said))),))


async def _is_connected(turn: Turn) -> bool:
    return (turn.known is not None and turn.known["phone_hash"] is not None) or bool(await chats.services(turn))


def _line(turn: Turn, record: Record) -> Said:
    return turn.say(
        "code_line",
        brand=brand(turn, record["service"]),
        when=f"{datetime.fromtimestamp(record['created_at'], UTC):%Y-%m-%d %H:%M} UTC",
        place=record["client_reference"] or record["client_ip"] or "",
        outcome=_outcome(record, turn.now),
    )


def _outcome(record: Record, now: float) -> str:
    # A pending one whose time is over is about to be swept.
    over = record["status"] == VerificationStatus.PENDING and record["expires_at"] <= now
    return str(VerificationStatus.EXPIRED if over else record["status"])


COMMANDS: Mapping[str, Handler] = {"codes": codes}
PRESSES: Mapping[str, Handler] = {}
