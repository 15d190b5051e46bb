"""Standard output whose reader may go away: ``otp-gateway doctor | head -3`` ends as it would have ended unread.

Python raises ``BrokenPipeError`` then, or Rich and Typer exit with 1, and a verb's own exit code says something else: of
``doctor`` and ``templates lint`` 1 is a fault that was found, and ``send`` must not be cut off between two people.
"""

from __future__ import annotations

import io
import os
import sys


class _Standing(io.FileIO):
    """A file descriptor that what nobody reads any more is dropped at."""

    left = False

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # any buffer of bytes
        """Write, or drop what nobody reads; return the number of bytes."""
        try:
            return super().write(data)
        except BrokenPipeError:
            self.left = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def outlive_the_reader() -> None:
    """From now on drop what is printed once its reader has gone away. Not where a program has put its own in the place."""
    stream = sys.stdout
    if stream is None or stream is not sys.__stdout__ or not isinstance(stream, io.TextIOWrapper):
        return
    stream.flush()
    raw = _Standing(stream.fileno(), "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def reader_left() -> bool:
    """Whether the reader has gone away: whoever would print for ever ends then."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Standing) and raw.left
