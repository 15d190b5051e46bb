"""``/mute`` and ``/unmute``: one service's codes not in this chat, or here again."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.conversation import chats
from gateway.conversation.commands.choosing import choices, named, reached
from gateway.conversation.commands.general import unknown
from gateway.conversation.turn import Handler, Outcome, Turn


async def mute(turn: Turn) -> Outcome:
    """Mute the service that is named, else ask which."""
    services = await reached(turn)
    service = named(turn, services, turn.argument)
    if service is not None:
        return await _mute(turn, service)
    if not services:
        return Outcome((turn.say("nothing_linked"),))
    muted = await chats.muted(turn)
    heard = [service for service in services if service not in muted]
    return Outcome((turn.say("mute", buttons=choices(turn, "mute", heard)),)) if heard else await unmute(turn)


async def unmute(turn: Turn) -> Outcome:
    """Unmute the service that is named, else ask which."""
    services = await chats.muted(turn)
    service = named(turn, services, turn.argument)
    if service is not None:
        return await _unmute(turn, service)
    if not services:
        return Outcome((turn.say("nothing_muted"),))
    return Outcome((turn.say("unmute", buttons=choices(turn, "unmute", services)),))


async def chosen_mute(turn: Turn) -> Outcome:
    """Mute the service whose button was pressed."""
    known = turn.argument in await reached(turn)
    return await (_mute(turn, turn.argument) if known else unknown(turn))


async def chosen_unmute(turn: Turn) -> Outcome:
    """Unmute the service whose button was pressed; a second press finds it done."""
    known = turn.argument in {*await chats.muted(turn), *await reached(turn)}
    return await (_unmute(turn, turn.argument) if known else unknown(turn))


async def _mute(turn: Turn, service: str) -> Outcome:
    await chats.mute(turn, service)
    return Outcome((turn.say("muted", service=service, replaces=True),))


async def _unmute(turn: Turn, service: str) -> Outcome:
    await chats.unmute(turn, service)
    return Outcome((turn.say("unmuted", service=service, replaces=True),))


COMMANDS: Mapping[str, Handler] = {"mute": mute, "unmute": unmute}
PRESSES: Mapping[str, Handler] = {"mute": chosen_mute, "unmute": chosen_unmute}
