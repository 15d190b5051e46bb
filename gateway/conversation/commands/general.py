"""What everybody asks first: ``/start``, with a link's token or without, and ``/help``."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.conversation import linking, reversing
from gateway.conversation.turn import Handler, Outcome, Turn


async def start(turn: Turn) -> Outcome:
    """Open the link that brought the person here; used, expired and forged ones look the same."""
    if not turn.argument:
        return Outcome((turn.say("start"),))
    opened = None
    if turn.argument.isascii():
        opened = await linking.open_link(turn) or await reversing.open(turn)
    return opened or Outcome((turn.say("link_invalid"),))


async def assist(turn: Turn) -> Outcome:
    """Say what the bot can do."""
    return Outcome((turn.say("help"),))


async def unknown(turn: Turn) -> Outcome:
    """Answer what the bot cannot make sense of."""
    return Outcome((turn.say("unknown"),))


COMMANDS: Mapping[str, Handler] = {
    "start": start,
    "help": assist,
    # Telegram's clients link these two by themselves (core.telegram.org/bots/features#global-commands).
    "settings": assist,
    "privacy": assist,
}
PRESSES: Mapping[str, Handler] = {}
