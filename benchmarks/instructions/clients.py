"""What the counted program hears: a mailbox, and who knows what is settled."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.sink import Arrivals
from gateway.events.event import Event, EventName

_CODE = re.compile(r"\b\d{6}\b")


class Mailbox(Arrivals):
    """What has arrived, with the codes in it where they are wanted."""

    def __init__(self, *, codes_wanted: bool) -> None:
        super().__init__()
        self._codes_wanted = codes_wanted
        #: By recipient.
        self.codes: dict[str, str] = {}

    def add(self, content: bytes) -> None:
        """Count one mail."""
        super().add(content)
        if self._codes_wanted:
            recipient, code = code_in(content)
            self.codes[recipient] = code


@dataclass(slots=True)
class Settled:
    """Counts the messages that are sent, once that is written."""

    count: int = 0
    wanted: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def on_commit(self, notes: Sequence[object]) -> None:
        """Take what was committed."""
        self.count += sum(isinstance(note, Event) and note.name is EventName.MESSAGE_SENT for note in notes)
        if self.count >= self.wanted:
            self.enough.set()

    async def wait(self, number: int) -> None:
        """Wait until ``number`` messages are sent."""
        self.wanted = number
        self.enough.clear()
        if self.count < number:
            await self.enough.wait()


def code_in(content: bytes) -> tuple[str, str]:
    """Return whom a mail is for, and the code in its text. Raises ``ValueError`` where there is none."""
    mail = email.message_from_bytes(content, policy=email.policy.default)
    text = mail.get_body(("plain",))
    found = None if text is None else _CODE.search(text.get_content())
    if found is None:
        raise ValueError("a mail without a code")
    return str(mail["To"]), found.group()
