"""Where the mails of a measurement end: postfix's smtp-sink where it is installed, else our own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from benchmarks.children import Child, ChildError, program

#: Seconds until a sink answers, and between tries.
_START, _PAUSE = 10.0, 0.02
#: Bytes in which its latest count stands for certain.
_TAIL = 200
#: What ``smtp-sink -c`` writes whenever a mail has come (postfix, src/smtpstone/smtp-sink.c).
_COUNTED = re.compile(r"mesg=(\d+)")


class MailSink(Protocol):
    """A sink that counts."""

    port: int

    def wait(self, count: int, within: float) -> float:
        """Wait for ``count`` mails; return the monotonic time the latest came. Raises ``ChildError``."""
        ...


class OwnSink:
    """``benchmarks.sink``."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.port = int(child.line(_START))

    def wait(self, count: int, within: float) -> float:
        """Wait for ``count`` mails; return the monotonic time the latest came. Raises ``ChildError``."""
        self._child.tell(f"wait {count}")
        at: float = json.loads(self._child.line(within))
        return at


class PostfixSink:
    """``smtp-sink -c``: after every mail it writes the count so far to its standard output, here a file."""

    def __init__(self, port: int, output: Path) -> None:
        self.port = port
        self._output = output

    def wait(self, count: int, within: float) -> float:
        """Wait for ``count`` mails; return the monotonic time the latest came. Raises ``ChildError``."""
        deadline = time.monotonic() + within
        while counted(_tail(self._output)) < count:
            if time.monotonic() > deadline:
                raise ChildError(f"smtp-sink has not counted {count} mails within {within:g} s")
            time.sleep(_PAUSE)
        # When the file was last written, which may be before anybody waited for it.
        return time.monotonic() - (time.time() - self._output.stat().st_mtime)


def counted(output: str) -> int:
    """Return the latest count of mails in what ``smtp-sink -c`` wrote."""
    found = _COUNTED.findall(output)
    return int(found[-1]) if found else 0


def postfix_sink() -> str | None:
    """Return where smtp-sink is, ``None`` where it is not."""
    return shutil.which("smtp-sink")


@contextmanager
def mail_sink(folder: Path) -> Iterator[MailSink]:
    """Run a sink."""
    found = postfix_sink()
    if found is None:
        with Child("sink", program("sink"), folder) as child:
            yield OwnSink(child)
        return
    port = _free_port()
    # As root it wants to be told whom to be instead.
    whom = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [found, *whom, "-c", f"127.0.0.1:{port}", "1024"]
    with Child("smtp-sink", command, folder, logged=True) as child:
        _until_it_listens(port)
        yield PostfixSink(port, folder / "smtp-sink.out")


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return file.read().decode("latin-1")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + _START
    with socket.socket() as asking:
        while asking.connect_ex(("127.0.0.1", port)):
            if time.monotonic() > deadline:
                raise ChildError(f"smtp-sink does not listen after {_START:g} s")
            time.sleep(_PAUSE)
