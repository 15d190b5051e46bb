"""``/lock``: for an hour nobody can have a code sent to this person."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from gateway.conversation import chats
from gateway.conversation.commands.general import unknown
from gateway.conversation.turn import Handler, Outcome, Turn

#: Seconds a lock lasts from the last time it was asked for.
LOCK = 3600.0


async def lock(turn: Turn) -> Outcome:
    """Lock, or prolong the lock, and say until when; where there is nothing to lock, say that."""
    proved = turn.known is not None and turn.known["phone_hash"] is not None
    if not proved and not await chats.services(turn):
        return Outcome((turn.say("nothing_linked"),))
    until = turn.now + LOCK
    await chats.lock(turn, until)
    # The next full minute: at the time that is named it has ended.
    shown = datetime.fromtimestamp(math.ceil(until / 60) * 60, UTC)
    return Outcome((turn.say("locked", until=f"{shown:%H:%M} UTC"),))


async def press(turn: Turn) -> Outcome:
    """Do the same by the button under what was reported."""
    return await (unknown(turn) if turn.argument else lock(turn))


COMMANDS: Mapping[str, Handler] = {"lock": lock}
PRESSES: Mapping[str, Handler] = {"lock": press}
