"""The log: one shape for all lines, nothing secret in any of them, and ``logging`` left as it was found."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest
import structlog

from gateway.events.event import Event, EventName
from gateway.events.log import EventLog, configure
from gateway.events.records import GUARDED
from gateway.storage.database import Database
from tests.events.canary import Canaries

AT = 1_777_891_200.0
CANARIES = Canaries()


class Stream(io.StringIO):
    """Standard output, in memory: a terminal or not, counting its writes, with a gate to stall them."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal
        self.writes = 0
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.writes += 1
        self.entered.set()
        self.gate.wait(5)
        return super().write(text)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def sent(**fields: Any) -> Event:
    return Event("evt_1", AT, EventName.MESSAGE_SENT, "shop", **fields)


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def opened():
    """Return a function that configures the log; it is closed at the test's end."""
    logs: list[EventLog] = []

    def call(*arguments: Any, **options: Any) -> EventLog:
        logs.append(configure(*arguments, **options))
        return logs[-1]

    yield call
    for log in logs:
        log.close()
    structlog.reset_defaults()


def test_a_batch_of_events_is_written_with_one_call(stream, opened):
    log = opened("json", "info", stream)
    log([sent(attempt=1), "another note", sent(attempt=2)])
    assert log.close()
    assert stream.writes == 1
    assert [line["attempt"] for line in stream.lines] == [1, 2]
    assert stream.lines[0] == {
        "timestamp": "2026-05-04T10:40:00.000Z",
        "level": "info",
        "event": "message.sent",
        "service": "shop",
        "attempt": 1,
    }


def test_notes_that_are_no_events_write_nothing(stream, opened):
    log = opened("json", "info", stream)
    log(["a note", 1])
    log([])
    log.close()
    assert stream.writes == 0


def test_events_below_the_level_are_left_out(stream, opened):
    log = opened("json", "warning", stream)
    log([sent(), Event("evt_2", AT, EventName.MESSAGE_FAILED, "shop")])
    log.close()
    assert [line["event"] for line in stream.lines] == ["message.failed"]


def test_what_an_adapter_filled_in_is_masked(stream, opened):
    log = opened("json", "info", stream, secrets=[CANARIES.smtp_password])
    log([sent(recipient=CANARIES.phone, provider_code=f"550 <{CANARIES.email}> {CANARIES.smtp_password}")])
    log([sent(recipient="+49•••••••678", provider_code="30003")])
    log.close()
    assert [(line["recipient"], line["provider_code"]) for line in stream.lines] == [
        ("••••", "550 <••••> ••••"),
        ("+49•••••••678", "30003"),
    ]


async def test_the_database_logs_what_it_committed(make_engine, stream, opened):
    log = opened("json", "info", stream)
    async with Database(make_engine(), on_commit=log) as database:

        async def work(connection: Any) -> None:
            connection.notes.append(sent())

        await database.run(work)
    assert await log.aclose()
    assert [line["event"] for line in stream.lines] == ["message.sent"]


@pytest.mark.parametrize(
    ("format_", "terminal", "coloured"),
    [("auto", True, True), ("auto", False, False), ("json", True, False), ("console", False, True)],
)
def test_the_format_follows_the_setting_and_the_terminal(format_, terminal, coloured, opened):
    stream = Stream(terminal=terminal)
    log = opened(format_, "info", stream)
    log([sent(channel="sms")])
    log.close()
    assert ("\x1b[32mmessage.sent" in stream.getvalue()) is coloured
    assert stream.getvalue().startswith("{") is not coloured


def test_logging_and_structlog_have_the_same_shape(stream, opened):
    log = opened("json", "debug", stream)
    logging.getLogger("gateway.x").debug("one", extra={"channel": "sms"})
    structlog.get_logger().debug("two", channel="sms")
    log.close()
    one, two = stream.lines
    assert (one.pop("logger"), list(one)) == ("gateway.x", ["timestamp", "level", "event", "channel"])
    assert list(two) == list(one)
    assert [two["level"], two["event"], two["channel"]] == ["debug", "two", "sms"]


def test_structlogs_exceptions_are_told_by_type_and_place(stream, opened):
    log = opened("json", "info", stream)
    logger = structlog.get_logger()
    try:
        int(f"{CANARIES.code}x")
    except ValueError as error:
        logger.exception("failed")
        logger.warning("failed", exc_info=error)
    logger.info("fine", exc_info=True)  # noqa: LOG014 - it must do no harm
    log.close()
    assert [(line["level"], line.get("exception")) for line in stream.lines] == [
        ("error", "ValueError"),
        ("warning", "ValueError"),
        ("info", None),
    ]
    CANARIES.assert_absent(stream.getvalue(), "the log")


def test_structlog_keeps_to_the_level(stream, opened):
    log = opened("json", "error", stream)
    structlog.get_logger().warning("quiet")
    log.close()
    assert stream.lines == []


@pytest.mark.parametrize("name", [*GUARDED, "telegram.ext.ExtBot", "httpx._client", "sqlalchemy.engine.Engine"])
def test_libraries_that_print_secrets_never_log_below_warning(name, stream, opened):
    log = opened("json", "debug", stream)
    logger = logging.getLogger(name)
    logger.info("POST /bot%s/sendMessage", CANARIES.bot_token)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.debug("text %s", CANARIES.code)
    logger.warning("text %s", CANARIES.code)
    logger.setLevel(before)
    log.close()
    assert [line["event"] for line in stream.lines] == ["text %s"]


def test_a_library_an_adapter_silenced_stays_silent(stream, opened):
    logger = logging.getLogger("telegram")
    logger.setLevel(logging.CRITICAL + 1)
    try:
        log = opened("json", "debug", stream)
        logger.critical("text")
        log.close()
        assert stream.lines == []
    finally:
        logger.setLevel(logging.NOTSET)


def test_only_our_own_loggers_go_below_info(stream, opened):
    log = opened("json", "debug", stream)
    logging.getLogger("uvicorn.error").debug("quiet")
    logging.getLogger("uvicorn.error").info("Started")
    logging.getLogger("channels.sms").debug("ours")
    log.close()
    assert [line["event"] for line in stream.lines] == ["Started", "ours"]


def test_what_libraries_say_comes_to_us_whatever_handlers_they_brought(stream, opened):
    logger, elsewhere = logging.getLogger("uvicorn"), io.StringIO()
    handler = logging.StreamHandler(elsewhere)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        log = opened("json", "info", stream)
        logging.getLogger("uvicorn.error").info("Started server process [%d]", 7, extra={"color_message": "x"})
        log.close()
        assert [line["event"] for line in stream.lines] == ["Started server process [7]"]
        assert elsewhere.getvalue() == ""
        assert (logger.handlers, logger.propagate) == ([handler], False)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def test_no_canary_gets_through_by_any_way(stream, opened):
    log = opened("json", "debug", stream, secrets=[CANARIES.smtp_password, CANARIES.twilio_token])
    said = f"{CANARIES.key} {CANARIES.phone} {CANARIES.email} {CANARIES.smtp_password} {CANARIES.twilio_token}"
    logging.getLogger("gateway.x").warning("%s", said, extra={"x": {"y": [said]}, "url": f"/bot{CANARIES.bot_token}/"})
    logging.getLogger("aiosmtplib").warning("sending %s", CANARIES.code)
    structlog.get_logger().info("x", y=said, code=ValueError(CANARIES.code))
    error = ValueError(CANARIES.code, said)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
    log([sent(recipient=CANARIES.email)])
    log.close()
    assert len(stream.lines) == 5
    CANARIES.assert_absent(stream.getvalue(), "the log")


async def test_a_lost_tasks_exception_is_told_without_its_text(stream, opened):
    log = opened("json", "info", stream)

    async def fail() -> None:
        raise ValueError(CANARIES.code)

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    await asyncio.sleep(0)
    log.close()
    [line] = stream.lines
    assert (line["event"], line["exception"]) == ("Task exception was never retrieved", "ValueError")
    CANARIES.assert_absent(stream.getvalue(), "the log")


def test_a_record_that_cannot_be_written_is_told_without_its_values(stream, opened, capsys):
    class Broken(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            raise RuntimeError(CANARIES.code)

    log = opened("json", "info", stream)
    logging.getLogger("gateway.x").warning(CANARIES.code, extra={"x": Broken()})
    log.close()
    [line] = stream.lines
    assert (line["event"], line["logger"], line["exception"]) == (
        "a record could not be logged",
        "gateway.x",
        "RuntimeError",
    )
    CANARIES.assert_absent(stream.getvalue() + "".join(capsys.readouterr()), "the log")


def test_a_reader_who_stalls_is_told_how_many_lines_are_missing(stream, opened):
    stream.gate.clear()
    log = opened("json", "info", stream, capacity=1000)
    logging.getLogger("gateway.x").info("first")
    assert stream.entered.wait(5)
    logging.getLogger("gateway.x").info("x" * 1000)
    log([sent()] * 100)
    logging.getLogger("gateway.x").info("lost")
    stream.gate.set()
    log.close()
    assert [line["event"] for line in stream.lines] == ["first", "x" * 1000, "log lines were dropped"]
    assert (stream.lines[-1]["level"], stream.lines[-1]["lines"]) == ("warning", 101)


def test_logging_is_given_back_as_it_was(opened):
    root = logging.getLogger()
    names = [None, "gateway", "channels", *GUARDED, "uvicorn"]
    before = [(logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in names]
    with configure("json", "debug", Stream()):
        assert root.level == logging.INFO
    assert [(logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in names] == before


def test_a_second_configuration_takes_over(opened):
    first, second = Stream(), Stream()
    opened("json", "info", first)
    log = opened("json", "info", second)
    logging.getLogger("gateway.x").info("once")
    log.close()
    assert (first.lines, len(second.lines)) == ([], 1)


def test_standard_output_is_the_default_and_nothing_is_printed_bare_after_the_end():
    program = """
import logging
from gateway.events.log import configure
log = configure("auto", "info")
logging.getLogger("gateway").info("before")
log.close()
logging.getLogger("gateway").error("after")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=20, check=False)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["before"]
    assert (done.returncode, done.stderr) == (0, b"")
