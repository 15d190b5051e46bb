"""``/lang``: the language the bot speaks with a person, its codes too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from channels.chat import Button
from gateway.conversation import chats
from gateway.conversation.commands.choosing import rows
from gateway.conversation.commands.general import unknown
from gateway.conversation.turn import Handler, Outcome, Turn
from gateway.delivery.writing.locales import normalize

#: Chosen for the language that the person's client tells.
AUTO: Final = "auto"


async def lang(turn: Turn) -> Outcome:
    """Set the language that is named, by tag or by its own name; else ask."""
    named = turn.argument.strip().casefold()
    by_name = {name.casefold(): tag for tag, name in _names(turn).items()}
    for wanted in (named, normalize(named), by_name.get(named, "")):
        if _offered(turn, wanted):
            return await _choose(turn, wanted)
    buttons = [Button(name, f"lang:{tag}") for tag, name in _names(turn).items()]
    automatic = Button(turn.label("language", "auto.txt"), f"lang:{AUTO}")
    return Outcome((turn.say("language", buttons=rows([*buttons, automatic])),))


async def choose(turn: Turn) -> Outcome:
    """Set the language whose button was pressed."""
    return await (_choose(turn, turn.argument) if _offered(turn, turn.argument) else unknown(turn))


async def _choose(turn: Turn, tag: str) -> Outcome:
    await chats.choose_language(turn, None if tag == AUTO else tag)
    changed = replace(turn, known=await chats.known(turn.connection, turn.chat_hash))
    name = changed.label("language", "name.txt")
    return Outcome((changed.say("language_set", language=name, replaces=True),))


def _offered(turn: Turn, tag: str) -> bool:
    return tag == AUTO or tag in turn.tools.texts.languages


def _names(turn: Turn) -> dict[str, str]:
    """Return each language by its tag, in its own words."""
    texts = turn.tools.texts
    return {tag: texts("language", tag, ("name.txt",), {})["name.txt"] for tag in texts.languages}


# The longer name is what people guess.
COMMANDS: Mapping[str, Handler] = {"lang": lang, "language": lang}
PRESSES: Mapping[str, Handler] = {"lang": choose}
