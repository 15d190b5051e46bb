"""The log: what is committed, and what the program and its libraries have to say, as lines of one shape.

Every line is JSON with ``timestamp``, ``level`` and ``event``, or coloured for people at a terminal. Nothing is
written that did not pass the redactor, and nobody waits for standard output.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, Literal, Self, TextIO

import msgspec
import orjson
import structlog
from structlog.typing import Processor

from gateway.clock import rfc3339
from gateway.events.console import render_console
from gateway.events.event import Event
from gateway.events.line import Line, level_of, written
from gateway.events.records import GUARDED, OURS, explained, fields_of, is_guarded
from gateway.events.redaction import Redactor
from gateway.events.writer import CAPACITY, FLUSH_TIMEOUT, LineWriter

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]

#: Libraries that bring handlers and levels of their own; they are taken away, so that their lines come to us.
LIBRARIES: Final = (
    *("alembic", "asyncio", "asyncpg", "uvicorn", "uvicorn.error"),
    *GUARDED,
)

#: Masked addresses that are remembered as passed by the redactor.
_REMEMBERED: Final = 512

_Render = Callable[[object, str, Any], Any]

_as_json: Final = msgspec.json.Encoder().encode_lines


class EventLog:
    """Logs events once they are committed: the database's ``on_commit``. Made by ``configure``; close it at the end.

    A batch of notes is made one chunk and written with one call. 1.2 µs an event (measured).
    """

    def __init__(
        self, writer: LineWriter, redactor: Redactor, render: _Render, level: int, installed: _Installed
    ) -> None:
        self._writer = writer
        # The events of a message name the same recipient, one after the other.
        self._masked = lru_cache(maxsize=_REMEMBERED)(redactor.text)
        self._render = partial(_render_lines, render)
        self._level = level
        self._installed = installed

    def __call__(self, notes: Sequence[object]) -> None:
        """Log the notes that are events and loud enough. Never blocks."""
        least, masked = self._level, self._masked
        lines = [
            written(note, level, masked)
            for note in notes
            if isinstance(note, Event) and (level := level_of(note)) >= least
        ]
        if lines:
            self._writer.put(self._render(lines), len(lines))

    def lines_dropped(self) -> int:
        """Return how many lines were dropped since the start."""
        return self._writer.lost

    def close(self, timeout: float = FLUSH_TIMEOUT) -> bool:
        """Write what waits, for ``timeout`` seconds at most, and give ``logging`` back as it was.

        Returns whether everything was written. Later lines are dropped rather than printed bare.
        """
        self._installed.undo()
        return self._writer.close(timeout)

    async def aclose(self, timeout: float = FLUSH_TIMEOUT) -> bool:  # noqa: ASYNC109 - a thread is joined, not awaited
        """Do what ``close`` does without holding up the event loop."""
        self._installed.undo()
        return await self._writer.aclose(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def configure(
    format: Format,  # noqa: A002 - named as the key in config.toml is
    level: Level,
    stream: TextIO | None = None,
    *,
    secrets: Iterable[str] = (),
    capacity: int = CAPACITY,
) -> EventLog:
    """Send everything that is logged, by ``logging`` or structlog, to ``stream`` (standard output) in one shape.

    ``secrets`` are the values that must not be written, ``capacity`` the bytes kept while the stream stalls. Only our
    own loggers go below INFO, and those known to print secrets never below WARNING.
    """
    stream = sys.stdout if stream is None else stream
    redactor = Redactor(secrets)
    render = _renderer(format, stream)
    number = logging.getLevelNamesMapping()[level.upper()]
    writer = LineWriter(stream, lambda dropped: _dropped(dropped, render), capacity=capacity)
    installed = _Installed(_RecordHandler(writer, redactor, render), number)
    _configure_structlog(writer, redactor, render, number)
    return EventLog(writer, redactor, render, number, installed)


def _renderer(format: Format, stream: TextIO) -> _Render:  # noqa: A002 - named as the key in config.toml is
    if format == "console" or (format == "auto" and stream.isatty()):
        return render_console
    return _render_json


def _render_json(_logger: object, _method: str, fields: Any) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _render_lines(render: _Render, lines: Sequence[Line]) -> bytes:
    if render is _render_json:
        return _as_json(lines)
    return b"".join(render(None, "", msgspec.to_builtins(line)) for line in lines)


def _dropped(lines: int, render: _Render) -> bytes:
    fields = {
        "timestamp": rfc3339(time.time()),
        "level": "warning",
        "event": "log lines were dropped",
        "lines": lines,
    }
    line: bytes = render(None, "", fields)
    return line


class _RecordHandler(logging.Handler):
    """Writes records of ``logging`` as lines."""

    def __init__(self, writer: LineWriter, redactor: Redactor, render: _Render) -> None:
        super().__init__()
        self.addFilter(_may_be_told)
        self._writer = writer
        self._redactor = redactor
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            fields = self._redactor(None, "", fields_of(record, self._redactor))
            line = self._render(None, "", fields)
        except Exception as error:  # noqa: BLE001 - logging's own answer to this prints the record's values bare
            fields = {"timestamp": rfc3339(record.created), "level": "error", "event": "a record could not be logged"}
            line = self._render(None, "", {**fields, "logger": str(record.name), **explained(error)})
        self._writer.put(line)


def _may_be_told(record: logging.LogRecord) -> bool:
    """Keep back what prints secrets, whatever level somebody gave its logger."""
    return record.levelno >= logging.WARNING or not is_guarded(record.name)


@dataclass(slots=True)
class _Installed:
    """What ``configure`` changed in ``logging``, and how it was before."""

    handler: logging.Handler
    level: int
    _levels: dict[logging.Logger, int] = field(default_factory=dict)
    _handlers: list[tuple[logging.Logger, logging.Handler]] = field(default_factory=list)
    _alone: list[logging.Logger] = field(default_factory=list)

    def __post_init__(self) -> None:
        root = logging.getLogger()
        self._take_over(root, [item for item in root.handlers if type(item) in {logging.StreamHandler, _RecordHandler}])
        root.addHandler(self.handler)
        self._set_level(root, max(self.level, logging.INFO))
        for name in OURS:
            self._set_level(logging.getLogger(name), self.level)
        for name in LIBRARIES:
            logger = logging.getLogger(name)
            self._take_over(logger, list(logger.handlers))
            if is_guarded(name):
                # An adapter may have silenced it altogether, which is to stay.
                self._set_level(logger, max(logger.level, logging.WARNING))

    def undo(self) -> None:
        """Give everything back as it was; a second time nothing happens."""
        root = logging.getLogger()
        root.removeHandler(self.handler)
        for logger, level in self._levels.items():
            logger.setLevel(level)
        for logger, handler in self._handlers:
            logger.addHandler(handler)
        for logger in self._alone:
            logger.propagate = False
        self._levels, self._handlers, self._alone = {}, [], []
        if not root.handlers:
            # Without any, logging prints warnings bare on standard error.
            root.addHandler(logging.NullHandler())

    def _take_over(self, logger: logging.Logger, handlers: Iterable[logging.Handler]) -> None:
        for handler in handlers:
            logger.removeHandler(handler)
            self._handlers.append((logger, handler))
        if not logger.propagate:
            logger.propagate = True
            self._alone.append(logger)

    def _set_level(self, logger: logging.Logger, level: int) -> None:
        self._levels[logger] = logger.level
        logger.setLevel(level)


class _Sink:
    """What structlog's loggers write to; its name for it is a logger."""

    def __init__(self, writer: LineWriter) -> None:
        self._put = writer.put

    def msg(self, line: bytes) -> None:
        """Write one line."""
        self._put(line)

    debug = info = warning = warn = error = critical = exception = log = fatal = failure = msg


def _configure_structlog(writer: LineWriter, redactor: Redactor, render: _Render, level: int) -> None:
    processors: list[Processor] = [_stamped, redactor, render]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Sink(writer),
        cache_logger_on_first_use=False,
    )


def _stamped(_logger: object, method: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Put time, level and the exception in their places; a structlog processor, the first of the chain."""
    error = fields.pop("exc_info", None)
    if not isinstance(error, BaseException):
        error = sys.exc_info()[1] if error else None
    level = "error" if method == "exception" else method
    line = {"timestamp": rfc3339(time.time()), "level": level, "event": fields.pop("event", "")}
    return {**line, **fields, **explained(error)}
