"""The commands: what people can ask the bot for, one module a family, and the table of who answers what."""

from __future__ import annotations

from collections.abc import Mapping

from channels.chat import Menu
from gateway.conversation import contacts, linking, reporting, reversing
from gateway.conversation.commands import codes, general, languages, locking, muting, stopping, unlinking
from gateway.conversation.turn import Handler, Outcome, Turn
from gateway.delivery.writing.locales import DEFAULT, PLAIN
from gateway.delivery.writing.rendering import ReplyTexts
from gateway.delivery.writing.reply_parts import MENU_COMMANDS

_FAMILIES = (general, codes, languages, muting, locking, unlinking, stopping)


def _merged(*tables: Mapping[str, Handler]) -> Mapping[str, Handler]:
    merged: dict[str, Handler] = {}
    for table in tables:
        assert merged.keys().isdisjoint(table), "two modules answer the same command or button"
        merged.update(table)
    return merged


def _sound(handler: Handler) -> Handler:
    """Keep from ``handler`` what no button of ours sends back.

    A changed client can send any data. The database refuses some (NUL, lone surrogates), and what fails is repeated.
    """

    async def handle(turn: Turn) -> Outcome:
        return await (handler if turn.argument.isprintable() else general.unknown)(turn)

    return handle


#: By the command's name, without its slash.
COMMANDS: Mapping[str, Handler] = _merged(*(family.COMMANDS for family in _FAMILIES))
#: By the verb before the colon of a button's data.
PRESSES: Mapping[str, Handler] = {
    verb: _sound(handler)
    for verb, handler in _merged(
        linking.PRESSES, reporting.PRESSES, reversing.PRESSES, *(family.PRESSES for family in _FAMILIES)
    ).items()
}
#: The commands people are offered, in the order they are shown.
MENU: tuple[str, ...] = MENU_COMMANDS


async def CONTACT(turn: Turn) -> Outcome:  # noqa: N802 - an entry of the table, as the others
    """Answer a shared contact, and ask again what waited for it."""
    said, proved = await contacts.shared(turn)
    return Outcome((*said, *(await reversing.again(turn) if proved else ())))


async def TYPED(turn: Turn) -> Outcome:  # noqa: N802 - an entry of the table, as the others
    """Answer a text that is no command: a challenge, or nothing the bot knows."""
    opened = await reversing.open(turn)
    if opened is not None:
        return opened
    meant = reversing.resembles_challenge(turn.argument)
    return Outcome((turn.say("link_invalid" if meant else "unknown"),))


def menu(texts: ReplyTexts) -> Menu:
    """Return the commands with what they do, in every language."""
    parts = tuple(f"{command}.txt" for command in MENU)

    def described(language: str) -> list[tuple[str, str]]:
        words = texts("menu", language, parts, {})
        return [(command, words[part]) for command, part in zip(MENU, parts, strict=True)]

    return {PLAIN if language == DEFAULT else language: described(language) for language in texts.languages}
