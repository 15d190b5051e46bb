"""A sink that keeps what it takes, so that the codes in it can be checked.

The program ``python -m benchmarks.peers.codes`` is ``benchmarks.sink`` with one verb more: ``codes`` answers with the
latest code of each mail address, an object of JSON.
"""

from __future__ import annotations

import asyncio
import email
import json
import re
import sys
from collections.abc import Mapping, Sequence
from email.message import Message
from email.utils import parseaddr

import uvloop

from benchmarks.sink import Arrivals, SmtpSession, answered, lines_of

#: A code of every program here: six digits that stand alone.
_CODE = re.compile(r"(?<!\d)\d{6}(?!\d)")


class Kept(Arrivals):
    """Arrivals that are kept, in memory: a few thousand of some KiB."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: list[bytes] = []

    def add(self, content: bytes) -> None:
        """Count one mail and keep it."""
        self.contents.append(content)
        super().add(content)


def codes(contents: Sequence[bytes]) -> Mapping[str, str]:
    """Return the latest code by the address it was sent to. Raises ``ValueError`` where a mail has none."""
    found = {}
    for content in contents:
        message = email.message_from_bytes(content)
        held = _CODE.search(_text(message))
        if held is None:
            raise ValueError("a mail without a code")
        found[parseaddr(message["To"])[1]] = held[0]
    return found


def _text(message: Message) -> str:
    """Return the first text of a mail, whatever it is wrapped in."""
    for part in message.walk():
        if part.get_content_maintype() == "text":
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes), "a text has no parts"
            return content.decode()
    raise ValueError("a mail without a text")


async def serve() -> None:
    """Serve until standard input ends."""
    kept = Kept()
    server = await asyncio.get_running_loop().create_server(lambda: SmtpSession(kept), "127.0.0.1", 0)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        async for line in lines_of(sys.stdin):
            answer = codes(kept.contents) if line == "codes" else await answered(kept, line)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())
