"""One command at a time for what two at once would spoil."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import GatewayError


@contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """Hold a folder while ``command`` changes files in it; the lock ends with the process, however that ends.

    Where there is no such folder nothing can be spoiled, and Windows has no such locks: nothing is held there.
    Raises ``GatewayError`` where another process holds it.
    """
    if sys.platform == "win32" or not folder.is_dir():
        yield
        return
    import fcntl  # not there on Windows

    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GatewayError(f"another `{command}` is under way here; wait until it has ended") from None
        yield
    finally:
        os.close(held)
