"""A connection's way out: answers are written whole, and who does not take them is left."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_HEAD: Final = b"HTTP/1.1 "
#: Told before the answer: it must not wait.
_INTERIM: Final = b"HTTP/1.1 1"


class WholeAnswer:
    """A transport that writes an answer's head together with its body: one system call and one packet for both.

    uvicorn writes them apart. What has no body is written by ``flush``, which the end of the answer calls. Closed, it waits
    ``linger`` seconds for what was written to be taken.
    """

    def __init__(self, transport: asyncio.Transport, linger: float) -> None:
        self._transport = transport
        self._linger = linger
        self._head = b""
        #: Whether the body of the latest request was asked for (``100 Continue``).
        self.asked = False

    def write(self, data: bytes) -> None:
        """Write data, or keep it where it is the head of an answer."""
        if not self._head and data.startswith(_HEAD) and not data.startswith(_INTERIM):
            self._head = data
        else:
            self.asked = self.asked or data.startswith(_INTERIM)
            data, self._head = self._head + data, b""
            self._transport.write(data)

    def flush(self) -> None:
        """Write what was kept."""
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)

    def close(self) -> None:
        """Write what was kept, then close."""
        self.flush()
        if self._transport.is_closing():
            return
        self._transport.close()
        if self._transport.get_write_buffer_size():
            # By itself it would wait for ever for who asks and does not read.
            asyncio.get_running_loop().call_later(self._linger, self._transport.abort)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
