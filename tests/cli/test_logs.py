"""``otp-gateway logs``: what it prints to whom, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from channels.base import Address, Channel, Envelope, Normalize, Receipt
from gateway.app import opened_store
from gateway.cli.filters import check_event
from gateway.cli.logs import Columns, _tell_away, logs
from gateway.config import load_settings
from gateway.events.event import Event, EventName, recorded
from gateway.storage import models
from gateway.storage.ids import new_id
from gateway.storage.statement import insert_into
from gateway.storage.unit import Move, StorageUnavailableError
from tests.cli.databases import migrated

AT = 1_777_891_200.0
CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
"""

app = typer.Typer()
app.command()(logs)


def item(at: float, name: EventName = EventName.MESSAGE_SENT, **fields: Any) -> Event:
    return Event(new_id("evt", at), at, name, fields.pop("service", "shop"), **fields)


EVENTS = [
    item(AT, EventName.VERIFICATION_CREATED, verification_id="ver_01a2008b4c5600006f7010e78b3b89abcdef"),
    item(
        AT + 1,
        EventName.MESSAGE_RETRIED,
        service="other",
        verification_id="ver_01a2008b4c5700006f7010e78b3bfedcba98",
        message_id="msg_1",
        channel="sms",
        attempt=1,
        outcome="transient",
        reason="unavailable",
        provider_code="30003\x1b[2J",
        recipient="+49•••••••678",
        milliseconds=1234.56,
    ),
    item(AT + 2, EventName.MESSAGE_DELIVERED, channel="a_channel_with_a_long_name", attempt=12, milliseconds=2.0),
]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A gateway's folder with a few events in its database; the first went to one address."""
    path: Path = tmp_path_factory.mktemp("gateway") / "config.toml"
    path.write_text(CONFIG)
    asyncio.run(add(path, EVENTS, address="ann@example.org"))
    return path


async def add(config: Path, events: list[Event], address: str | None = None, kind: str = "email") -> None:
    async with opened_store(load_settings(config)) as store:
        await store.database.write(recorded(None, (), events))
        if address is not None:
            row = (store.hasher.hash(kind, address), events[0].verification_id)
            await store.database.write(Move(None, [(insert_into(models.Address), row)]))


def run(config: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


@pytest.fixture
def start():
    """Return a function that starts the verb in a process of its own; none outlives its test."""
    with ExitStack() as started:

        def call(config: Path, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
            program = [sys.executable, "-m", "gateway", "logs", *arguments]
            environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "60"}
            process = started.enter_context(
                subprocess.Popen(
                    [*program, "--config", str(config)], stdout=stdout, stderr=subprocess.PIPE, env=environ
                )
            )
            started.callback(process.kill)
            return process

        yield call


def names(text: str) -> list[str]:
    return [json.loads(line)["event"] for line in text.splitlines()]


def test_in_a_pipe_it_prints_plain_aligned_columns(config):
    result = run(config)
    assert result.exit_code == 0, result.output
    heading, *lines = result.stdout.splitlines()
    assert re.split(r"\s{2,}", heading) == [
        *("time (UTC)", "event", "verification", "channel", "#", "outcome", "recipient", "ms")
    ]
    assert re.split(r"\s{2,}", lines[0]) == [
        "2026-05-04T10:40:00.000Z",
        "verification.created",
        "ver_01a2008b4c5600006f7010e78b3b89abcdef",
    ]
    assert re.split(r"\s{2,}", lines[1]) == [
        "2026-05-04T10:40:01.000Z",
        "message.retried",
        "ver_01a2008b4c5700006f7010e78b3bfedcba98",
        "sms",
        "1",
        "transient unavailable 30003\\x1b[2J",
        "+49•••••••678",
        "1234.6",
    ]
    assert lines[1].index("sms") == lines[2].index("a_channel_with_a_long_name") == heading.index("channel")
    assert len(lines[1]) == len(lines[2]) == len(heading)
    assert "\x1b" not in result.stdout


def test_json_has_the_keys_of_the_log(config):
    result = run(config, "--json")
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()][1] == {
        "timestamp": "2026-05-04T10:40:01.000Z",
        "level": "info",
        "event": "message.retried",
        "service": "other",
        "verification": "ver_01a2008b4c5700006f7010e78b3bfedcba98",
        "message": "msg_1",
        "channel": "sms",
        "attempt": 1,
        "outcome": "transient",
        "reason": "unavailable",
        "provider_code": "30003\x1b[2J",
        "recipient": "+49•••••••678",
        "milliseconds": 1234.6,
    }


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), ["verification.created", "message.retried", "message.delivered"]),
        (("--verification", "ver_01a2008b4c5700006f7010e78b3bfedcba98"), ["message.retried"]),
        (("--to", "Ann+tag@Example.org"), ["verification.created"]),
        (("--to", "bob@example.org"), []),
        (("--service", "other"), ["message.retried"]),
        (("--event", "message."), ["message.retried", "message.delivered"]),
        (("--limit", "1"), ["message.delivered"]),
        (("--since", "99999d"), ["verification.created", "message.retried", "message.delivered"]),
        (("--since", "0s"), []),
    ],
)
def test_each_option_chooses_events(config, arguments, found):
    result = run(config, "--json", *arguments)
    assert result.exit_code == 0, result.output
    assert names(result.stdout) == found


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--event", "message.faild"), "--event: no event's name begins so; did you mean message.failed?"),
        (("--event", "Message."), "--event: no event's name begins so"),
        (("--event", "zzz"), "--event: no event's name begins so"),
        (("--verification", "ver_foo"), "--verification: the whole id: ver_ and 36 hexadecimal digits"),
        (("--verification", f"…{EVENTS[0].verification_id}"), "--verification: the whole id"),
        (("--to", "\n"), "--to: no kind of address is written like this"),
    ],
)
def test_a_filter_that_nothing_can_match_is_refused(config, arguments, fault):
    result = run(config, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert fault in " ".join(result.stderr.replace("│", "").split())


@given(st.sampled_from(EventName), st.data())
def test_whatever_an_event_begins_with_is_a_filter(name, data):
    check_event(str(name)[: data.draw(st.integers(0, len(name)))])


def test_a_service_that_nobody_knows_is_warned_of(config):
    result = run(config, "--service", "shpo", "--json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "warning: no service 'shpo', and nothing is kept of one; configured are default\n"


def test_a_service_that_is_gone_or_has_nothing_yet_is_not_warned_of(config):
    for service in ("other", "default"):
        result = run(config, "--service", service, "--since", "0s")
        assert (result.exit_code, result.stderr) == (0, "")


class Buzzer(Channel):
    """An adapter with a kind of its own, of which leading zeros say nothing."""

    kinds: ClassVar[Mapping[str, Normalize]] = {
        "buzzer": lambda text: Address("buzzer", text, "•••", text.lstrip("0")),
    }
    parts = ("body.txt",)
    __module__ = "channels.buzzer"

    async def deliver(self, envelope: Envelope) -> Receipt:
        return Receipt()


def test_to_is_of_a_kind_that_an_adapter_brings_too(tmp_path, monkeypatch):
    module = ModuleType("channels.buzzer")
    setattr(module, "Buzzer", Buzzer)  # noqa: B010 - to a type checker a new module has no such name
    monkeypatch.setitem(sys.modules, "channels.buzzer", module)
    config = tmp_path / "config.toml"
    config.write_text(f'{CONFIG}[channels.pager]\nadapter = "buzzer"\n')
    asyncio.run(add(config, EVENTS, address="77", kind="buzzer"))
    assert names(run(config, "--json", "--to", "0077").stdout) == ["verification.created"]
    nobody = run(config, "--json", "--to", "78")
    assert (nobody.exit_code, nobody.stdout) == (0, "")
    assert nobody.stderr == (
        "Nothing of this address was found; it was taken for a reference (telegram) of any service, or an address of the "
        "kind buzzer.\n"
    )


@pytest.mark.parametrize("to", ["ann@example", "+491512345600", ""])
def test_what_is_no_address_is_misuse_instead_of_nothing_found(config, to):
    result = run(config, "--to", to)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: --to: ")


def test_a_reference_that_looks_like_an_address_is_looked_for_by_its_kind(config):
    assert names(run(config, "--json", "--to", "email=ann@example.org").stdout) == ["verification.created"]
    result = run(config, "--json", "--to", "telegram=ann@example.org")
    assert (result.exit_code, result.stdout) == (0, "")


def test_an_age_counts_back_from_now(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    asyncio.run(add(config, [item(time.time() - 7000), item(time.time() - 100, EventName.MESSAGE_FAILED)]))
    assert names(run(config, "--json", "--since", "30m").stdout) == ["message.failed"]
    assert names(run(config, "--json", "--since", "2h").stdout) == ["message.sent", "message.failed"]


@pytest.mark.parametrize("age", ["", "1", "h", "1w", "-1h", "1.5h", "1h30m", "٣h"])
def test_an_age_that_cannot_be_read_is_misuse(config, age):
    result = run(config, "--since", age)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "30m" in result.stderr


def test_faults_of_the_configuration_are_told_on_standard_error(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f"{CONFIG}\nbogus = 1\n")
    result = run(config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "bogus" in result.stderr


def test_a_database_that_cannot_be_opened_is_told_on_standard_error(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'{CONFIG}\n[database]\nurl = "sqlite:///other.db"\n')
    migrated(config)
    (tmp_path / "other.db").write_bytes(b"no database " * 1000)
    result = run(config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: [database] url: the SQLite file {tmp_path / 'other.db'} cannot be opened")


def test_a_server_that_is_not_there_is_named_without_its_user_and_password(tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    monkeypatch.setenv("OTP_GATEWAY_DATABASE__URL", "postgresql://ann:hunter2@127.0.0.1:1/otp")
    monkeypatch.setenv("OTP_GATEWAY_SECRETS__KEYS", json.dumps([f"k1:{base64.b64encode(bytes(range(32))).decode()}"]))
    result = run(config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: [database] url: PostgreSQL at 127.0.0.1:1 (database otp) cannot be opened")
    assert not {"ann", "hunter2"} & set(re.findall(r"\w+", result.stderr))


def test_while_following_a_database_that_is_away_is_told_of_and_that_it_is_back(config, capsys):
    settings = load_settings(config)
    _tell_away(settings, StorageUnavailableError("SQLite: disk I/O error"))
    _tell_away(settings, None)
    assert capsys.readouterr().err.splitlines() == [
        f"the SQLite file {config.with_name('otp-gateway.db')}: disk I/O error; tried again until it is back",
        "the database is back",
    ]


def test_a_limit_of_none_is_for_following_alone(config):
    result = run(config, "--limit", "0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "it is for --follow" in " ".join(re.findall(r"[\w-]+", result.stderr))


def test_on_a_terminal_it_prints_colours_and_short_ids(config, start):
    ours, theirs = pty.openpty()
    process = start(config, stdout=theirs)
    os.close(theirs)
    text = b""
    while b"message.delivered" not in text:
        text += os.read(ours, 65536)
    assert process.wait(20) == 0
    os.close(ours)
    shown = text.decode()
    assert "\x1b[33mmessage.retried" in shown
    assert "\x1b[32mmessage.delivered" in shown
    assert "\x1b[2J" not in shown
    assert "…89abcdef" in shown
    assert "ver_" not in shown
    assert "05-04 10:40:00.000" in shown


def test_following_prints_what_comes_until_ctrl_c(tmp_path, start):
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    asyncio.run(add(config, EVENTS))
    process = start(config, "--follow", "--json", "--limit", "1")
    assert process.stdout is not None
    assert names(process.stdout.readline().decode()) == ["message.delivered"]
    asyncio.run(add(config, [item(AT + 3, EventName.MESSAGE_UNDELIVERED)]))
    assert names(process.stdout.readline().decode()) == ["message.undelivered"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_following_prints_one_heading(tmp_path, start):
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    asyncio.run(add(config, EVENTS[:1]))
    process = start(config, "--follow")
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    asyncio.run(add(config, [item(AT + 3, verification_id="ver_0000000000000000", channel="sms")]))
    lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == (b"", b"")
    assert [line.split()[0] for line in lines] == [b"time", b"2026-05-04T10:40:00.000Z", b"2026-05-04T10:40:03.000Z"]
    assert lines[2].index(b"sms") == lines[0].index(b"channel")


def test_a_reader_who_has_seen_enough_ends_it_quietly(config, start):
    out, into = os.pipe()
    os.close(out)
    process = start(config, stdout=into)
    os.close(into)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize(
    ("event", "colour"),
    [
        (item(AT, EventName.VERIFICATION_APPROVED), "32"),
        (item(AT, EventName.MESSAGE_RETRIED, outcome="transient"), "33"),
        (item(AT, EventName.MESSAGE_UNDELIVERED), "33"),
        (item(AT, EventName.MESSAGE_FAILED, outcome="permanent", reason="misconfigured"), "31"),
        (item(AT, EventName.MESSAGE_CANCELED), None),
    ],
)
def test_an_event_has_the_colour_of_what_became_of_it(event, colour):
    shown = Columns(Console(force_terminal=True, color_system="standard", width=40))([event])
    found = re.search(rf"(?:\x1b\[([0-9]+)m)?{re.escape(event.name)}", shown)
    assert found is not None
    assert found[1] == colour
    # Nothing is folded or cut where the terminal is narrow: it wraps the line itself.
    assert len(shown.splitlines()) == 2
