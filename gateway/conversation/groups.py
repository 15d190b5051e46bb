"""Groups and channels that the bot is put into: told once in a while that it talks in private chats only, and left."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final

from gateway.conversation.turn import Said, Turn

#: Seconds in which a group is told once. Telegram takes 20 messages a minute there, and whoever puts the bot in again and
#: again would decide how many there are: beyond that it refuses the bot, and with it may refuse everybody's codes.
WITHIN: Final = 3600.0
#: Groups that are remembered; of more the one that was told first is told once more.
MOST: Final = 1000


class Groups:
    """The groups this node has told lately."""

    def __init__(self) -> None:
        self._told_at: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def refusal(self, turn: Turn) -> Said:
        """Leave, with a word that others would read along where the group has not had it lately."""
        said = turn.say("private_only")
        if not self._is_to_be_told((turn.channel, turn.chat_hash), turn.now):
            said = replace(said, reply=replace(said.reply, text="", buttons=()))
        return replace(said, reply=replace(said.reply, leaves=True))

    def _is_to_be_told(self, group: tuple[str, bytes], now: float) -> bool:
        told_at = self._told_at.get(group)
        if told_at is not None and now - told_at < WITHIN:
            return False
        self._told_at[group] = now
        self._told_at.move_to_end(group)
        if len(self._told_at) > MOST:
            self._told_at.popitem(last=False)
        return True
