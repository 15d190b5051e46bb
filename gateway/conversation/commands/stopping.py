"""``/stop``: everything that is known of a person ends, and they are told what that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from channels.chat import Button
from gateway.conversation import chats
from gateway.conversation.commands.choosing import brand
from gateway.conversation.commands.general import unknown
from gateway.conversation.turn import Handler, Outcome, Turn

#: What the two buttons answer.
YES: Final = "yes"
KEEP: Final = "keep"


async def stop(turn: Turn) -> Outcome:
    """Ask once, where there is something to erase."""
    if turn.known is None and not await chats.services(turn) and not await chats.muted(turn):
        # A link that was opened and not confirmed ends all the same.
        await chats.forget(turn)
        return Outcome((turn.say("nothing_to_stop"),))
    confirm = Button(turn.label("stop", "confirm.txt"), f"stop:{YES}")
    keep = Button(turn.label("stop", "keep.txt"), f"stop:{KEEP}")
    return Outcome((turn.say("stop", buttons=((confirm,), (keep,))),))


async def choose(turn: Turn) -> Outcome:
    """Erase everything, or leave it."""
    if turn.argument == YES:
        return await _erase(turn)
    return Outcome((turn.say("kept", replaces=True),)) if turn.argument == KEEP else await unknown(turn)


async def _erase(turn: Turn) -> Outcome:
    forgotten = await chats.forget(turn)
    if turn.known is None and not forgotten.anything:
        # Pressed twice: what the first press said stays.
        return Outcome((turn.say("nothing_to_stop"),))
    said = turn.say(
        "stopped",
        services=_brands(turn, forgotten.services),
        phone=forgotten.phone_masked or "",
        muted=_brands(turn, forgotten.muted),
        replaces=True,
    )
    return Outcome((said,))


def _brands(turn: Turn, services: Sequence[str]) -> str:
    return ", ".join(brand(turn, service) for service in services)


COMMANDS: Mapping[str, Handler] = {"stop": stop}
PRESSES: Mapping[str, Handler] = {"stop": choose}
