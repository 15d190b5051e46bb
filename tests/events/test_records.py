"""Records of ``logging``: our own say everything, a library's say what cannot hold a secret."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest

from gateway.events.records import GUARDED, explained, fields_of, is_guarded
from gateway.events.redaction import Redactor
from gateway.storage.unit import StorageError

SECRET = "492039"
REDACTOR = Redactor()


def fields(name: str, message: object, *args: object, extra: dict[str, object] | None = None, **more: Any) -> Any:
    logger = logging.getLogger(name)
    record = logger.makeRecord(name, logging.WARNING, "file.py", 1, message, args, more.get("exc_info"), extra=extra)
    return fields_of(record, REDACTOR)


def text(name: str, message: object, *args: object) -> str:
    return str(fields(name, message, *args)["event"])


def test_a_record_is_time_level_event_and_logger():
    line = fields("gateway.storage.database", "a batch of %d writes failed", 3)
    assert list(line) == ["timestamp", "level", "event", "logger"]
    assert line["level"] == "warning"
    assert line["event"] == "a batch of 3 writes failed"
    assert line["logger"] == "gateway.storage.database"


def test_extra_of_our_own_loggers_becomes_keys():
    line = fields(
        "gateway.delivery", "slow", extra={"message_id": "msg_1", "verification_id": "ver_1", "channel": "sms"}
    )
    assert {name: line[name] for name in ("message", "verification", "channel")} == {
        "message": "msg_1",
        "verification": "ver_1",
        "channel": "sms",
    }


def test_extra_does_not_replace_the_keys_of_the_line():
    line = fields("channels.sms", "slow", extra={"event": "x", "level": "x", "timestamp": "x", "logger": "x"})
    assert (line["event"], line["level"], line["logger"]) == ("slow", "warning", "channels.sms")


def test_extra_of_a_library_is_left_out():
    assert list(fields("uvicorn.error", "Started", extra={"color_message": SECRET})) == [
        "timestamp",
        "level",
        "event",
        "logger",
    ]


def test_a_foreign_exception_among_the_values_is_told_by_its_type():
    assert text("gateway.x", "no: %s %r", ValueError(SECRET), [KeyError(SECRET)]) == "no: ValueError ['KeyError']"


def test_our_own_exception_among_the_values_is_told_with_its_text():
    assert text("gateway.x", "no: %s", StorageError("the disk is full")) == "no: StorageError: the disk is full"


def test_named_values_are_formatted_too():
    assert text("gateway.x", "%(a)s %(b)s", {"a": 1, "b": ValueError(SECRET)}) == "1 ValueError"


def test_a_message_that_is_no_string_is_told_by_its_type():
    assert text("gateway.x", ValueError(SECRET)) == "ValueError"
    assert text("uvicorn.error", {"code": SECRET}) == "<dict>"


def test_a_message_that_does_not_fit_its_values_is_told_without_them():
    assert text("gateway.x", "%d of %d", SECRET) == "%d of %d (its values cannot be shown: TypeError)"


def test_a_value_that_cannot_be_shown_is_left_out():
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(SECRET)

    assert text("gateway.x", "%s", Broken()) == "%s (its values cannot be shown: RuntimeError)"


@pytest.mark.parametrize("name", GUARDED)
def test_a_library_that_prints_secrets_is_told_without_its_values(name):
    assert text(f"{name}.part", "HTTP Request: %s", SECRET) == "HTTP Request: %s"


def test_names_that_only_begin_alike_are_not_guarded():
    assert [is_guarded(name) for name in ("httpx", "httpx._client", "httpxx", "uvicorn", "gateway.telegram")] == [
        True,
        True,
        False,
        False,
        False,
    ]


class Kept(logging.Handler):
    """Keeps every record."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_asyncio_is_told_up_to_the_first_value():
    def send(code: str) -> None:
        raise ValueError(code)

    async def lose() -> list[logging.LogRecord]:
        handler = Kept()
        logger = logging.getLogger("asyncio")
        logger.addHandler(handler)
        try:
            asyncio.get_running_loop().call_soon(send, SECRET)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        finally:
            logger.removeHandler(handler)
        return handler.records

    [record] = asyncio.run(lose())
    assert SECRET in record.getMessage()
    line = fields_of(record, REDACTOR)
    assert line["event"].startswith("Exception in callback test_asyncio_is_told")
    assert line["exception"] == "ValueError"
    assert SECRET not in str(line)


def test_an_exception_is_type_frames_and_what_led_to_it():
    try:
        try:
            int(SECRET + "x")
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError:
        line = fields("gateway.x", "failed", exc_info=sys.exc_info())
    assert line["exception"] == "KeyError"
    assert line["frames"][0].startswith(f"{__name__}:test_an_exception_is_type_frames")
    assert line["related"][0].startswith(f"ValueError at {__name__}:test_an_exception_is_type_frames")
    assert SECRET not in str(line)


def test_no_exception_has_no_keys():
    assert explained(None) == {}
    assert list(fields("gateway.x", "failed", exc_info=(None, None, None))) == ["timestamp", "level", "event", "logger"]
