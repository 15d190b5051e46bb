"""A receiver's addresses: looked up in threads of their own, and refused where one of them is not permitted.

Not in the loop's threads, which the channels use too: a name server that never answers would hold them all. One server is
looked up once at a time (``channels.reaching.Road``), so there are no more threads than servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from _thread import start_new_thread
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from channels.http_errors import ConnectError
from channels.reaching import Address, Origin

#: Seconds a look-up may take before another of its name is begun: longer than any system asks name servers.
LASTS: Final = 300.0

#: Looks a name up: host and port in, addresses with their families out. Raises ``OSError``; may block.
LookUp = Callable[[str, int], Sequence[tuple[int, str]]]
#: What a look-up came to.
_Found = Sequence[tuple[int, str]] | OSError


class AddressRefusedError(ConnectError):
    """A name, or a URL, leads to an address that is not permitted."""

    def __init__(self) -> None:
        super().__init__("the address is not permitted")


class CheckedLookUp:
    """Looks servers up by ``look_up``, and refuses one that has an address which is not permitted."""

    def __init__(self, is_permitted: Callable[[str], bool], look_up: LookUp) -> None:
        self._is_permitted = is_permitted
        self._look_up = look_up

    async def __call__(self, origin: Origin) -> list[Address]:
        """Return the addresses of a server. Raises ``AddressRefusedError``, ``OSError``."""
        found = _literal(origin.host) or await self._asked(origin)
        if not all(self._is_permitted(address) for _, address in found):
            raise AddressRefusedError
        return [(family, socket.SOCK_STREAM, 0, "", (address, origin.port)) for family, address in found]

    async def _asked(self, origin: Origin) -> Sequence[tuple[int, str]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Found] = loop.create_future()
        try:
            # One that nobody waits for: the process must not wait for a name server at its end, nor the loop for the word
            # that it has begun, which out of memory may never come (``threading.Thread`` waits for it).
            start_new_thread(self._ask, (future, origin.host, origin.port))
        except RuntimeError:
            raise OSError(errno.EAGAIN, "there is no thread to look a name up in") from None
        given_up = loop.call_later(LASTS, _tell, future, OSError("the look-up never ended"))
        try:
            found = await future
        finally:
            given_up.cancel()
        if isinstance(found, OSError):
            raise found
        return found

    def _ask(self, future: asyncio.Future[_Found], host: str, port: int) -> None:
        found: _Found
        try:
            found = self._look_up(host, port) or OSError("the name has no address")
        except OSError as error:
            found = error
        except ValueError:
            # A name that cannot be written in a question: a label of 64 characters.
            found = OSError("that is no name")
        # The loop may be over by now.
        with contextlib.suppress(RuntimeError):
            future.get_loop().call_soon_threadsafe(_tell, future, found)


def _tell(future: asyncio.Future[_Found], found: _Found) -> None:
    if not future.done():
        future.set_result(found)


def _literal(host: str) -> list[tuple[int, str]] | None:
    """Return the address that a host is, which nobody has to be asked for."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return [(socket.AF_INET if address.version == 4 else socket.AF_INET6, host)]


def look_up_by_system(host: str, port: int) -> list[tuple[int, str]]:
    """Return the addresses of a name as this machine finds them. Blocks; raises ``OSError``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(int(family), str(place[0])) for family, _, _, _, place in found]
