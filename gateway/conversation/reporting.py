"""*Not me* in the chat: the press is taken down, and the person is offered to lock every code for a while."""

from __future__ import annotations

from collections.abc import Mapping

from channels.chat import Button
from gateway.conversation.turn import Handler, Outcome, Turn


async def report(turn: Turn) -> Outcome:
    """Cancel the code that came to this chat; of one that did not, nothing is done.

    The answer is a message of its own: the code's message is put right as every ended one is.
    """
    reported = await turn.tools.report(turn.connection, turn.argument, turn.inbound.chat, turn.now)
    if reported is None:
        return Outcome((turn.say("not_yours"),))
    template = "reported" if reported.canceled else "reported_late"
    buttons = ((lock_button(turn, reported.service),),)
    return Outcome((turn.say(template, service=reported.service, buttons=buttons),))


def lock_button(turn: Turn, service: str) -> Button:
    """Return the button that locks every code, for under what is said about one that somebody else asked for."""
    return Button(turn.label("reported", "lock.txt", service=service), "lock:")


#: What the buttons of this module do, by the verb before the colon.
PRESSES: Mapping[str, Handler] = {"not": report}
